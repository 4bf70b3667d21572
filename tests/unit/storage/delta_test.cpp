// SPDX-License-Identifier: GPL-2.0-or-later
// thin_delta's and thin_dump's XML into extents: what the tools really print, and what they never should.
#include <gtest/gtest.h>

#include <random>

#include "toolstack/storage/delta.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

constexpr std::string_view kHead = R"(<superblock uuid="" time="1" transaction="0" data_block_size="128" nr_data_blocks="0">)";
constexpr std::uint64_t kSize = 64 * kBlock;

std::string delta(std::string_view body) { return std::format("{}\n  <diff left=\"1\" right=\"2\">\n{}  </diff>\n</superblock>\n", kHead, body); }

TEST(ThinDelta, EverySortOfDifference) {
    const auto extents = parse_thin_delta(delta("<same begin=\"0\" length=\"10\"/>\n<different begin=\"10\" length=\"2\"/>\n<right_only begin=\"12\" length=\"1\"/>\n"
                                                "<left_only begin=\"13\" length=\"4\"/>\n<right_only begin=\"20\" length=\"20\"/>\n"),
                                          kSize);
    ASSERT_TRUE(extents) << extents.error().what;
    EXPECT_EQ(*extents, (std::vector<Extent>{{10 * kBlock, 3 * kBlock, false}, {13 * kBlock, 4 * kBlock, true}, {20 * kBlock, 16 * kBlock, false}, {36 * kBlock, 4 * kBlock, false}}));
    EXPECT_EQ(data_bytes(*extents), 23 * kBlock);
}

TEST(ThinDelta, NothingChanged) {
    const auto extents = parse_thin_delta(delta(""), kSize);
    ASSERT_TRUE(extents);
    EXPECT_TRUE(extents->empty());
}

TEST(ThinDelta, HostileTexts) {
    for (const std::string& text :
         {std::string(), std::string("<"), std::string("<superblock>"), delta("<different begin=\"63\" length=\"2\"/>"), delta("<different begin=\"64\" length=\"1\"/>"),
          delta("<different begin=\"1\" length=\"0\"/>"), delta("<different begin=\"1\" length=\"18446744073709551615\"/>"), delta("<different begin=\"18446744073709551615\" length=\"2\"/>"),
          delta("<different begin=\"-1\" length=\"2\"/>"), delta("<different length=\"2\"/>"), delta("<different begin=\"1\"/>"), delta("<different begin=1 length=2/>"),
          delta("<evil begin=\"1\" length=\"1\"/>"), delta("<different begin=\"1\" length=\"2\"/><right_only begin=\"2\" length=\"1\"/>"), delta("words"),
          delta("").substr(0, delta("").size() - 5), delta("") + delta(""), std::string("<diff></diff>"), delta("<different " + std::string(1000, ' ') + "begin=\"1\" length=\"1\"/>"),
          std::string(R"(<superblock data_block_size="256"></superblock>)")})
        EXPECT_FALSE(parse_thin_delta(text, kSize)) << text.substr(0, 200);
}

TEST(ThinDelta, EveryTruncationAndManyFlipsAreSurvived) {
    const auto good = delta("<different begin=\"10\" length=\"2\"/>\n<left_only begin=\"13\" length=\"4\"/>\n");
    for (std::size_t length = 0; length + 1 < good.size(); ++length) EXPECT_FALSE(parse_thin_delta(good.substr(0, length), kSize)) << length;
    std::mt19937 random(1);
    for (int i = 0; i < 20000; ++i) {
        auto text = good;
        for (int flips = 0; flips < 3; ++flips) text[random() % text.size()] = static_cast<char>(random());
        const auto extents = parse_thin_delta(text, kSize);
        if (!extents) continue;
        for (const auto& extent : *extents) {
            EXPECT_LE(extent.offset + extent.length, kSize);
            EXPECT_LE(extent.length, kMaxExtent);
        }
    }
}

TEST(ThinDump, Mappings) {
    const std::string text = std::format("{}\n<device dev_id=\"7\" mapped_blocks=\"3\" transaction=\"0\" creation_time=\"0\" snap_time=\"1\">\n"
                                         "<range_mapping origin_begin=\"1\" data_begin=\"500\" length=\"2\" time=\"0\"/>\n<single_mapping origin_block=\"9\" data_block=\"3\" time=\"1\"/>\n"
                                         "</device>\n</superblock>\n", kHead);
    const auto extents = parse_thin_dump(text, kSize);
    ASSERT_TRUE(extents) << extents.error().what;
    EXPECT_EQ(*extents, (std::vector<Extent>{{kBlock, 2 * kBlock, false}, {9 * kBlock, kBlock, false}}));
    EXPECT_FALSE(parse_thin_dump(text, 9 * kBlock));
}

TEST(MergeAndCut, OrderAndBounds) {
    const auto extents = merge_and_cut({{5 * kBlock, kBlock, false}, {0, 3 * kMaxExtent / 4 / kBlock * kBlock, true}, {4 * kBlock + 3 * kMaxExtent, kBlock, false}});
    ASSERT_FALSE(extents);  // 5 lies within the first
    const auto cut = merge_and_cut({{kMaxExtent, 2 * kMaxExtent + kBlock, false}, {0, kMaxExtent, false}});
    ASSERT_TRUE(cut);
    ASSERT_EQ(cut->size(), 4u);
    EXPECT_EQ(cut->back(), (Extent{3 * kMaxExtent, kBlock, false}));
}

}  // namespace
}  // namespace blanket::storage
