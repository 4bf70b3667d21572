// SPDX-License-Identifier: GPL-2.0-or-later
// blanket doctor.
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_doctor(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/doctor"));
    const auto checks = reply.find("checks");
    if (checks == reply.end() || !checks->is_array() || checks->empty()) return fail_hint(Kind::kIo, "blanketd's answer has no checks", "journalctl -u blanketd -e");
    show(context, reply, [&](const Json& value) { return doctor_text(value, context.terminal); });
    for (const auto& check : *checks) {
        const std::string status = json_string_or(check, "status", "fail");
        if (status != "ok" && status != "warning") return exit_code(Kind::kPrecondition);
    }
    return 0;
}

}  // namespace

std::vector<VerbSpec> doctor_verbs() {
    return {{.noun = "doctor",
             .verb = "",
             .summary = "check that this host can do its work",
             .details = "Checks the hypervisor, libvirt, the switch, storage, kernel modules, the registry, the clock, the uplink, memory and firmware. Exits with 0 when nothing failed "
                        "(warnings are allowed) and with 5 otherwise. Each finding that is not fine says what to do next.",
             .action = "check this host",
             .example = "blanket doctor",
             .run = run_doctor}};
}

}  // namespace blanket::cli
