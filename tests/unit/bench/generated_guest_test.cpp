// SPDX-License-Identifier: GPL-2.0-or-later
// The guests of bench-migrate: what they write follows from load, seed and time alone, and what they wrote to is dirty.
#include <gtest/gtest.h>

#include "tests/unit/bench/small_stage.hpp"

namespace blanket::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000;

TEST(GeneratedGuest, TheSameSeedIsTheSameGuestHoweverItsTimeIsCut) {
    for (const Load load : kLoads) {
        Guest whole(load, small_palette(), 7, kSmall), pieces(load, small_palette(), 7, kSmall), other(load, small_palette(), 8, kSmall);
        EXPECT_EQ(whole.memory(), pieces.memory()) << name_of(load);
        EXPECT_FALSE(whole.memory() == other.memory()) << name_of(load);
        whole.run(kSecond);
        for (std::int64_t left = kSecond; left > 0; left -= 8'000) pieces.run(std::min<std::int64_t>(left, 8'000));
        EXPECT_EQ(whole.memory(), pieces.memory()) << name_of(load);
    }
}

TEST(GeneratedGuest, ACopyHasTheSameFutureAndLeavesTheFirstAlone) {
    for (const Load load : kLoads) {
        Guest first(load, small_palette(), 7, kSmall);
        first.run(kSecond);
        Guest copy(first);
        copy.run(kSecond);
        EXPECT_FALSE(first.memory() == copy.memory()) << name_of(load);
        first.run(kSecond);
        EXPECT_EQ(first.memory(), copy.memory()) << name_of(load);
    }
}

TEST(GeneratedGuest, WhatChangedIsDirtyAndNothingElseIsTaken) {
    for (const Load load : kLoads) {
        Guest guest(load, small_palette(), 7, kSmall);
        (void)guest.memory().take_dirty();
        const Guest before(guest);
        guest.run(kSecond);
        const std::size_t count = guest.memory().dirty();
        const auto dirty = guest.memory().take_dirty();
        EXPECT_EQ(dirty.size(), count) << name_of(load);
        EXPECT_GT(count, 0u) << name_of(load);
        EXPECT_TRUE(std::ranges::is_sorted(dirty)) << name_of(load);
        for (Frame frame = 0; frame < kSmall; ++frame)
            if (guest.memory().page(frame) != before.memory().page(frame)) EXPECT_TRUE(std::ranges::binary_search(dirty, frame)) << name_of(load) << " frame " << frame;
        EXPECT_TRUE(guest.memory().take_dirty().empty());
    }
}

TEST(GeneratedGuest, HasPagesOfItsDiskAndPagesOfZeros) {
    Guest guest(Load::kIdle, small_palette(), 7, kSmall);
    std::size_t zero = 0, blocks = 0;
    auto index = small_image().index().value();
    for (Frame frame = 0; frame < kSmall; ++frame) {
        if (is_zero(guest.memory().page(frame))) ++zero;
        else if (index.find(guest.memory().page(frame))) ++blocks;
    }
    EXPECT_GT(zero, kSmall / 4);
    EXPECT_GT(blocks, kSmall / 5);
}

TEST(GeneratedGuest, TheLoadsDifferInHowMuchTheyWrite) {
    const auto dirty_in_a_second = [](Load load) {
        Guest guest(load, small_palette(), 7, kSmall);
        (void)guest.memory().take_dirty();
        guest.run(kSecond);
        return guest.memory().dirty();
    };
    const std::size_t idle = dirty_in_a_second(Load::kIdle);
    for (const Load load : kLoads)
        if (load != Load::kIdle) EXPECT_GT(dirty_in_a_second(load), idle) << name_of(load);
    EXPECT_GE(dirty_in_a_second(Load::kKvUniform), dirty_in_a_second(Load::kKvZipf));
}

TEST(GeneratedGuest, FilesOfThisMachineMakeACorpus) {
    const std::vector<std::string> folders{BLANKET_SOURCE_DIR "/toolstack", BLANKET_SOURCE_DIR "/tests"};
    const auto corpus = corpus_of_files(1, folders, 1u << 20);
    ASSERT_TRUE(corpus.has_value()) << corpus.error().what;
    EXPECT_EQ(corpus->bytes.size() % kPageBytes, 0u);
    std::size_t next = 0;
    for (const auto& file : corpus->files) {
        EXPECT_EQ(file.first, next);
        next += file.blocks;
    }
    EXPECT_EQ(next * kPageBytes, corpus->bytes.size());
    EXPECT_EQ(corpus_of_files(1, folders, 1u << 20)->bytes, corpus->bytes);
    EXPECT_NE(corpus_of_files(2, folders, 1u << 20)->bytes, corpus->bytes);
    const std::vector<std::string> nowhere{"/nowhere"};
    EXPECT_EQ(corpus_of_files(1, nowhere, 1u << 20).error().kind, Kind::kNotFound);
}

}  // namespace
}  // namespace blanket::bench
