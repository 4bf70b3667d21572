// SPDX-License-Identifier: GPL-2.0-or-later
// The policy against guests in virtual time: what they dirty depends on how long a round takes.
#include "toolstack/hypervisor/precopy_policy.hpp"

#include <algorithm>
#include <functional>
#include <gtest/gtest.h>
#include <random>

namespace blanket {
namespace {

using Step = PrecopyPolicy::Step;

struct Guest {
    std::uint64_t pages = 65'536;
    double link = 3.0;                                  // pages sent per ms
    std::function<std::uint64_t(std::int64_t)> dirtied;  // in a round of so many ms
};

struct Outcome {
    Step step = Step::kContinue;
    std::uint64_t rounds = 0, sent = 0;
    std::int64_t took_ms = 0, rest_ms = 0, forecast_ms = 0;
    double share = 1;
    std::string why;
};

Outcome play(const SaveLimits& limits, const Guest& guest) {
    PrecopyPolicy policy(limits);
    Outcome outcome;
    std::int64_t now = 1000;
    std::uint64_t dirty = guest.pages;
    for (std::uint64_t round = 0; round < 1000; ++round) {
        outcome.step = policy.begin(now, dirty);
        outcome.rounds = round + 1;
        if (outcome.step == Step::kGiveUp) break;
        const auto took = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(dirty) / guest.link));
        outcome.sent += dirty;
        now += took;
        dirty = std::min(guest.pages, guest.dirtied(static_cast<std::int64_t>(static_cast<double>(took) * policy.share())));
        if (outcome.step == Step::kLastRound) {
            outcome.rest_ms = static_cast<std::int64_t>(static_cast<double>(dirty) / guest.link);
            break;
        }
        policy.end(now);
        EXPECT_EQ(policy.last_round().ms, took);
    }
    outcome.took_ms = now - 1000;
    outcome.forecast_ms = policy.forecast_ms();
    outcome.share = policy.share();
    outcome.why = policy.why();
    return outcome;
}

std::function<std::uint64_t(std::int64_t)> writes(double pages_per_ms, std::uint64_t working_set) {
    return [=](std::int64_t ms) { return std::min<std::uint64_t>(working_set, static_cast<std::uint64_t>(pages_per_ms * static_cast<double>(ms))); };
}

TEST(PrecopyPolicy, AnIdleGuestTakesTwoRounds) {
    const auto outcome = play({}, {.dirtied = writes(0.001, 40)});
    EXPECT_EQ(outcome.step, Step::kLastRound);
    EXPECT_EQ(outcome.rounds, 2u);
    EXPECT_LE(outcome.rest_ms, 1);
}

TEST(PrecopyPolicy, AGuestThatConvergesIsStoppedForLittle) {
    const auto outcome = play({}, {.dirtied = writes(0.75, 8192)});  // 3 MiB/s over a link of 12 MiB/s
    EXPECT_EQ(outcome.step, Step::kLastRound);
    EXPECT_LE(outcome.rest_ms, 20);
    EXPECT_LE(outcome.rounds, 8u);
}

TEST(PrecopyPolicy, ItStopsEarlierWhereTheUserAllowsMore) {
    const Guest guest{.dirtied = writes(0.75, 8192)};
    const auto patient = play({}, guest), quick = play({.downtime_target_ms = 500}, guest);
    EXPECT_LT(quick.rounds, patient.rounds);
    EXPECT_LT(quick.sent, patient.sent);
    EXPECT_LE(quick.rest_ms, 500);
    // What the stop costs anyway is part of the target.
    const auto costly = play({.downtime_target_ms = 500, .fixed_ms = 450}, guest);
    EXPECT_LE(costly.rest_ms, 50);
    EXPECT_GE(costly.forecast_ms, 450);
}

TEST(PrecopyPolicy, RoundsThatCannotBeSeenBesideTheFixedCostAreNotMade) {
    const Guest guest{.dirtied = writes(0.75, 8192)};
    EXPECT_LT(play({.fixed_ms = 3000}, guest).sent, play({.fixed_ms = 10}, guest).sent);
}

