// SPDX-License-Identifier: GPL-2.0-or-later
// The loop of bench-migrate in virtual time: closed, repeatable, and page-exact.
#include <gtest/gtest.h>

#include "tests/bench/migrate/peers.hpp"
#include "tests/unit/bench/small_stage.hpp"

namespace blanket::bench {
namespace {

Link slow(double bits_per_s) { return {.name = "slow", .bits_per_s = bits_per_s, .rtt_s = 0.05, .loss = 0}; }

Moved moved_by(const char* method, Load load, const Link& link, std::size_t least_stopped = 0) {
    const Settings settings = small_settings();
    const Stage stage{.settings = settings, .palette = small_palette(), .image = small_image()};
    Guest guest = make_guest(stage, load);
    const auto row = std::string_view(method) == kOurs ? run_ours(guest, stage, link, ends_of(stage), least_stopped) : run_peer(guest, stage, link, method, least_stopped);
    EXPECT_TRUE(row.has_value()) << (row ? "" : row.error().what);
    return row ? row->moved : Moved{};
}

TEST(VirtualWire, ALinkIsBoundByItsRateOrByWindows) {
    const Link fast{.name = "", .bits_per_s = 1e9, .rtt_s = 0.150, .loss = 0.001};
    const double one = goodput(fast, {.count = 1, .window = 3e6}), eight = goodput(fast, {.count = 8, .window = 3e6});
    EXPECT_DOUBLE_EQ(one, 3e6 / 0.150);
    EXPECT_GT(eight, one);
    EXPECT_LT(eight, 1e9 / 8);
    EXPECT_GT(startup_seconds(fast, {}), 0);
}

TEST(VirtualWire, TheSenderWaitsOnlyForWhatLiesUnsent) {
    const Link link = slow(10e6);
    VirtualWire wire(link, {});
    const double rate = goodput(link, {}), startup = startup_seconds(link, {});
    wire.spend(startup);
    wire.send(100'000);
    EXPECT_DOUBLE_EQ(wire.now(), startup);
    wire.send(2'000'000);
    EXPECT_NEAR(wire.now(), startup + (2'100'000 - (512 << 10)) / rate, 1e-6);
    EXPECT_NEAR(wire.arrived(), startup + 2'100'000 / rate + 0.025, 1e-6);
    EXPECT_EQ(wire.bytes(), 2'100'000u);
    EXPECT_DOUBLE_EQ(wire.spent(), startup);
}

TEST(Replay, OursIsPageExactAndTheSameEachTime) {
    for (const Load load : kLoads) {
        const Moved first = moved_by(kOurs, load, kWanLinks[0]), again = moved_by(kOurs, load, kWanLinks[0]);
        EXPECT_EQ(first.exact, std::optional(true)) << name_of(load);
        EXPECT_EQ(first.wire_bytes, again.wire_bytes) << name_of(load);
        EXPECT_EQ(first.rounds, again.rounds) << name_of(load);
        EXPECT_DOUBLE_EQ(first.seconds, again.seconds) << name_of(load);
        EXPECT_GT(first.downtime_s, 0) << name_of(load);
        EXPECT_LT(first.downtime_s, first.seconds) << name_of(load);
        EXPECT_EQ(first.rounds.front(), kSmall) << name_of(load);
        EXPECT_FALSE(first.why.empty()) << name_of(load);
    }
}

TEST(Replay, OursIsPageExactWithEachTechniqueLeftOut) {
    const Settings settings = small_settings();
    const Stage stage{.settings = settings, .palette = small_palette(), .image = small_image()};
    for (int technique = 0; technique < 3; ++technique) {
        BlanketEnds ends = ends_of(stage);
        if (technique == 0) ends.features.versions = false;
        if (technique == 1) ends.features.references = false;
        if (technique == 2) ends.features.compression = stream::CodingChoice::Rule::kNever;
        Guest guest = make_guest(stage, Load::kWebDb);
        const auto row = run_ours(guest, stage, kWanLinks[0], ends);
        ASSERT_TRUE(row.has_value()) << row.error().what;
        EXPECT_EQ(row->moved.exact, std::optional(true));
        if (technique == 0) EXPECT_EQ(row->classes->delta.pages, 0u);
        if (technique == 1) EXPECT_EQ(row->classes->reference.pages, 0u);
    }
}

// But for a quarter: the processor time of the real codec counts, and that depends on what else the machine does.
TEST(Replay, ASlowLinkMeetsNoFewerDirtyPages) {
    for (const Load load : {Load::kIdle, Load::kWebDb, Load::kKvUniform})
        for (const char* const method : {kOurs, kXl, kZstdPipe, kXbzrle, kMultifd}) {
            const Moved fast = moved_by(method, load, slow(1e9)), late = moved_by(method, load, slow(20e6));
            ASSERT_GE(fast.rounds.size(), 2u);
            ASSERT_GE(late.rounds.size(), 2u);
            EXPECT_GE(4 * late.rounds[1], 3 * fast.rounds[1]) << name_of(load) << " " << method;
        }
}

TEST(Replay, XlSendsAllPagesWholeAndEndsAfterFiveMoreRounds) {
    const Moved moved = moved_by(kXl, Load::kThrasher, kWanLinks[0]);
    EXPECT_EQ(moved.rounds.size(), 7u);  // the first, five more, and what was left
    EXPECT_GE(moved.wire_bytes, moved.pages * kPageBytes);
    EXPECT_LE(moved.wire_bytes, moved.pages * (kPageBytes + 16));
    const Moved by_ssh = moved_by(kXlSsh, Load::kThrasher, kWanLinks[0]);
    EXPECT_GT(by_ssh.wire_bytes / by_ssh.pages, kPageBytes);
    EXPECT_GT(by_ssh.processor_s, 0);
}

TEST(Replay, QemusRuleIsCutOffWhereItDoesNotConverge) {
    const Moved moved = moved_by(kXbzrle, Load::kThrasher, slow(10e6));
    EXPECT_FALSE(moved.settled);
    EXPECT_EQ(moved.rounds.size(), 31u);
    EXPECT_TRUE(moved_by(kXbzrle, Load::kIdle, slow(100e6)).settled);
}

TEST(Replay, AStopCanBeMadeToHaveSoManyPages) {
    for (const char* const method : {kOurs, kXl}) EXPECT_GE(moved_by(method, Load::kWebDb, kWanLinks[1], 300).rounds.back(), 300u);
}

TEST(Xbzrle, TellsRunsOfEqualAndOtherBytes) {
    Page before{}, now{};
    EXPECT_EQ(xbzrle_size(before, now), std::optional<std::size_t>(0));
    now[5] = std::byte{1};
    EXPECT_EQ(xbzrle_size(before, now), std::optional<std::size_t>(1 + 1 + 1));
    now[4000] = now[4001] = std::byte{1};
    EXPECT_EQ(xbzrle_size(before, now), std::optional<std::size_t>(3 + 2 + 1 + 2));
    now.fill(std::byte{7});
    EXPECT_FALSE(xbzrle_size(before, now).has_value());
}

}  // namespace
}  // namespace blanket::bench
