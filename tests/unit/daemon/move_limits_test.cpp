// SPDX-License-Identifier: GPL-2.0-or-later
// What a request to migrate may ask for.
#include <gtest/gtest.h>

#include "toolstack/daemon/vm_actions.hpp"

namespace blanket {
namespace {

TEST(MoveLimits, NothingAskedIsNoLimit) {
    const auto limits = parse_move_limits({{"target", "west"}});
    ASSERT_TRUE(limits);
    EXPECT_EQ(limits->save.downtime_target_ms, 0);
    EXPECT_EQ(limits->save.max_downtime_ms, 0);
    EXPECT_EQ(limits->bandwidth, 0u);
    EXPECT_EQ(limits->patience, std::chrono::seconds(90));
    EXPECT_EQ(limits->streams, 4u);
}

TEST(MoveLimits, EachIsReadInItsUnit) {
    const auto limits = parse_move_limits({{"downtime_target_ms", 300u}, {"max_downtime_ms", 3000u}, {"max_time_ms", 60'000u}, {"bandwidth_mbit", 8u}, {"patience_ms", 5000u}, {"streams", 16u}});
    ASSERT_TRUE(limits);
    EXPECT_EQ(limits->patience, std::chrono::seconds(5));
    EXPECT_EQ(limits->streams, 16u);
    EXPECT_EQ(limits->save.downtime_target_ms, 300);
    EXPECT_EQ(limits->save.max_downtime_ms, 3000);
    EXPECT_EQ(limits->save.max_time_ms, 60'000);
    EXPECT_EQ(limits->bandwidth, 1'000'000u);
}

TEST(MoveLimits, FeaturesCanBeLeftOut) {
    const auto all = parse_move_limits(Json::object());
    ASSERT_TRUE(all);
    EXPECT_TRUE(all->features.references && all->features.versions && all->features.compression == stream::CodingChoice::Rule::kMeasure && all->save.rounds == 0);
    const auto some = parse_move_limits({{"without", {"references", "policy", "measuring"}}});
    ASSERT_TRUE(some);
    EXPECT_TRUE(!some->features.references && some->features.versions && some->features.compression == stream::CodingChoice::Rule::kAlways && some->save.rounds == 5);
    const auto others = parse_move_limits({{"without", {"versions", "compression", "throttle", "store", "store-deltas"}}});
    ASSERT_TRUE(others);
    EXPECT_TRUE(all->features.store && some->features.store && !others->features.store);
    EXPECT_TRUE(all->features.store_deltas && some->features.store_deltas && !others->features.store_deltas);
    EXPECT_TRUE(others->features.references && !others->features.versions && others->features.compression == stream::CodingChoice::Rule::kNever && !others->save.throttle);
}

TEST(MoveLimits, NonsenseIsRefused) {
    for (const Json& bad : {Json{{"max_downtime_ms", "3"}}, Json{{"max_downtime_ms", -1}}, Json{{"max_downtime_ms", 3'600'001u}}, Json{{"bandwidth_mbit", 1'000'001u}}, Json{{"patience_ms", 3'600'001u}}, Json{{"streams", 0u}}, Json{{"streams", 17u}},
                            Json{{"max_time_ms", 1e30}}, Json{{"without", "policy"}}, Json{{"without", {"everything"}}}, Json{{"without", {7}}}, Json{{"downtime_target_ms", 500u}, {"max_downtime_ms", 400u}}}) {
        const auto limits = parse_move_limits(bad);
        ASSERT_FALSE(limits) << bad.dump();
        EXPECT_EQ(limits.error().kind, Kind::kInvalid);
    }
}

}  // namespace
}  // namespace blanket
