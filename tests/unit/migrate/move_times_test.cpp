// SPDX-License-Identifier: GPL-2.0-or-later
// The arithmetic of a move's accounts: two clocks, the parts of the stop, rounds and passes put together, live figures.
#include <gtest/gtest.h>

#include <random>

#include "toolstack/migrate/live_meter.hpp"
#include "toolstack/migrate/memory_rounds.hpp"
#include "toolstack/migrate/move_times.hpp"

namespace blanket::migrate {
namespace {

struct Story {
    SourceTimes source;
    TargetTimes target;
    std::int64_t asked = 0, connected = 0;  // true times
};

// A move in true time: the target's clock is `ahead`, messages take at least `flight`.
Story draw(std::mt19937& random, std::int64_t ahead, std::int64_t flight) {
    const auto some = [&](int most) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(most)); };
    const auto late = [&] { return flight + some(8); };
    Story story;
    auto& [source, target, asked, connected] = story;
    const std::int64_t base = ahead < 0 ? -ahead : 0;  // times do not go below zero
    std::int64_t t = base + 10;
    source.hello_said = t;
    target.hello_heard = (t += late()) + ahead;
    target.hello_said = t + ahead;
    source.hello_heard = t += late();
    source.asked = asked = t += 1000 + some(5000);
    source.suspended = t += some(100);
    source.last_pages = source.end_said = t += some(300);
    const std::int64_t drained = t + some(50);
    source.drained = drained;
    std::int64_t there = t + late();
    target.end_heard = there + ahead;
    target.restored = (there += some(200)) + ahead;
    there = std::max(there, drained + late());
    target.complete = there + ahead;
    target.committed = (there += some(40)) + ahead;
    source.committed_heard = there + late();
    target.disk_opened = (there += some(60)) + ahead;
    target.resumed = (there += some(30)) + ahead;
    source.resumed_heard = there + late();
    target.connected = (there += some(500)) + ahead;
    connected = there;
    return story;
}

