// SPDX-License-Identifier: GPL-2.0-or-later
// The demo's checks, as far as they are pure.
#include "tests/lab/demo_checks.hpp"

#include <gtest/gtest.h>

namespace blanket::lab {
namespace {

TEST(DemoChecks, AGuestsPagesWentToTheProviderAsTheyAre) {
    const CheckResult good = judge_granted("west", "57516\n1200\n");
    EXPECT_TRUE(good.ok);
    EXPECT_EQ(good.name, "guests' pages at west go to the provider without a copy");
    EXPECT_EQ(good.detail, "57516 pages of guests granted on as they are, 1200 of dom0's own");
    EXPECT_FALSE(judge_granted("west", "0\n1200\n").ok);
    for (const char* odd : {"", "7", "7\n", "7\n8\n9\n", "x\n8\n", "7\n-8\n"}) EXPECT_FALSE(judge_granted("west", odd).ok) << odd;
}

}  // namespace
}  // namespace blanket::lab
