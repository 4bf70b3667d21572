// SPDX-License-Identifier: GPL-2.0-or-later
// blanket vm console: hands over to virsh where the VM runs.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

#include "toolstack/cli/http.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

// The address of a site for the hint; empty when nobody knows.
std::string address_of(const Client& client, const std::string& name) {
    const auto reply = client.get("/1.0/sites");
    if (!reply || !reply->contains("sites")) return {};
    for (const auto& site : (*reply)["sites"])
        if (json_string_or(site, "name", "") == name) return json_string_or(site, "address", "");
    return {};
}

Result<int> run_console(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json here, context.client.get("/1.0"));
    BLANKET_TRY(const Json reply, context.client.get("/1.0/vms/" + percent_encode(call.arg(0))));
    const Json& vm = reply.contains("vm") ? reply["vm"] : reply;
    const std::string name = json_string_or(vm, "name", call.arg(0));
    const std::string owner = json_string_or(vm, "owner", ""), site = json_string_or(here, "site", "");
    if (owner != site) {
        const std::string address = address_of(context.client, owner);
        return fail_hint(Kind::kPrecondition, std::format("{} is at site {}, and this is {}", name, owner, site),
                         std::format("log in to site {}{} and run: blanket vm console {}", owner, address.empty() ? "" : std::format(" ({})", address), name));
    }
    const std::string state = json_string_or(vm, "state", "unknown");
    if (state != "running" && state != "paused" && state != "unknown")
        return fail_hint(Kind::kConflict, std::format("{} is {}", name, state), std::format("blanket vm start {}", name));
    BLANKET_TRY(const std::string uuid, json_string(vm, "uuid"));  // a name of other tools' making may look like an option
    const char* const argv[] = {"virsh", "-c", "xen:///system", "console", "--domain", uuid.c_str(), nullptr};
    context.note(std::format("console of {}; leave it with Ctrl-]\n", printable(name)));
    std::fflush(stdout);
    ::execvp(argv[0], const_cast<char* const*>(argv));
    return fail_hint(errno == ENOENT ? Kind::kNotFound : Kind::kIo, std::format("cannot run virsh: {}", std::strerror(errno)), "apt install libvirt-clients");
}

}  // namespace

VerbSpec vm_console_verb() {
    return {.noun = "vm",
            .verb = "console",
            .summary = "connect to the VM's console",
            .details = "Runs `virsh console` when the VM is at this site; leave it with Ctrl-]. When it is elsewhere, says where to log in.",
            .action = "open the console of {NAME}",
            .args = {{"NAME", "the VM", ArgKind::kVm}},
            .example = "blanket vm console web",
            .run = run_console};
}

}  // namespace blanket::cli
