// SPDX-License-Identifier: GPL-2.0-or-later
// bench-uplink: the provider's disk and network from the dom0 of a Xen inside that provider's Xen, beside the same kernel as a plain guest of it. One emulated
// processor does everything, so a rate is the work per byte; only ratios mean anything. JSON of DESIGN.md section 6.
//   bench-uplink --image FILE [--report FILE]   (--domu is accepted and not needed)
#include <map>
#include <print>

#include "tests/lab/machine_facts.hpp"
#include "tests/lab/tool.hpp"
#include "tests/vm/uplink_rig/rig.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::rig {
namespace {

using Values = std::map<std::string, std::pair<double, std::string>>;  // name -> value, unit

// The lines "PROBE bench NAME VALUE UNIT".
Result<Values> values_of(const std::string& console) {
    Values values;
    for (const auto& line : split(console, '\n')) {
        const auto at = line.find("PROBE bench ");
        if (at == std::string::npos) continue;
        const auto words = split(std::string(trim(line.substr(at + 12))), ' ');
        if (words.size() != 3) return fail(Kind::kIo, "the probe says: {}", line);
        values[words[0]] = {std::strtod(words[1].c_str(), nullptr), words[2]};
    }
    if (values.empty() || console.contains("FAILED")) return fail(Kind::kIo, "the probe did not end well:\n{}", console);
    return values;
}

Result<int> run_bench(const std::vector<std::string>& args, const std::string&) {
    BLANKET_TRY(const lab::ToolOptions options, lab::parse_tool(args, "bench-uplink"));
    BLANKET_TRY(const auto rig, Rig::create("bench-uplink", options.lab.image));
    // Each way twice, in turn: the machine is not as fast at every minute.
    Values plain, uplink;
    for (int round = 0; round < 2; ++round) {
        for (const bool blanket : {false, true}) {
            BLANKET_TRY(const std::string console, rig->run({.words = "bench=1 reloads=0", .blanket = blanket}));
            BLANKET_TRY(const Values values, values_of(console));
            for (const auto& [name, value] : values) {
                auto& best = (blanket ? uplink : plain)[name];
                if (value.first > best.first) best = value;
            }
        }
    }
    Json metrics = Json::array();
    std::println("{:<14} {:>12} {:>12}  {:<6} {:>6}   goal", "", "plain guest", "uplink", "", "ratio");
    for (const auto& [name, value] : plain) {
        const double inside = uplink[name].first, ratio = inside / value.first;
        metrics.push_back(lab::metric(name, ratio, "ratio to a plain guest", ">= 0.9", ratio >= 0.9, {{"plain_guest", value.first}, {"uplink", inside}, {"unit", value.second}}));
        std::println("{:<14} {:>12.1f} {:>12.1f}  {:<6} {:>6.2f}   >= 0.9 {}", name, value.first, inside, value.second, ratio, ratio >= 0.9 ? "met" : "NOT MET");
    }
    // One hypercall a kick; what else of the provider's exits a request costs (interrupts, their end) is not seen from inside.
    for (const auto& [name, value] : uplink) {
        if (plain.contains(name)) continue;
        const bool met = !name.starts_with("kicks_") || value.first <= 1.0;
        metrics.push_back(lab::metric(name, value.first, value.second.c_str(), "kicks <= 1", met, {}));
        std::println("{:<14} {:>12} {:>12.2f}  {}{}", name, "", value.first, value.second, met ? "" : " NOT MET (<= 1)");
    }
    const Json report{{"bench", "uplink"}, {"commit", lab::commit_of_tree()}, {"machine", lab::machine_facts(rig->machine().accelerator())}, {"metrics", metrics}};
    if (!options.report.empty()) BLANKET_CHECK(write_file(options.report, report.dump(2) + "\n"));
    return 0;
}

}  // namespace
}  // namespace blanket::rig

int main(int argc, char** argv) { return blanket::lab::run_tool("bench-uplink", argc, argv, blanket::rig::run_bench); }