TEST(MoveTimes, TheClocksOffsetIsWithinItsError) {
    std::mt19937 random(1);
    for (int i = 0; i < 3000; ++i) {
        const std::int64_t ahead = static_cast<std::int64_t>(random() % 200'000) - 100'000, flight = random() % 80;
        const Story story = draw(random, ahead, flight);
        const auto offset = clock_offset(story.source, story.target);
        ASSERT_TRUE(offset);
        EXPECT_LE(std::abs(offset->ahead_ms - ahead), offset->error_ms);
        EXPECT_LE(offset->error_ms, flight + 9);
    }
}

TEST(MoveTimes, AllPartsTogetherAreTheWholeStop) {
    std::mt19937 random(2);
    for (int i = 0; i < 3000; ++i) {
        const Story story = draw(random, static_cast<std::int64_t>(random() % 2000) - 1000, random() % 80);
        const auto downtime = downtime_of(story.source, story.target);
        ASSERT_TRUE(downtime);
        EXPECT_EQ(downtime->unexplained_ms(), 0);
        EXPECT_EQ(downtime->parts.size(), 10u);
        EXPECT_LE(std::abs(downtime->ms - (story.connected - story.asked)), clock_offset(story.source, story.target)->error_ms);
        std::int64_t at = downtime->start_ms;
        for (const auto& part : downtime->parts) {
            EXPECT_EQ(part.start_ms, at);
            EXPECT_GE(part.ms, 0);
            at += part.ms;
        }
    }
}

// Any moment may be missing: then its time is not explained, never more is than there was, and nothing overlaps.
TEST(MoveTimes, WhatIsMissingIsNotExplained) {
    std::mt19937 random(3);
    const std::array target_moments{&TargetTimes::hello_heard, &TargetTimes::hello_said, &TargetTimes::end_heard, &TargetTimes::restored, &TargetTimes::complete,
                                    &TargetTimes::committed, &TargetTimes::disk_opened, &TargetTimes::resumed, &TargetTimes::connected};
    const std::array source_moments{&SourceTimes::hello_said, &SourceTimes::hello_heard, &SourceTimes::asked, &SourceTimes::last_pages, &SourceTimes::drained, &SourceTimes::committed_heard};
    for (int i = 0; i < 5000; ++i) {
        Story story = draw(random, 500, 20);
        for (const auto at : target_moments)
            if (random() % 4 == 0) (story.target.*at).reset();
        for (const auto at : source_moments)
            if (random() % 4 == 0) (story.source.*at).reset();
        if (random() % 50 == 0) story.target.restored = 1'000'000'000;  // nonsense of a peer
        const auto downtime = downtime_of(story.source, story.target);
        ASSERT_TRUE(downtime);
        EXPECT_GE(downtime->unexplained_ms(), 0);
        std::int64_t at = downtime->start_ms;
        for (const auto& part : downtime->parts) {
            EXPECT_GE(part.start_ms, at);
            EXPECT_GE(part.ms, 0);
            at = part.start_ms + part.ms;
        }
        EXPECT_LE(at, downtime->start_ms + downtime->ms);
    }
    Story story = draw(random, 0, 20);
    story.target.restored.reset();  // ends one part and begins the next
    const auto downtime = *downtime_of(story.source, story.target);
    EXPECT_EQ(downtime.parts.size(), 8u);
    const auto expected = *story.target.complete - std::max(*story.target.end_heard, *story.source.drained);
    EXPECT_LE(std::abs(downtime.unexplained_ms() - expected), clock_offset(story.source, story.target)->error_ms);
    story.source.resumed_heard.reset();
    EXPECT_FALSE(downtime_of(story.source, story.target));  // nobody knows when it ran again
    EXPECT_FALSE(downtime_of({}, {}));
    // Taken back before the last pages had gone, and after.
    story.source.resumed_here = *story.source.suspended + 700;
    EXPECT_EQ(downtime_of(story.source, {})->parts.size(), 3u);
    story.source.last_pages.reset();
    const auto back = *downtime_of(story.source, {});
    EXPECT_EQ(back.parts.back().name, "taken back");
    EXPECT_EQ(back.parts.back().ms, 700);
    EXPECT_EQ(back.unexplained_ms(), 0);
}

TEST(MoveTimes, ClocksThatDriftApartLeaveWhatIsNear) {
    std::mt19937 random(4);
    Story story = draw(random, 0, 20);
    for (const auto at : {&TargetTimes::end_heard, &TargetTimes::complete, &TargetTimes::committed, &TargetTimes::resumed}) *(story.target.*at) += 5000;
    const auto offset = clock_offset(story.source, story.target);
    ASSERT_TRUE(offset);
    EXPECT_LE(std::abs(offset->ahead_ms - 5000), offset->error_ms);
    *story.target.end_heard -= 20'000;  // heard before it was said, by any clock
    EXPECT_FALSE(clock_offset(story.source, story.target));
}

TEST(MoveTimes, TheTargetsReportGoesThereAndBack) {
    std::mt19937 random(5);
    TargetReport report{{{"disk", 1, 20}, {"memory", 20, 400}}, draw(random, 100, 5).target};
    report.times.connected.reset();
    const auto back = parse_target_report(*parse_json(to_json(report).dump()));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->phases, report.phases);
    EXPECT_EQ(back->times.resumed, report.times.resumed);
    EXPECT_FALSE(back->times.connected);
    for (const char* bad : {"[]", "{}", R"({"phases":{},"times":{}})", R"({"phases":[],"times":{"resumed":1e30}})", R"({"phases":[],"times":{"resumed":18446744073709551615}})",
                            R"({"phases":[{"name":"x","start_ms":5,"end_ms":1}],"times":{}})", R"({"phases":[],"times":{"committed":"now"}})"})
        EXPECT_FALSE(parse_target_report(parse_json(bad).value())) << bad;
    Json many = Json::array();
    for (std::size_t i = 0; i <= kMaxTraceList; ++i) many.push_back({{"name", "x"}, {"start_ms", 0}, {"end_ms", 0}});
    EXPECT_FALSE(parse_target_report({{"phases", many}, {"times", Json::object()}}));
    EXPECT_TRUE(parse_target_report(Json{{"phases", Json::array()}, {"times", Json::array()}}).has_value());  // no times is none
}

stream::PassCount walk(std::uint64_t entries, std::uint64_t raw) {
    stream::PassCount pass{.entries = entries, .bytes = entries * 4096, .wire_bytes = raw * 2000, .pages = {}};
    pass.pages.raw = {raw, raw * 1999};
    pass.pages.zero.pages = entries - raw;
    return pass;
}

