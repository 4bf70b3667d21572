// SPDX-License-Identifier: GPL-2.0-or-later
// The operator at one site: `blanket ... --output json` over ssh, as calls. The only place in tests/ that knows the CLI's words and the shape of its answers.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/lab/ssh.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::lab {

struct CommandResult {
    int status = 0;
    Json answer;         // of standard output; null when there was none
    std::string errors;  // standard error
};

struct VmView {
    std::string uuid, owner, state, phase, mac, ip;
    std::uint64_t epoch = 0;
    std::vector<std::string> volumes;
};

class BlanketCli final {
public:
    explicit BlanketCli(Ssh& ssh) : ssh_(ssh) {}

    // Any status; the words after `blanket`. `input` goes to standard input.
    Result<CommandResult> try_run(Argv words, std::chrono::milliseconds deadline, std::string_view input = {});
    // Status 0 or an error that carries what the CLI said.
    Result<Json> run(Argv words, std::chrono::milliseconds deadline = std::chrono::minutes(2), std::string_view input = {});
    // Like try_run, but progress lines are handed over as they come.
    Result<CommandResult> follow(Argv words, std::chrono::milliseconds deadline, const std::function<void(std::string_view)>& on_line);

    Result<bool> doctor_green(std::string& findings);  // findings: those that are not ok, one per line
    Result<std::string> token(const std::string& name, bool witness);
    Result<VmView> vm(const std::string& name);

private:
    Ssh& ssh_;
};

}  // namespace blanket::lab
