// SPDX-License-Identifier: GPL-2.0-or-later
// When a disk's last round comes, in virtual time, for a link of 10 MB/s.
#include "toolstack/migrate/disk_pace.hpp"

#include <gtest/gtest.h>

namespace blanket::migrate {
namespace {

constexpr std::uint64_t kMb = 1'000'000;

// A VM that writes at a rate, to blocks of its own, over a link of another.
struct Disk {
    DiskPace pace;
    std::uint64_t writes, link, bytes;  // per s; of the round to come
    std::int64_t now = 5'000;
    int rounds = 0;

    Disk(std::int64_t longest_ms, std::uint64_t writes_per_s, std::uint64_t link_per_s, std::uint64_t first) : pace(longest_ms), writes(writes_per_s), link(link_per_s), bytes(first) {}
    void round() {
        const std::int64_t at = now, ms = static_cast<std::int64_t>(bytes * 1000 / link) + 200;
        now += ms;
        pace.round(at, bytes, ms);
        bytes = writes * static_cast<std::uint64_t>(ms) / 1000;
        ++rounds;
    }
    DiskPace::Next run() {
        for (;;) {
            round();
            if (const auto next = pace.next(now); next != DiskPace::Next::kRound || rounds == 200) return next;
        }
    }
};

TEST(DiskPace, AnIdleDiskHasFewRounds) {
    Disk disk(10'000, 0, 10 * kMb, 500 * kMb);
    EXPECT_EQ(disk.run(), DiskPace::Next::kLast);
    EXPECT_EQ(disk.rounds, 2);
    EXPECT_EQ(disk.pace.wait_ms(disk.now), 0);
    Disk small(10'000, 0, 10 * kMb, 1 * kMb);
    EXPECT_EQ(small.run(), DiskPace::Next::kLast);
    EXPECT_EQ(small.rounds, 1);
    Disk empty(1'000, 0, 10 * kMb, 0);
    EXPECT_EQ(empty.run(), DiskPace::Next::kLast);
}

TEST(DiskPace, ARestThatMayBeWaitedForIsTakenAfterSixRounds) {
    Disk disk(10'000, 8 * kMb, 10 * kMb, 100 * kMb);
    EXPECT_EQ(disk.run(), DiskPace::Next::kLast);
    EXPECT_GE(disk.rounds, 6);
    EXPECT_LE(disk.pace.wait_ms(disk.now), 10'000);
    EXPECT_NEAR(static_cast<double>(disk.pace.sent_per_s()), 10e6, 1e6);
    EXPECT_NEAR(static_cast<double>(disk.pace.written_per_s()), 8e6, 1e5);
}

TEST(DiskPace, WhatShrinksGoesOn) {
    Disk disk(1'000, 7 * kMb, 10 * kMb, 4'000 * kMb);  // after six rounds 470 MB are left
    EXPECT_EQ(disk.run(), DiskPace::Next::kLast);
    EXPECT_GT(disk.rounds, 8);
    EXPECT_LE(disk.pace.wait_ms(disk.now), 1'000);
}

TEST(DiskPace, WhatDoesNotShrinkIsGivenUp) {
    Disk disk(10'000, 12 * kMb, 10 * kMb, 200 * kMb);
    EXPECT_EQ(disk.run(), DiskPace::Next::kGiveUp);
    EXPECT_EQ(disk.rounds, 6);
    EXPECT_GT(disk.pace.wait_ms(disk.now), 10'000);
    // A small rest is none over a slow link.
    Disk slow(10'000, 100'000, 100'000, 3 * kMb);
    EXPECT_EQ(slow.run(), DiskPace::Next::kGiveUp);
}

TEST(DiskPace, WhatIsWrittenWhileTheMirrorConnectsIsShippedInRounds) {
    Disk disk(1'000, 5 * kMb, 10 * kMb, 100 * kMb);
    EXPECT_EQ(disk.run(), DiskPace::Next::kLast);
    for (int more = 0; more < 6; ++more) disk.round();  // they become no less: 2 MB each
    EXPECT_EQ(disk.pace.next(disk.now), DiskPace::Next::kLast);
    disk.now += 10'000;
    disk.bytes += 50 * kMb;
    disk.pace.interrupted();
    EXPECT_EQ(disk.pace.next(disk.now), DiskPace::Next::kRound) << "5 s of writes would wait";
    EXPECT_EQ(disk.run(), DiskPace::Next::kLast);
    EXPECT_LE(disk.pace.wait_ms(disk.now), 1'000);
    // Nothing is shipped in vain where the rest may be waited for, and what becomes no less ends all the same.
    const int before = disk.rounds;
    disk.now += 100;
    disk.pace.interrupted();
    EXPECT_EQ(disk.pace.next(disk.now), DiskPace::Next::kLast);
    disk.writes = 12 * kMb;
    disk.now += 10'000;
    disk.bytes += 120 * kMb;
    EXPECT_EQ(disk.run(), DiskPace::Next::kGiveUp);
    EXPECT_LE(disk.rounds, before + 3);
}

TEST(DiskPace, ACutWithinARoundIsNotTheLinksRate) {
    DiskPace pace(10'000);
    pace.round(0, 100 * kMb, 10'000);
    pace.round(10'000, 1 * kMb, 60'000);  // nothing came through for a minute
    EXPECT_EQ(pace.sent_per_s(), 10 * kMb);
    EXPECT_EQ(pace.next(70'000), DiskPace::Next::kLast);
    EXPECT_FALSE(pace.too_long(pace.time_for(100 * kMb)));
    EXPECT_TRUE(pace.too_long(pace.time_for(101 * kMb)));
}

}  // namespace
}  // namespace blanket::migrate
