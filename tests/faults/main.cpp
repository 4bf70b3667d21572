// SPDX-License-Identifier: GPL-2.0-or-later
// fault-campaign: real faults on real machines, drawn by a seed from all pairs of moment and fault; goes on where it was broken off.
//   fault-campaign --image FILE --domu FILE [--faults N] [--seed S] [--record FILE] [--report FILE] [--only MOMENT/FAULT,...]
// The record (by default the one in the repository: who goes on with it commits it) holds one JSON line per fault; pairs that stand there are not tried again. Ends at the first fault that does
// not heal (logs are collected). Exit 0: no violation.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <print>
#include <random>
#include <set>

#include "tests/faults/operator.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/demo_checks.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/tool.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

struct Options {
    ToolOptions tool;
    std::string record = "/src/tests/faults/record.jsonl";
    std::uint64_t faults = 60, seed = 1;
    std::vector<std::string> only;
};

Result<Options> parse_options(const std::vector<std::string>& args) {
    Options options;
    std::string only;
    BLANKET_TRY(options.tool, parse_tool(args, "faults", {{"--record", take_text(options.record)},
                                                          {"--only", take_text(only)},
                                                          {"--faults", take_number(options.faults, 1, 10'000, "number of faults")},
                                                          {"--seed", take_number(options.seed, 0, ~0ull, "seed")}}));
    if (!only.empty()) options.only = split(only, ',');
    return options;
}

struct Pair {
    std::string moment;
    const Fault* fault = nullptr;
    const OperatorCase* by_operator = nullptr;  // instead of a fault
    [[nodiscard]] std::string name() const { return moment + "/" + (fault != nullptr ? fault->name : by_operator->name); }
};

// All pairs in the seed's order; of those that take minutes, every sixth place holds one.
std::vector<Pair> draw(std::uint64_t seed) {
    std::vector<Pair> quick, costly, out;
    for (const auto& moment : moments())
        for (const auto& fault : faults())
            if (possible(fault, moment)) (fault.kind == Fault::Kind::kCostly ? costly : quick).push_back({moment, &fault, nullptr});
    for (const auto& by_operator : operator_cases()) (by_operator.guest_dies ? costly : quick).push_back({"operator", nullptr, &by_operator});
    std::mt19937_64 random(seed);
    std::ranges::shuffle(quick, random);
    std::ranges::shuffle(costly, random);
    for (std::size_t i = 0; i < quick.size(); ++i) {
        if (i % 5 == 4 && !costly.empty()) {
            out.push_back(costly.back());
            costly.pop_back();
        }
        out.push_back(quick[i]);
    }
    return out;
}

Result<std::vector<Pair>> choose(const Options& options) {
    if (options.only.empty()) return draw(options.seed);
    std::vector<Pair> out;
    for (const auto& name : options.only) {
        const auto slash = name.find('/');
        const std::string moment = name.substr(0, slash);
        if (moment == "operator") {
            const auto at = std::ranges::find(operator_cases(), name.substr(slash + 1), &OperatorCase::name);
            if (at == operator_cases().end()) return fail(Kind::kNotFound, "no case '{}'", name);
            out.push_back({moment, nullptr, &*at});
            continue;
        }
        BLANKET_TRY(const Fault* const fault, find_fault(slash == std::string::npos ? "" : name.substr(slash + 1)));
        if (std::ranges::find(moments(), moment) == moments().end() || !possible(*fault, moment)) return fail(Kind::kInvalid, "'{}' is no moment for '{}'", moment, fault->name);
        out.push_back({moment, fault, nullptr});
    }
    return out;
}

Result<std::vector<Json>> read_record(const std::string& path) {
    std::vector<Json> out;
    const auto text = read_file(path, 16u << 20);
    if (!text) return out;  // the first run
    for (const auto& line : split(*text, '\n')) {
        if (trim(line).empty()) continue;
        BLANKET_TRY(Json result, parse_json(line));
        out.push_back(std::move(result));
    }
    return out;
}

Json report_of(const std::vector<Json>& results, Accelerator accelerator) {
    std::set<std::string> pairs;
    std::vector<double> answers, healed, healed_from, commits, aborts;
    std::uint64_t struck = 0, violations = 0;
    for (const auto& result : results) {
        if (!json_bool_or(result, "struck", false)) continue;
        ++struck;
        pairs.insert(json_string_or(result, "moment", "") + "/" + json_string_or(result, "fault", ""));
        violations += result.value("violations", Json::array()).size();
        if (const double time = result.value("answers_s", -1.0); time >= 0) answers.push_back(time);
        if (const double time = result.value("healed_s", -1.0); time >= 0) healed.push_back(time);
        if (const double time = result.value("healed_from_s", -1.0); time >= 0) healed_from.push_back(time);
        if (const double time = result.value("commit_ms", -1.0); time >= 0) commits.push_back(time);
        if (const double time = result.value("abort_ms", -1.0); time >= 0) aborts.push_back(time);
    }
    const auto at = [](std::vector<double>& times, double share) {
        std::ranges::sort(times);
        return times.empty() ? 0.0 : times[std::min(times.size() - 1, static_cast<std::size_t>(share * static_cast<double>(times.size())))];
    };
    Json metrics = Json::array();
    const auto add = [&](const std::string& name, double value, const char* unit, Json goal, bool met) { metrics.push_back(metric(name, value, unit, std::move(goal), met)); };
    add("faults", static_cast<double>(struck), "faults", ">= 60", struck >= 60);
    add("pairs", static_cast<double>(pairs.size()), "moment x fault", ">= 40", pairs.size() >= 40);
    add("violations", static_cast<double>(violations), "violations", 0, violations == 0);
    add("manual_steps", 0, "steps", 0, true);  // nothing here ever touches a site between a fault and its healing
    for (const auto& [name, share] : {std::pair("median", 0.5), std::pair("p90", 0.9), std::pair("worst", 1.0)}) {
        add(std::format("guest_answers_{}", name), at(answers, share), "s", nullptr, true);
        add(std::format("healed_{}", name), at(healed, share), "s", nullptr, true);
        add(std::format("healed_from_{}", name), at(healed_from, share), "s", nullptr, true);
    }
    for (const auto& [name, share] : {std::pair("median", 0.5), std::pair("worst", 1.0)}) {
        add(std::format("commit_{}", name), at(commits, share), "ms", nullptr, true);
        add(std::format("abort_{}", name), at(aborts, share), "ms", "<= 1000", at(aborts, share) <= 1000);
    }
    return {{"bench", "faults"}, {"commit", commit_of_tree()}, {"machine", machine_facts(accelerator)}, {"metrics", metrics}, {"results", results}};
}

// What the consoles say that they had not said before.
void look_at_consoles(Lab& lab, std::set<std::string>& seen, FaultResult& result) {
    const auto lines = lab.alarms();
    if (!lines) return result.violations.push_back("the consoles cannot be read: " + lines.error().what);
    const std::string& struck = result.fault.contains("-source-") ? result.source : result.target;
    for (const auto& line : *lines) {
        if (!seen.insert(line).second) continue;
        const bool was_stopped = result.fault.starts_with("stop-") && line.starts_with(struck + ":") && line.contains("soft lockup");
        (was_stopped ? result.told : result.violations).push_back(line);
    }
}

Result<void> prepare(Clouds& clouds, const std::string& domu) {
    BLANKET_CHECK(bring_up(clouds, domu));
    BLANKET_CHECK(create_vms(clouds, false));
    return clouds.guest("east", clouds.web, "POST", "/load?rate_kib=3072&pause_ms=20").transform([](const Json&) {});
}

Result<int> run_campaign(const std::vector<std::string>& args, const std::string& folder) {
    BLANKET_TRY(const Options options, parse_options(args));
    BLANKET_TRY(const auto pairs, choose(options));
    BLANKET_TRY(std::vector<Json> results, read_record(options.record));
    std::set<std::string> known;
    if (options.only.empty())
        for (const auto& result : results)
            if (json_bool_or(result, "struck", false)) known.insert(json_string_or(result, "moment", "") + "/" + json_string_or(result, "fault", ""));
    Story story;
    LabOptions lab_options = options.tool.lab;
    if (lab_options.witness_program.empty()) lab_options.witness_program = folder + "blanket-witness";
    lab_options.capture_bytes = 0;
    lab_options.durable_disks = true;  // power is cut here
    BLANKET_TRY(const auto lab, Lab::create(lab_options));
    Clouds clouds{*lab, story};
    int status = 0;
    bool broken = false;
    if (const auto up = prepare(clouds, options.tool.domu); !up) {
        lab->collect_logs();
        return std::unexpected(up.error());
    }
    std::uint64_t done = 0;
    std::set<std::string> seen;
    for (const auto& pair : pairs) {
        if (done == options.faults || broken) break;
        if (known.contains(pair.name())) continue;
        auto result = pair.fault != nullptr ? strike_once(clouds, pair.moment, *pair.fault) : run_operator_case(clouds, *pair.by_operator);
        if (result) {
            look_at_consoles(*lab, seen, *result);
            results.push_back(to_json(*result));
            results.back()["commit"] = commit_of_tree();
            std::ofstream(options.record, std::ios::app) << results.back().dump() << '\n';
            done += result->struck;
            if (!result->violations.empty()) status = 1;
            broken = result->struck && result->healed_s < 0;
        } else {
            story.say("the lab failed: {}", result.error().what);
            status = exit_code(result.error().kind);
            broken = true;
        }
        if (broken) lab->collect_logs();
    }
    const Json report = report_of(results, lab->accelerator());
    std::println("{}", report["metrics"].dump(2));
    if (!options.tool.report.empty()) BLANKET_CHECK(write_file(options.tool.report, report.dump(2) + "\n"));
    return status;
}

}  // namespace
}  // namespace blanket::lab

int main(int argc, char** argv) { return blanket::lab::run_tool("fault-campaign", argc, argv, blanket::lab::run_campaign); }
