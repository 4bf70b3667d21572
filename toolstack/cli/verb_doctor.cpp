// SPDX-License-Identifier: GPL-2.0-or-later
// blanket doctor.
#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

// A blanketd that waits for something at its start has no socket yet, and what it waits for is what doctor is asked for. Without checks: it says nothing.
Json while_it_waits() {
    Json checks = Json::array();
    const auto add = [&](const char* name, const std::string& detail, const char* hint) { checks.push_back({{"name", name}, {"status", "fail"}, {"detail", detail}, {"hint", hint}}); };
    const std::string room = std::string(trim(read_file("/run/blanket/no-pool", 4096).value_or("")));  // blanket-firstboot's
    if (!room.empty()) add("storage", room, "add an empty disk of at least 1 GiB, or enlarge this one, and restart the machine");
    const std::string state = std::string(trim(run({"systemctl", "show", "--property=StatusText", "--value", "blanketd.service"}, {.deadline = std::chrono::seconds(5)}).value_or("")));
    if (!state.empty()) add("blanketd", "does not answer yet: " + state, "systemctl status blanketd; journalctl -u blanketd -e");
    return {{"checks", std::move(checks)}};
}

Result<int> run_doctor(Context& context, const Invocation&) {
    auto answer = context.client.get("/1.0/doctor");
    if (!answer && answer.error().kind == Kind::kUnavailable) {
        Json waits = while_it_waits();
        if (!waits["checks"].empty()) answer = Result<Json>(std::in_place, std::move(waits));
    }
    BLANKET_TRY(const Json reply, std::move(answer));
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
