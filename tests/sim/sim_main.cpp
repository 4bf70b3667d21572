// SPDX-License-Identifier: GPL-2.0-or-later
// sim: runs schedules and says what broke.
//   sim [--seeds N] [--from S] [--threads N] [--json FILE]    N schedules; exit 0 when every one kept every invariant
//   sim --seed S                                              one, with its faults (as few as still break it) and everything that happened
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <print>
#include <thread>

#include "tests/sim/schedule.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::sim {
namespace {

struct Options {
    std::uint64_t seeds = 10'000, from = 1, threads = 2;
    std::optional<std::uint64_t> seed;
    std::string json;
};

Result<Options> parse(const std::vector<std::string>& args) {
    Options options;
    for (std::size_t i = 0; i < args.size(); i += 2) {
        if (i + 1 == args.size()) return fail(Kind::kInvalid, "{} wants a value", args[i]);
        if (args[i] == "--json") {
            options.json = args[i + 1];
            continue;
        }
        BLANKET_TRY(const std::uint64_t value, parse_number(args[i + 1], 0, 1'000'000'000, args[i]));
        if (args[i] == "--seeds") options.seeds = value;
        else if (args[i] == "--from") options.from = value;
        else if (args[i] == "--threads") options.threads = std::max<std::uint64_t>(1, value);
        else if (args[i] == "--seed") options.seed = value;
        else return fail(Kind::kInvalid, "unknown option '{}'", args[i]);
    }
    return options;
}

struct Total {
    std::mutex mutex;
    std::set<std::uint64_t> histories;
    std::set<std::pair<std::string, FaultKind>> pairs;
    std::set<const Transition*> transitions;
    std::vector<std::uint64_t> failed;
    std::vector<Time> healed;
    std::uint64_t done = 0, moves = 0, take_overs = 0, steps = 0;
};

double at(const std::vector<Time>& sorted, double share) {
    return sorted.empty() ? 0 : static_cast<double>(sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))]) / kSecond;
}

int show(std::uint64_t seed) {
    Schedule schedule = draw(seed);
    if (!run(schedule).violations.empty()) schedule = shrink(std::move(schedule));
    std::vector<std::string> trace;
    const Verdict verdict = run(schedule, &trace);
    for (const auto& line : trace) std::println("{}", line);
    std::println("{}", describe(schedule));
    std::println("{} calls, {} steps, {} moves done, history {:016x}", verdict.calls, verdict.steps, verdict.moves, verdict.history);
    for (const auto& [phase, kind] : verdict.struck) std::println("struck: {} in phase {}", to_string(kind), phase);
    for (const auto& text : verdict.violations) std::println("VIOLATION {}", text);
    return verdict.violations.empty() ? 0 : 1;
}

int run_all(const Options& options) {
    const auto begin = std::chrono::steady_clock::now();
    Total total;
    std::atomic<std::uint64_t> next = options.from;
    const auto work = [&] {
        for (std::uint64_t seed; (seed = next++) < options.from + options.seeds;) {
            Verdict verdict = run(draw(seed));
            // A simulation that is not the same twice would prove nothing.
            if (seed % 500 == 0 && run(draw(seed)).history != verdict.history) verdict.violations.emplace_back("the same seed took another course the second time");
            const std::lock_guard lock(total.mutex);
            total.histories.insert(verdict.history);
            total.pairs.insert(verdict.struck.begin(), verdict.struck.end());
            total.transitions.insert(verdict.transitions.begin(), verdict.transitions.end());
            ++total.done;
            total.moves += verdict.moves;
            total.take_overs += verdict.take_overs;
            total.steps += verdict.steps;
            if (verdict.healed_after != kForever) total.healed.push_back(verdict.healed_after);
            if (verdict.violations.empty()) continue;
            total.failed.push_back(seed);
            if (total.failed.size() > 5) {
                next = options.from + options.seeds;  // enough to look at
                continue;
            }
            std::println("seed {}: {}", seed, verdict.violations.front());
        }
    };
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t i = 0; i < options.threads; ++i) threads.emplace_back(work);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::ranges::sort(total.healed);
    std::println("{} schedules, {} distinct, {} moves done, {} take-overs, {} steps in {:.1f} s; {} phase x fault pairs; {} failed", total.done, total.histories.size(),
                 total.moves, total.take_overs, total.steps, seconds, total.pairs.size(), total.failed.size());
    std::string never;
    for (const auto& row : transitions())
        if (!total.transitions.contains(&row)) never += std::format("{}{} > {} ({})", never.empty() ? "" : ", ", to_string(row.from), to_string(row.to), row.when);
    std::println("{} of {} transitions of the record taken; not: {}", total.transitions.size(), transitions().size(), never.empty() ? "none" : never);
    std::println("all is well after the last fault has ended: median {:.0f} s, 99 % {:.0f} s, worst {:.0f} s", at(total.healed, 0.5), at(total.healed, 0.99), at(total.healed, 1.0));
    if (!options.json.empty()) {
        Json pairs = Json::array();
        for (const auto& [phase, kind] : total.pairs) pairs.push_back({{"phase", phase}, {"fault", to_string(kind)}});
        const Json out{{"schedules", total.done}, {"distinct", total.histories.size()}, {"take_overs", total.take_overs}, {"seconds", seconds}, {"failed", total.failed.size()}, {"pairs", pairs}, {"transitions", total.transitions.size()}, {"transitions_in_table", transitions().size()},
                       {"healed_s", {{"median", at(total.healed, 0.5)}, {"p99", at(total.healed, 0.99)}, {"worst", at(total.healed, 1.0)}}}};
        if (auto written = write_file(options.json, out.dump(2) + "\n"); !written) std::println(stderr, "{}", written.error().what);
    }
    std::ranges::sort(total.failed);
    for (std::size_t i = 0; i < std::min<std::size_t>(total.failed.size(), 3); ++i) std::println("{}", describe(shrink(draw(total.failed[i]))));
    return total.failed.empty() ? 0 : 1;
}

}  // namespace
}  // namespace blanket::sim

int main(int argc, char** argv) {
    using namespace blanket;
    const auto options = sim::parse(std::vector<std::string>(argv + 1, argv + argc));
    if (!options) {
        std::println(stderr, "sim: {}", options.error().what);
        return 2;
    }
    log::set_level(log::Level::kNone);
    return options->seed ? sim::show(*options->seed) : sim::run_all(*options);
}
