// SPDX-License-Identifier: GPL-2.0-or-later
// The sender's rate in virtual time.
#include "toolstack/migrate/pacer.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"

namespace blanket::migrate {
namespace {

TEST(Pacer, HoldsTheRate) {
    fakes::ManualClock clock;
    Pacer pacer(clock, 1'000'000);
    std::uint64_t sent = 5'000;  // what went before counts for nothing
    pacer.pace(sent);
    const auto begin = clock.now_ms;
    for (int i = 0; i < 100; ++i) {
        sent += 50'000;
        pacer.pace(sent);
    }
    EXPECT_NEAR(static_cast<double>(clock.now_ms - begin), 5000, 1);
}

TEST(Pacer, LiftedForAWhile) {
    fakes::ManualClock clock;
    Pacer pacer(clock, 1'000'000);
    pacer.pace(5'000);
    pacer.lift(true);
    const auto begin = clock.now_ms;
    pacer.pace(90'000'000);
    EXPECT_EQ(clock.now_ms, begin);
    pacer.lift(false);
    pacer.pace(90'050'000);  // begins anew
    EXPECT_EQ(clock.now_ms, begin);
    pacer.pace(91'050'000);
    EXPECT_NEAR(static_cast<double>(clock.now_ms - begin), 1000, 1);
}

TEST(Pacer, WithoutARateItNeverSleeps) {
    fakes::ManualClock clock;
    Pacer pacer(clock, 0);
    for (std::uint64_t sent = 0; sent < 1u << 30; sent += 1u << 20) pacer.pace(sent);
    EXPECT_EQ(clock.now_ms, 1'000'000);
}

TEST(Pacer, APauseIsNotMadeUpFor) {
    fakes::ManualClock clock;
    Pacer pacer(clock, 1'000'000);
    pacer.pace(0);
    clock.now_ms += 60'000;  // the guest was idle
    pacer.pace(1000);
    const auto begin = clock.now_ms;
    pacer.pace(1'001'000);
    EXPECT_NEAR(static_cast<double>(clock.now_ms - begin), 1000, 1);
}

TEST(Pacer, TheLastPagesAreNotHeldBack) {
    fakes::ManualClock clock;
    Pacer pacer(clock, 1000);
    pacer.pace(0);
    pacer.hurry();
    const auto begin = clock.now_ms;
    pacer.pace(100'000'000);
    EXPECT_EQ(clock.now_ms, begin);
}

}  // namespace
}  // namespace blanket::migrate