TEST(PrecopyPolicy, AThrasherEndsAndIsNotSentForEver) {
    const Guest guest{.dirtied = writes(100, 40'000)};
    const auto outcome = play({.throttle = false}, guest);
    EXPECT_EQ(outcome.step, Step::kLastRound);
    EXPECT_LE(outcome.rounds, 5u);  // the set of the second round never becomes smaller
    EXPECT_EQ(outcome.share, 1);
    const auto refused = play({.max_downtime_ms = 1000, .throttle = false}, guest);
    EXPECT_EQ(refused.step, Step::kGiveUp);
    EXPECT_LE(refused.rounds, 8u);
    EXPECT_NE(refused.why.find("MiB/s"), std::string::npos) << refused.why;
    EXPECT_NE(refused.why.find("1000 ms are allowed"), std::string::npos) << refused.why;
}

TEST(PrecopyPolicy, AGuestThatWritesFasterThanTheLinkIsHeldBack) {
    for (const double faster : {1.2, 2.0, 5.0, 12.0}) {
        const Guest guest{.dirtied = writes(3.0 * faster, 50'000)};
        const auto free = play({.throttle = false}, guest), held = play({}, guest);
        EXPECT_GT(free.rest_ms, 5000) << faster;
        EXPECT_EQ(held.step, Step::kLastRound) << faster;
        EXPECT_LE(held.rest_ms, 5000) << faster << ": " << held.why;
        EXPECT_LT(held.share, 1) << faster;
        EXPECT_LE(held.sent, 10 * guest.pages) << faster << ": most rounds are short";
        EXPECT_NE(held.why.find("held back to"), std::string::npos) << held.why;
        const auto strict = play({.max_downtime_ms = 1000}, guest);
        EXPECT_EQ(strict.step, Step::kLastRound) << faster << ": " << strict.why;
        EXPECT_LE(strict.rest_ms, 1000) << faster;
    }
}

TEST(PrecopyPolicy, NobodyIsHeldBackForNothing) {
    // It converges; its stop would be short anyway; what its stop costs besides the pages is more than is allowed already.
    EXPECT_EQ(play({}, {.dirtied = writes(0.75, 8192)}).share, 1);
    EXPECT_EQ(play({}, {.dirtied = writes(100, 9'000)}).share, 1);
    const auto hopeless = play({.max_downtime_ms = 1000, .fixed_ms = 2000}, {.dirtied = writes(100, 40'000)});
    EXPECT_EQ(hopeless.step, Step::kGiveUp);
    EXPECT_EQ(hopeless.share, 1);
    // Even a twentieth of this one is too much: it ends, and says why.
    const auto wild = play({.max_downtime_ms = 1000}, {.dirtied = writes(10'000, 60'000)});
    EXPECT_EQ(wild.step, Step::kGiveUp);
    EXPECT_LE(wild.rounds, 14u);
    EXPECT_NE(wild.why.find("held back to 5 %"), std::string::npos) << wild.why;
}

TEST(PrecopyPolicy, ItWaitsForAGoodMoment) {
    // Writes much, and every third round little: a stop in between would last nine seconds.
    unsigned round = 0;
    const Guest guest{.dirtied = [&](std::int64_t) -> std::uint64_t { return ++round % 3 == 0 ? 1500 : 27'000; }};
    const auto outcome = play({.max_downtime_ms = 2000, .throttle = false}, guest);
    EXPECT_EQ(outcome.step, Step::kLastRound) << outcome.why;
    EXPECT_LE(outcome.forecast_ms, 2000);
}

TEST(PrecopyPolicy, TheTimeThatTheUserGivesIsKept) {
    const Guest guest{.dirtied = writes(2.9, 60'000)};  // shrinks by three in a hundred a round
    const auto outcome = play({.max_time_ms = 30'000, .throttle = false}, guest);
    EXPECT_EQ(outcome.step, Step::kLastRound);
    EXPECT_LE(outcome.took_ms, 30'000 + 2 * 22'000);
    const auto refused = play({.max_downtime_ms = 50, .max_time_ms = 30'000}, guest);
    EXPECT_EQ(refused.step, Step::kGiveUp);
}

// The forecast of the stop, when the last round begins, for guests whose writing is even: what the user is told before it is late.
TEST(PrecopyPolicy, ForecastsOfConvergentGuests) {
    std::mt19937_64 random(7);
    std::vector<double> errors;
    for (int i = 0; i < 400; ++i) {
        const double link = std::uniform_real_distribution(1.0, 30.0)(random);
        const double rate = link * std::uniform_real_distribution(0.02, 0.6)(random);
        const auto target = std::uniform_int_distribution<std::int64_t>(50, 800)(random);
        const auto outcome = play({.downtime_target_ms = target}, {.link = link, .dirtied = writes(rate, 65'536)});
        ASSERT_EQ(outcome.step, Step::kLastRound);
        EXPECT_LE(outcome.rest_ms, target + 2);
        if (outcome.rest_ms >= 10) errors.push_back(std::abs(static_cast<double>(outcome.forecast_ms - outcome.rest_ms)) / static_cast<double>(outcome.rest_ms));
    }
    ASSERT_GE(errors.size(), 100u);
    std::ranges::sort(errors);
    EXPECT_LE(errors[errors.size() * 95 / 100], 0.20);
}

}  // namespace
}  // namespace blanket
