// SPDX-License-Identifier: GPL-2.0-or-later
// Creating and deleting a VM: the record first (it reserves the name), then its disk and definition; undone in reverse when a step fails.
#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"
#include "toolstack/daemon/images.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/records_edit.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/hypervisor/domain_xml.hpp"

namespace blanket {
namespace {

constexpr std::uint64_t kMinMemoryMib = 32, kMaxMemoryMib = 1u << 20;
constexpr std::uint64_t kMaxDisk = std::uint64_t{64} << 40;
constexpr std::uint64_t kBlock = 65536;
constexpr int kIpTries = 64;

std::string make_mac() {
    const std::string hex = random_hex(5);
    return std::format("02:{}:{}:{}:{}:{}", hex.substr(0, 2), hex.substr(2, 2), hex.substr(4, 2), hex.substr(6, 2), hex.substr(8, 2));
}

std::string ip_key(const Nic& nic) { return address_key(nic.net, nic.ip); }

// Takes the lowest free address for good: two sites may create VMs in one network at the same time, the compare-and-swap decides.
Result<Nic> reserve_nic(App& app, const Net& net, const std::string& uuid, const std::string& mac) {
    std::vector<VmRecord> seen;
    for (const auto& vm : app.world.snapshot().vms) seen.push_back(vm.value);
    for (int attempt = 0; attempt < kIpTries; ++attempt) {
        BLANKET_TRY(const std::string ip, allocate_ip(net, seen));
        const Nic nic{net.name, mac, ip};
        auto taken = app.registry.put(ip_key(nic), {{"vm", uuid}}, 0);
        if (taken) return nic;
        if (taken.error().kind != Kind::kConflict) return std::unexpected(std::move(taken).error());
        VmRecord other;
        other.nics.push_back(nic);
        seen.push_back(other);
    }
    return fail(Kind::kConflict, "no free address in network '{}' after {} tries", net.name, kIpTries);
}

struct Undo {  // what has been done so far, undone in reverse unless dismissed
    std::vector<std::pair<std::string, std::function<Result<void>()>>> steps;
    bool dismissed = false;
    ~Undo() {
        if (dismissed) return;
        for (auto it = steps.rbegin(); it != steps.rend(); ++it)
            if (auto done = it->second(); !done) log::error("vm", "undo '{}': {}", it->first, done.error().what);
    }
};

// As it is by now: to bring the image may have taken minutes.
Result<Net> net_of(App& app, const std::string& name) {
    BLANKET_TRY(const auto stored, app.registry.get("nets/" + name));
    if (!stored) return fail_hint(Kind::kNotFound, std::format("network '{}' has been deleted meanwhile", name), "blanket net list shows all");
    BLANKET_TRY(Net net, parse_net(stored->value));
    BLANKET_CHECK(check_open(net));
    return net;
}

Result<Json> create_now(App& app, const CreateRequest& request, const Versioned<Image>& image, Job& job) {
    VmRecord vm;
    vm.uuid = make_uuid();
    vm.name = request.name;
    vm.owner = app.site;
    vm.memory_mib = request.memory_mib;
    vm.vcpus = request.vcpus;
    vm.policy = request.policy;
    vm.created = rfc3339_now();
    if (request.seed) vm.seed = facts_of(*request.seed);
    Undo undo;
    job.phase("image");
    BLANKET_CHECK(ensure_image(app, image, job));
    job.phase("record");
    BLANKET_TRY(const Net net, net_of(app, request.net));
    BLANKET_TRY(const Nic nic, reserve_nic(app, net, vm.uuid, make_mac()));
    undo.steps.emplace_back("address", [&] { return app.registry.remove(ip_key(nic)); });
    vm.nics.push_back(nic);
    const std::uint64_t size = request.disk_bytes == 0 ? (image.value.size + kBlock - 1) / kBlock * kBlock : request.disk_bytes;
    vm.volumes.push_back({std::format("{}-{}", request.name.substr(0, 40), random_hex(3)), image.value.sha256, size, "xvda"});
    BLANKET_TRY(vm.definition, build_domain_xml(vm));
    if (request.seed) {  // before the record: whoever sees that finds its seed
        undo.steps.emplace_back("seed", [&] { return app.registry.remove(seed_key(vm.uuid)); });
        BLANKET_CHECK(app.registry.put(seed_key(vm.uuid), to_json(*request.seed), 0));
    }
    BLANKET_TRY(const std::uint64_t revision, app.registry.create_vm(vm));
    undo.steps.emplace_back("record", [&] { return app.registry.remove_vm(vm, revision); });
    job.phase("disk");
    const Volume& volume = vm.volumes.front();
    undo.steps.emplace_back("volume", [&] { return app.blocks.remove_volume(volume.id); });
    BLANKET_CHECK(app.blocks.create_volume(volume));
    job.phase("define");
    undo.steps.emplace_back("definition", [&] { return app.hypervisor.undefine(vm.uuid); });
    BLANKET_CHECK(app.hypervisor.define(vm.definition));
    undo.dismissed = true;
    job.note(std::format("VM '{}' has address {} in network '{}' and a disk of {}", vm.name, nic.ip, net.name, format_bytes(size)));
    (void)app.world.refresh();
    return to_json(vm);
}

}  // namespace

Result<CreateRequest> parse_create(const Json& body) {
    CreateRequest request;
    BLANKET_TRY(request.name, json_string(body, "name"));
    BLANKET_CHECK(check_name(request.name, "VM"));
    BLANKET_TRY(request.image, json_string(body, "image"));
    BLANKET_TRY(request.net, json_string(body, "net"));
    request.memory_mib = json_number_or(body, "memory_mib", request.memory_mib);
    request.disk_bytes = json_number_or(body, "disk_bytes", 0);
    const std::uint64_t vcpus = json_number_or(body, "vcpus", 1);
    if (request.memory_mib < kMinMemoryMib || request.memory_mib > kMaxMemoryMib)
        return fail(Kind::kInvalid, "memory of {} MiB is outside of {} to {} MiB", request.memory_mib, kMinMemoryMib, kMaxMemoryMib);
    if (vcpus < 1 || vcpus > 128) return fail(Kind::kInvalid, "{} vCPUs are outside of 1 to 128", vcpus);
    if (request.disk_bytes > kMaxDisk || request.disk_bytes % kBlock != 0)
        return fail(Kind::kInvalid, "a disk of {} bytes is not a multiple of 64 KiB up to 64 TiB", request.disk_bytes);
    request.vcpus = static_cast<std::uint32_t>(vcpus);
    request.policy = json_string_or(body, "policy", request.policy);
    BLANKET_CHECK(check_policy(request.policy));
    if (const auto seed = body.find("seed"); seed != body.end() && !seed->is_null()) {
        BLANKET_TRY(request.seed, parse_seed(*seed));
    }
    return request;
}

Result<Answer> create_vm(App& app, const CreateRequest& request, bool dry_run) {
    BLANKET_TRY(const Net net, app.world.net(request.net));
    BLANKET_CHECK(check_open(net));
    BLANKET_CHECK(app.overlay.check_net(net));
    BLANKET_TRY(const Versioned<Image> image, app.world.image(request.image));
    if (app.world.vm(request.name))
        return fail_hint(Kind::kConflict, std::format("a VM '{}' exists already", request.name), "choose another name, or: blanket vm delete " + request.name);
    if (request.disk_bytes != 0 && request.disk_bytes < image.value.size)
        return fail_hint(Kind::kInvalid, std::format("a disk of {} is too small for image '{}' of {}", format_bytes(request.disk_bytes), request.image, format_bytes(image.value.size)),
                         std::format("use --disk {}M or more", (image.value.size + (1u << 20) - 1) >> 20));
    if (dry_run) {
        Answer plan{nullptr, {std::format("make image '{}' ({}) present at '{}'", request.image, image.value.sha256.substr(0, 12), app.site),
                              std::format("reserve an address in network '{}' ({})", net.name, net.cidr)}};
        if (request.seed)
            plan.steps.push_back(std::format("keep its seed in the registry: host name '{}', {} bytes of user-data, {} ssh keys", request.seed->hostname, request.seed->user_data.size(),
                                             request.seed->ssh_keys.size()));
        plan.steps.push_back(std::format("create the record of VM '{}' with owner '{}'", request.name, app.site));
        plan.steps.push_back(std::format("create a thin volume of {}", format_bytes(request.disk_bytes == 0 ? image.value.size : request.disk_bytes)));
        plan.steps.emplace_back("define the domain in libvirt");
        return plan;
    }
    BLANKET_TRY(auto job, app.jobs.start("create", "vm/" + request.name, [&app, request, image](Job& self) { return create_now(app, request, image, self); }, "net/" + request.net));
    return Answer{job, {}};
}

namespace {

// Before the record goes: without it that site would keep the disk for ever.
Result<void> remove_standby(App& app, const VmRecord& record) {
    const std::string& name = record.standby->site;
    const auto site = app.world.site(name);
    if (!site) return {};  // it left the federation
    const Json body{{"uuid", record.uuid}};
    auto dropped = app.neighbours.call(*site, "POST", "/1.0/peer/drop-standby", &body);
    if (!dropped)
        return fail_hint(dropped.error().kind, std::format("site '{}' keeps a standby disk of VM '{}' and cannot be told to remove it: {}", name, record.name, dropped.error().what),
                         std::format("the rest of it is gone; when '{}' answers: blanket vm delete {}", name, record.name));
    return {};
}

// Who has been away for longer keeps what it has of them.
void forget_the_long_gone(App& app) {
    const std::string before = rfc3339(std::chrono::system_clock::now() - std::chrono::days(kGoneDays));
    for (const auto& gone : app.world.snapshot().gone)
        if (gone.since < before)
            if (auto removed = app.registry.remove("gone/" + gone.uuid); !removed) return log::warning("vm", "{}", removed.error().what);
}

}  // namespace

Result<Answer> delete_vm(App& app, const VmRecord& vm, bool dry_run) {
    if (vm.phase == Phase::kMigrating)
        return fail_hint(Kind::kConflict, std::format("VM '{}' is moving to '{}'", vm.name, vm.migration->target), std::format("blanket job watch {}", vm.migration->id));
    if (!vm.forks.empty())
        return fail_hint(Kind::kConflict, std::format("site '{}' keeps a copy of VM '{}' from before it was taken over by '{}'", vm.forks.front().site, vm.name, vm.owner),
                         std::format("look at it, then at '{}': blanket vm drop-fork {}", vm.forks.front().site, vm.name));
    if (dry_run) {
        Answer answer{nullptr, {"mark the record as deleting", std::format("power VM '{}' off", vm.name), "undefine it in libvirt"}};
        for (const auto& volume : vm.volumes) answer.steps.push_back(std::format("remove volume '{}' ({})", volume.id, format_bytes(volume.size)));
        if (vm.standby) answer.steps.push_back(std::format("remove its standby disk at '{}'", vm.standby->site));
        answer.steps.emplace_back("release its addresses and public ports and remove the record");
        return answer;
    }
    BLANKET_TRY(auto job, app.jobs.start("delete", "vm/" + vm.name, [&app, uuid = vm.uuid](Job& self) -> Result<Json> {
        DeleteHooks hooks;
        hooks.phase = [&](const char* phase) { self.phase(phase); };
        hooks.drop_standby = [&](const VmRecord& record) { return remove_standby(app, record); };
        hooks.release = [&](const VmRecord& record) -> Result<void> {
            BLANKET_CHECK(forget_public(app, record.uuid));
            for (const auto& nic : record.nics) BLANKET_CHECK(app.registry.remove(ip_key(nic)));
            if (record.seed) BLANKET_CHECK(app.registry.remove(seed_key(record.uuid)));
            return {};
        };
        BLANKET_TRY(const VmRecord record, delete_here(app, app.site, uuid, hooks));
        forget_the_long_gone(app);
        (void)app.world.refresh();
        return Json{{"name", record.name}, {"uuid", uuid}};
    }));
    return Answer{job, {}};
}

}  // namespace blanket
