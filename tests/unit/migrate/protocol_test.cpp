// SPDX-License-Identifier: GPL-2.0-or-later
// Coding and parsing of the migration's messages: round trips, and refusal of everything that is not one.
#include <gtest/gtest.h>

#include <random>

#include "toolstack/migrate/protocol.hpp"

namespace blanket::migrate {
namespace {

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> data(size);
    for (auto& byte : data) byte = static_cast<std::byte>(random());
    return data;
}

TEST(Coding, RoundTripsZeroCompressibleAndRandom) {
    std::vector<std::byte> text(100'000, std::byte{'a'});
    for (const auto& plain : {std::vector<std::byte>(65536), text, pattern(65536, 1), pattern(1, 2)}) {
        const Coded coded = encode(plain);
        EXPECT_LE(coded.data.size(), plain.size());
        const auto back = decode(coded.coding, coded.data, plain.size());
        ASSERT_TRUE(back);
        EXPECT_EQ(*back, plain);
    }
    EXPECT_EQ(encode(std::vector<std::byte>(4096)).coding, Coding::kZero);
    EXPECT_EQ(encode(text).coding, Coding::kZstd);
    EXPECT_EQ(encode(pattern(65536, 3)).coding, Coding::kRaw);
}

TEST(Coding, RefusesWhatDoesNotExpandExactly) {
    const Coded coded = encode(std::vector<std::byte>(1000, std::byte{'x'}));
    ASSERT_EQ(coded.coding, Coding::kZstd);
    EXPECT_FALSE(decode(Coding::kZstd, coded.data, 999));
    EXPECT_FALSE(decode(Coding::kZstd, coded.data, 1001));
    EXPECT_FALSE(decode(Coding::kRaw, coded.data, 1000));
    EXPECT_FALSE(decode(Coding::kZero, coded.data, 1000));
    EXPECT_FALSE(decode(Coding::kRaw, {}, kMaxBlock + 1));
    for (std::size_t cut = 0; cut < coded.data.size(); ++cut)
        EXPECT_FALSE(decode(Coding::kZstd, std::span(coded.data).first(cut), 1000)) << cut;
}

TEST(Block, RoundTripsAndRefusesEveryTruncation) {
    const Block block{3, 1u << 20, 4096, Coding::kRaw, pattern(4096, 4)};
    const auto packed = pack_block(block);
    const auto parsed = parse_block(packed);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->offset, block.offset);
    EXPECT_EQ(parsed->data, block.data);
    for (std::size_t cut = 0; cut < packed.size(); ++cut) {
        const auto part = parse_block(std::span(packed).first(cut));
        if (part) EXPECT_FALSE(decode(part->coding, part->data, part->length)) << cut;
    }
}

TEST(Block, RandomBytesNeverExpandBeyondTheLimit) {
    std::mt19937 random(5);
    for (int i = 0; i < 20'000; ++i) {
        const auto noise = pattern(random() % 64, static_cast<unsigned>(random()));
        if (const auto block = parse_block(noise)) {
            const auto plain = decode(block->coding, block->data, block->length);
            if (plain) EXPECT_LE(plain->size(), kMaxBlock);
        }
    }
}

TEST(StreamDigest, DependsOnEveryByteAndNotOnTheCuts) {
    const auto data = pattern(10'001, 6);
    StreamDigest whole;
    whole.add(data);
    StreamDigest parts;
    for (std::size_t at = 0, step = 1; at < data.size(); at += step, step = step % 13 + 1) parts.add(std::span(data).subspan(at, std::min(step, data.size() - at)));
    EXPECT_EQ(whole.value(), parts.value());
    for (const std::size_t at : {std::size_t{0}, data.size() / 2, data.size() - 1}) {
        auto other = data;
        other[at] ^= std::byte{1};
        StreamDigest changed;
        changed.add(other);
        EXPECT_NE(changed.value(), whole.value());
    }
    auto shorter = data;
    shorter.pop_back();
    StreamDigest truncated;
    truncated.add(shorter);
    EXPECT_NE(truncated.value(), whole.value());
}

}  // namespace
}  // namespace blanket::migrate
