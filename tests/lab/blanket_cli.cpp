// SPDX-License-Identifier: GPL-2.0-or-later
// See blanket_cli.hpp.
#include "tests/lab/blanket_cli.hpp"

#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

Argv with_program(Argv words) {
    words.insert(words.begin(), "blanket");
    words.insert(words.end(), {"--output", "json"});
    return words;
}

Result<CommandResult> result_of(const Output& output) {
    CommandResult result{output.status, nullptr, std::string(trim(output.err))};
    if (!trim(output.out).empty()) {
        BLANKET_TRY(result.answer, parse_json(output.out));
    }
    return result;
}

const Json& member(const Json& object, const char* name) {
    static const Json kNone = Json::object();
    const auto found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() ? *found : kNone;
}

}  // namespace

Result<CommandResult> BlanketCli::try_run(Argv words, std::chrono::milliseconds deadline, std::string_view input) {
    BLANKET_TRY(const Output output, ssh_.run_any(with_program(std::move(words)), deadline, input));
    return result_of(output);
}

Result<Json> BlanketCli::run(Argv words, std::chrono::milliseconds deadline, std::string_view input) {
    const std::string line = to_string(words);
    BLANKET_TRY(CommandResult result, try_run(std::move(words), deadline, input));
    if (result.status == 0) return std::move(result.answer);
    return fail(Kind::kIo, "at '{}', 'blanket {}' ended with {}: {}", ssh_.name(), line, result.status, result.errors);
}

Result<CommandResult> BlanketCli::follow(Argv words, std::chrono::milliseconds deadline, const std::function<void(std::string_view)>& on_line) {
    BLANKET_TRY(const Output output, ssh_.follow(with_program(std::move(words)), deadline, on_line));
    return result_of(output);
}

Result<bool> BlanketCli::doctor_green(std::string& findings) {
    BLANKET_TRY(const CommandResult result, try_run({"doctor"}, seconds(60)));
    findings.clear();
    for (const auto& check : member(result.answer, "checks")) {
        const std::string status = json_string_or(check, "status", "fail");
        if (status != "ok") findings += std::format("{}: {} {}\n", json_string_or(check, "name", "?"), status, json_string_or(check, "detail", json_string_or(check, "what", "")));
    }
    if (findings.empty() && result.status != 0) findings = result.errors;
    return result.status == 0;
}

Result<std::string> BlanketCli::token(const std::string& name, bool witness) {
    Argv words{"site", "token", "--name", name};
    if (witness) words.push_back("--witness");
    BLANKET_TRY(const Json answer, run(std::move(words)));
    return json_string(answer, "token");
}

Result<VmView> BlanketCli::vm(const std::string& name) {
    BLANKET_TRY(const Json answer, run({"vm", "show", name}));
    const Json& vm = answer.contains("vm") ? answer["vm"] : answer;
    VmView view;
    BLANKET_TRY(view.uuid, json_string(vm, "uuid"));
    BLANKET_TRY(view.owner, json_string(vm, "owner"));
    view.state = json_string_or(vm, "state", "");
    view.phase = json_string_or(vm, "phase", "");
    view.epoch = json_number_or(vm, "epoch", 0);
    for (const auto& nic : member(vm, "nics")) {
        if (!view.ip.empty()) break;
        view.mac = json_string_or(nic, "mac", "");
        view.ip = json_string_or(nic, "ip", "");
    }
    for (const auto& volume : member(vm, "volumes")) view.volumes.push_back(json_string_or(volume, "id", ""));
    return view;
}

}  // namespace blanket::lab
