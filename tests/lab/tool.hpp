// SPDX-License-Identifier: GPL-2.0-or-later
// What the programs over a lab share (benches, the fault campaign): options with a value each, one number of a report, and the end of main().
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/lab/clouds.hpp"

namespace blanket::lab {

struct ToolOptions {
    LabOptions lab;
    std::string domu, report;
};

using OptionTaker = std::function<Result<void>(const std::string& value)>;

// --image, --domu, --report, --witness, and the program's own. kInvalid: unknown, or without its value.
Result<ToolOptions> parse_tool(const std::vector<std::string>& args, const char* lab_name, const std::map<std::string, OptionTaker>& own = {});
OptionTaker take_text(std::string& into);
OptionTaker take_number(std::uint64_t& into, std::uint64_t least, std::uint64_t most, const char* what);

// DESIGN.md section 6's form; `goal` is a text, a number or null.
Json metric(const std::string& name, double value, const char* unit, Json goal, bool met, Json peers = Json::object());

// Both clouds boot, are green, form one federation, and have the guests' image.
Result<void> bring_up(Clouds& clouds, const std::string& domu);

// `run` gets argv without the program and gives the exit status; its error is told with its next step, and ends the program with its class.
int run_tool(const char* name, int argc, char** argv, const std::function<Result<int>(const std::vector<std::string>& args, const std::string& folder)>& run);

}  // namespace blanket::lab
