// SPDX-License-Identifier: GPL-2.0-or-later
// The versions that both ends hold: never more than the bound, alike after any sequence, and the hot ones among them.
#include <gtest/gtest.h>

#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/stream/page_cache.hpp"

namespace blanket::stream {
namespace {

fakes::Page filled(std::uint64_t value) {
    fakes::Page page;
    for (std::size_t at = 0; at < page.size(); at += 8) std::memcpy(page.data() + at, &value, 8);
    return page;
}

TEST(PageCache, IsAlikeAtBothEndsAndWithinItsBound) {
    constexpr std::size_t kCapacity = 300;
    PageCache here(kCapacity), there(kCapacity);
    std::mt19937_64 random(11);
    std::size_t most = 0;
    for (std::uint64_t send = 0; send < 100'000; ++send) {
        // Sweeps of rising frames with leaps back, and now and then a frame from anywhere in 52 bits.
        const std::uint64_t frame = random() % 500 == 0 ? random() >> 12 : (send * 3 + random() % 5) % 2000;
        switch (random() % 5) {
            case 0:
                here.sent_known(frame);
                there.sent_known(frame);
                EXPECT_EQ(here.held(frame), nullptr);
                break;
            case 1:
                ASSERT_EQ(here.held(frame) == nullptr, there.held(frame) == nullptr);
                if (here.held(frame) == nullptr) break;
                EXPECT_EQ(std::memcmp(here.held(frame), there.held(frame), kPage), 0);
                here.sent_same(frame);
                there.sent_same(frame);
                break;
            default: {
                const fakes::Page page = filled(random());
                here.sent(frame, page);
                there.sent(frame, page);
                if (const std::byte* held = here.held(frame)) EXPECT_EQ(std::memcmp(held, page.data(), kPage), 0);
            }
        }
        most = std::max(most, here.size());
        ASSERT_EQ(here.size(), there.size());
        if (send % 997 == 0) ASSERT_EQ(here.state(), there.state()) << send;
    }
    EXPECT_EQ(here.state(), there.state());
    EXPECT_EQ(most, kCapacity);
    there.sent_known(1'999);
    there.sent(1'999, filled(1));
    EXPECT_NE(here.state(), there.state());
}

TEST(PageCache, RoundZeroKeepsItsLastPages) {
    PageCache cache(100);
    for (std::uint64_t frame = 0; frame < 1000; ++frame) cache.sent(frame, filled(frame));
    EXPECT_EQ(cache.size(), 100u);
    EXPECT_EQ(cache.held(899), nullptr);
    EXPECT_NE(cache.held(900), nullptr);
}

// A page that comes again takes the place of one that came once, and keeps it while it is hot, even where more are hot than there is room for.
TEST(PageCache, PagesThatComeAgainStay) {
    PageCache cache(100);
    for (std::uint64_t frame = 0; frame < 1000; ++frame) cache.sent(frame, filled(frame));
    for (std::uint64_t frame = 0; frame < 150; ++frame) cache.sent(frame, filled(frame));
    for (std::uint64_t frame = 0; frame < 100; ++frame) EXPECT_NE(cache.held(frame), nullptr) << frame;
    EXPECT_EQ(cache.held(120), nullptr);
    for (int round = 2; round < 6; ++round) {
        std::size_t hits = 0;
        for (std::uint64_t frame = 0; frame < 150; ++frame) {
            hits += cache.held(frame) != nullptr ? 1 : 0;
            cache.sent(frame, filled(frame));
        }
        EXPECT_EQ(hits, 100u) << round;
    }
    // What is hot changes: the old ones go after two rounds without them.
    for (int round = 0; round < 4; ++round)
        for (std::uint64_t frame = 500; frame < 560; ++frame) cache.sent(frame, filled(frame));
    for (std::uint64_t frame = 500; frame < 560; ++frame) EXPECT_NE(cache.held(frame), nullptr) << frame;
    EXPECT_EQ(cache.size(), 100u);
}

TEST(PageCache, WithoutRoomItHoldsNothing) {
    PageCache cache(0);
    cache.sent(1, filled(1));
    cache.sent_same(1);
    cache.sent_known(1);
    EXPECT_EQ(cache.held(1), nullptr);
    EXPECT_EQ(cache.size(), 0u);
}

}  // namespace
}  // namespace blanket::stream
