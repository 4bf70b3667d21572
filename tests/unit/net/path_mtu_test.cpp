// SPDX-License-Identifier: GPL-2.0-or-later
// The search for a path's MTU: right for every path, bounded for every answer.
#include "net/path_mtu.hpp"

#include <gtest/gtest.h>

#include <random>

namespace blanket::net::test {
namespace {

TEST(PathMtu, IsFoundOnEveryPath) {
    std::mt19937 random(1);
    const auto up_to = [&](std::uint32_t most) { return std::uniform_int_distribution<std::uint32_t>(0, most)(random); };
    for (int round = 0; round < 20'000; ++round) {
        const std::uint32_t largest = round % 2 == 0 ? 1500 : kSmallestPathMtu + up_to(kLargestPathMtu - kSmallestPathMtu);
        const std::uint32_t carries = round % 3 == 0 ? up_to(kLargestPathMtu) : 1200 + up_to(400);
        const std::uint32_t hint = round % 5 == 0 ? up_to(kLargestPathMtu) : round % 5 == 1 ? carries : round % 5 == 2 ? 0 : kSmallestPathMtu + up_to(300);
        unsigned asked = 0;
        const auto found = largest_passing(largest, hint, [&](std::uint32_t size) {
            EXPECT_TRUE(size >= kSmallestPathMtu && size <= largest) << size;
            ++asked;
            return size <= carries;
        });
        ASSERT_EQ(found, carries < kSmallestPathMtu ? std::nullopt : std::optional(std::min(carries, largest))) << largest << ' ' << carries << ' ' << hint;
        ASSERT_LE(asked, kMostProbes);
        if (hint == carries && found) ASSERT_LE(asked, 4u);
    }
}

TEST(PathMtu, AnswersThatMakeNoSenseEndTheSearchAllTheSame) {
    std::mt19937 random(2);
    for (int round = 0; round < 20'000; ++round) {
        const std::uint32_t largest = std::uniform_int_distribution<std::uint32_t>(0, kLargestPathMtu)(random);
        unsigned asked = 0;
        const auto found = largest_passing(largest, static_cast<std::uint32_t>(random()), [&](std::uint32_t) {
            ++asked;
            return random() % 2 == 0;
        });
        ASSERT_LE(asked, kMostProbes);
        if (found) ASSERT_TRUE(*found >= kSmallestPathMtu && *found <= largest) << *found;
    }
    EXPECT_FALSE(largest_passing(kSmallestPathMtu - 1, 0, [](std::uint32_t) { return true; }));
}

}  // namespace
}  // namespace blanket::net::test