TEST(MemoryRounds, RoundsAndWalksMeetByTheirFrames) {
    const std::vector<SaveRound> rounds{{.round = 0, .pages = 1000, .ms = 100, .dirty = 200, .begin_ms = 5000}, {.round = 1, .pages = 200, .ms = 20, .dirty = 30, .begin_ms = 5100},
                                        {.round = 2, .pages = 30, .ms = 3, .dirty = 0, .begin_ms = 5120}};
    const auto joined = join_rounds(rounds, std::vector{walk(1000, 900), walk(200, 100), walk(30, 30), walk(12, 12)}, 4000, true);
    ASSERT_EQ(joined.size(), 4u);
    EXPECT_EQ(joined[1].coded->pages.raw, 100u);
    EXPECT_EQ(joined[1].start_ms, 1100);
    EXPECT_EQ(joined[1].dirty, 30u);
    EXPECT_FALSE(joined[2].dirty);
    EXPECT_TRUE(joined[3].suspended);
    EXPECT_FALSE(joined[3].ms || joined[3].pages);
    EXPECT_EQ(joined[3].round, 3u);
    // Two rounds in one walk; then the last pages in the last round's walk.
    const auto two = join_rounds(rounds, std::vector{walk(1000, 900), walk(230, 100), walk(12, 12)}, 4000, true);
    ASSERT_EQ(two.size(), 3u);
    EXPECT_EQ(two[1].round, 1u);
    EXPECT_EQ(two[1].to_round, 2u);
    EXPECT_EQ(two[1].ms, 23);
    EXPECT_FALSE(two[1].dirty || two[1].suspended);
    const auto rest = join_rounds(rounds, std::vector{walk(1000, 900), walk(200, 100), walk(42, 42)}, 4000, true);
    ASSERT_EQ(rest.size(), 3u);
    EXPECT_TRUE(rest[2].suspended);
    EXPECT_EQ(rest[2].pages, 30u);
    EXPECT_EQ(rest[2].coded->pages.raw, 42u);
    // It broke off in the third round; a stream that was not understood; counts that contradict.
    const auto broken = join_rounds(std::span(rounds).first(2), std::vector{walk(1000, 900), walk(200, 100), walk(7, 7)}, 4000, false);
    ASSERT_EQ(broken.size(), 2u);
    EXPECT_TRUE(broken[1].coded && broken[1].dirty);
    for (const auto& passes : {std::vector{walk(0, 0)}, std::vector{walk(999, 900), walk(200, 100)}, std::vector<stream::PassCount>{}}) {
        const auto none = join_rounds(rounds, passes, 4000, true);
        ASSERT_EQ(none.size(), 3u);
        for (const auto& round : none) EXPECT_FALSE(round.coded);
    }
    // A stream of a save that tells no rounds.
    const auto untold = join_rounds({}, std::vector{walk(10, 10)}, 0, true);
    ASSERT_EQ(untold.size(), 1u);
    EXPECT_TRUE(untold[0].suspended && untold[0].coded);
}

TEST(LiveMeter, RatesWhatIsLeftAndWhenItEnds) {
    LiveMeter meter;
    SaveProgress progress{.round = 0, .bytes = 0, .sending = 10'000};
    auto live = meter.memory(0, progress, 500);
    ASSERT_TRUE(live);
    EXPECT_EQ(*live, (LiveProgress{.round = 0, .pages_left = 10'000, .bytes_left = 40'960'000}));
    progress.bytes = 4096 * 100;
    EXPECT_FALSE(meter.memory(100, progress, 600));  // a moment ago
    progress.bytes = 4096 * 5000;
    live = meter.memory(1000, progress, 1'000'500);
    ASSERT_TRUE(live);
    EXPECT_EQ(live->pages_left, 5000u);
    EXPECT_EQ(round_percent(progress), 50);
    EXPECT_EQ(live->bytes_per_s, 20'480'000u);
    EXPECT_EQ(live->wire_bytes_per_s, 1'000'000u);
    EXPECT_EQ(live->left_ms, 1000);
    EXPECT_TRUE(live->round_only);
    EXPECT_FALSE(live->forecast_ms);
    // The next one is told at once. It sends 5 pages a ms and 2.5 are dirtied: half of each round comes again.
    progress = {.round = 1, .bytes = 4096 * 10'000, .sending = 5000, .ended = {{.round = 0, .pages = 10'000, .ms = 2000, .dirty = 5000}}, .forecast_ms = 321};
    live = meter.memory(2000, progress, 2'000'500);
    ASSERT_TRUE(live);
    EXPECT_EQ(live->round, 1u);
    EXPECT_EQ(live->pages_left, 5000u);
    EXPECT_EQ(round_percent(progress), 0);  // of this round, not of all memory
    EXPECT_FALSE(live->round_only);
    EXPECT_EQ(live->left_ms, 2000);
    EXPECT_EQ(live->forecast_ms, 321);
    progress.ended[0].dirty = 20'000;  // faster than it is sent: it has no end
    live = meter.memory(2300, progress, 2'300'500);
    ASSERT_TRUE(live);
    EXPECT_TRUE(live->round_only);
    progress.bytes += std::uint64_t{1} << 60;  // more than there was to send
    EXPECT_EQ(meter.memory(3000, progress, 3'000'000)->pages_left, 0u);
    EXPECT_EQ(round_percent(progress), 100);
    EXPECT_FALSE(round_percent({.round = 1, .bytes = 4096}));  // a save that does not tell
    meter.begin();
    const auto disk = meter.disk(5000, 0, 0, 1 << 20, 10);
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->bytes_left, 1u << 20);
    EXPECT_FALSE(disk->bytes_per_s || disk->left_ms);
    EXPECT_EQ(meter.disk(5500, 0, 1 << 19, 1 << 20, 10)->left_ms, 500);
    EXPECT_FALSE(meter.disk(9000, 0, 1 << 19, 1 << 20, 10)->pages_left);
}

}  // namespace
}  // namespace blanket::migrate
