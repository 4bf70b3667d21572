// SPDX-License-Identifier: GPL-2.0-or-later
// blanket vm create.
#include <algorithm>
#include <iterator>
#include <optional>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/verb_lists.hpp"
#include "toolstack/core/seed.hpp"

namespace blanket::cli {
namespace {

// What the options say of the guest's first boot; nothing when none of them is given. Read here, so that it is in nobody's process list.
Result<std::optional<Seed>> read_seed(const Context& context, const Invocation& call) {
    if (!call.has("user-data") && !call.has("ssh-key") && !call.has("hostname")) return std::nullopt;
    Seed seed;
    seed.hostname = call.option("hostname");
    if (seed.hostname.empty()) {  // a VM's name may hold what a host's may not
        seed.hostname = call.arg(0);
        std::ranges::replace(seed.hostname, '_', '-');
    }
    if (call.has("user-data")) {
        BLANKET_TRY(seed.user_data, read_file(call.option("user-data")));
    }
    if (const auto files = call.options.find("ssh-key"); files != call.options.end())
        for (const auto& file : files->second) {
            BLANKET_TRY(const std::string text, read_file(file, kMaxSshKeys * kMaxSshKey));
            auto keys = parse_ssh_keys(text);
            if (!keys) return std::unexpected(std::move(keys).error().context(std::format("'{}'", file)));
            std::ranges::move(*keys, std::back_inserter(seed.ssh_keys));
        }
    BLANKET_CHECK(check_seed(seed));
    if (call.has("user-data"))
        if (const auto doubt = doubt_user_data(seed.user_data)) context.note(std::format("warning: the user-data may have no effect: {}\n", *doubt));
    return seed;
}

Result<int> run_vm_create(Context& context, const Invocation& call) {
    const std::string& name = call.arg(0);
    BLANKET_CHECK(check_name(name, "VM"));
    BLANKET_TRY(const auto memory, parse_size(call.option("memory"), "memory"));
    BLANKET_TRY(const auto disk, parse_size(call.option("disk"), "disk size"));
    BLANKET_TRY(const auto vcpus, parse_number(call.option("vcpus"), 1, 512, "number of vcpus"));
    constexpr std::uint64_t kMib = 1u << 20;
    if (memory < 16 * kMib || memory % kMib != 0)
        return fail_hint(Kind::kInvalid, std::format("memory '{}' is less than 16M or no whole number of MiB", call.option("memory")), "give a size with M or G, as in --memory 256M");
    if (disk < kMib) return fail_hint(Kind::kInvalid, std::format("disk size '{}' is less than 1M", call.option("disk")), "give a size with M or G, as in --disk 2G");
    const bool start = call.has("start");
    if (start && !context.wait && !context.dry_run)
        return fail_hint(Kind::kInvalid, "--start cannot go with --no-wait: the VM starts when it is complete", std::format("leave one out, or later run: blanket vm start {}", name));
    BLANKET_TRY(const auto seed, read_seed(context, call));
    Mutation mutation{.request = {.method = "POST",
                                  .path = "/1.0/vms",
                                  .body = {{"name", name},
                                           {"image", call.option("image")},
                                           {"memory_mib", memory / kMib},
                                           {"vcpus", vcpus},
                                           {"disk_bytes", disk},
                                           {"policy", call.option("policy")},
                                           {"net", call.option("net")}}}};
    if (seed) mutation.request.body["seed"] = to_json(*seed);
    if (start) {
        mutation.more_steps = {std::format("start {}", name)};
        mutation.then = [&]() -> Result<int> {
            context.note(std::format("created {}\n", name));
            context.action = std::format("start {}", name);
            return mutate(context, {.request = {.method = "POST", .path = std::format("/1.0/vms/{}/start", percent_encode(name)), .body = Json::object()}});
        };
    }
    return mutate(context, std::move(mutation));
}

}  // namespace

VerbSpec vm_create_verb() {
    return {.noun = "vm",
            .verb = "create",
            .summary = "create a VM with a disk made from an image",
            .details = "Creates a PV guest on this site: a disk that starts as a thin snapshot of the image, one network card with an address of the net. It is not started unless --start is given. "
                       "With --user-data, --ssh-key or --hostname the guest's cloud-init finds a seed (NoCloud) on a small read-only disk of its own, xvdz, at every site. The user-data is kept in "
                       "the registry, and shown by no command.",
            .action = "create VM {NAME}",
            .args = {{"NAME", "the VM's name"}},
            .options = {{.name = "image", .value = "IMAGE", .help = "the base image of its disk", .kind = ArgKind::kImage, .required = true},
                        {.name = "memory", .value = "SIZE", .help = "memory, as in 256M or 2G", .required = true},
                        {.name = "disk", .value = "SIZE", .help = "size of the disk, at least that of the image, as in 2G", .required = true},
                        {.name = "net", .value = "NET", .help = "the network of its card", .kind = ArgKind::kNet, .required = true},
                        {.name = "vcpus", .value = "N", .help = "virtual CPUs", .fallback = "1"},
                        {.name = "policy", .value = "POLICY", .help = "where the registry is out of reach: keep-running-no-failover or pause", .fallback = "keep-running-no-failover"},
                        {.name = "user-data", .value = "FILE", .help = "what the guest's cloud-init is given: a cloud-config, a script or a MIME message of up to 64 KiB", .kind = ArgKind::kFile},
                        {.name = "ssh-key", .value = "FILE", .help = "public ssh keys that let in the image's default user", .kind = ArgKind::kFile, .repeats = true},
                        {.name = "hostname", .value = "HOST", .help = "the guest's host name, if it is not the VM's name"},
                        {.name = "start", .help = "start it when it is complete"}},
            .mutates = true,
            .job = true,
            .example = "blanket vm create web --image debian --memory 256M --disk 2G --net lan --start",
            .run = run_vm_create};
}

}  // namespace blanket::cli
