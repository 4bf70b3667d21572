// SPDX-License-Identifier: GPL-2.0-or-later
// Indexes of base images: they find every block, survive on disk, are built anew when they are damaged, and never make a wrong page.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/stream/pair.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/stream/quick_hash.hpp"

namespace blanket::stream {
namespace {

Result<ImageIndex> build(ImageShelf& shelf, const std::string& sha256, const std::function<bool()>& stop = [] { return false; }) {
    return ImageIndex::build(shelf.site, sha256, shelf.site.image_extents(sha256).value(), stop);
}

std::uint64_t hash_of(const std::string& image, std::size_t block) { return quick_hash(as_bytes(image).subspan(block * kPage, kPage)); }

TEST(ImageIndex, FindsEveryBlockThatIsNotZero) {
    ImageShelf shelf;
    for (const std::size_t blocks : {std::size_t{0}, std::size_t{1}, std::size_t{33}, std::size_t{3000}}) {
        SCOPED_TRACE(blocks);
        std::string image = fakes::seeded_image(blocks, blocks);
        image += std::string(512, 'x');  // not a whole block
        const std::string sha256 = shelf.add(image);
        const auto index = build(shelf, sha256);
        ASSERT_TRUE(index) << index.error().what;
        std::size_t found = 0;
        for (std::size_t block = 0; block < blocks; ++block) {
            const auto at = index->find(hash_of(image, block));
            const bool zero = is_zero(as_bytes(image).subspan(block * kPage, kPage));
            EXPECT_EQ(at.has_value(), !zero) << block;
            if (at) EXPECT_EQ(*at, block);
            found += zero ? 0 : 1;
        }
        EXPECT_EQ(index->size(), found);
        EXPECT_FALSE(index->find(12345));
        EXPECT_FALSE(index->find(~std::uint64_t{0}));
    }
}

TEST(ImageIndex, OfEqualBlocksItKnowsTheFirst) {
    ImageShelf shelf;
    std::string image = fakes::seeded_image(5, 20);
    image.replace(9 * kPage, kPage, image.substr(4 * kPage, kPage));
    const auto index = build(shelf, shelf.add(image));
    ASSERT_TRUE(index);
    EXPECT_EQ(index->size(), 19u);
    EXPECT_EQ(index->find(hash_of(image, 9)), 4u);
}

TEST(ImageIndex, GivesUpWhenAskedAndFailsWithoutTheImage) {
    ImageShelf shelf;
    const std::string sha256 = shelf.add(fakes::seeded_image(1, 600));
    const auto stopped = build(shelf, sha256, [] { return true; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, Kind::kCancelled);
    EXPECT_FALSE(build(shelf, std::string(64, '0')));
}

TEST(ImageIndex, IsReadBackOnlyAsItWasWritten) {
    ImageShelf shelf;
    ASSERT_TRUE(make_dirs(shelf.folder));
    const std::string image = fakes::seeded_image(2, 50), sha256 = shelf.add(image), path = shelf.folder + "/one";
    ASSERT_TRUE(build(shelf, sha256)->save(path));
    const auto back = ImageIndex::load(path, sha256);
    ASSERT_TRUE(back) << back.error().what;
    EXPECT_EQ(back->find(hash_of(image, 7)), 7u);
    EXPECT_EQ(ImageIndex::load(path + "-none", sha256).error().kind, Kind::kNotFound);
    EXPECT_EQ(ImageIndex::load(path, std::string(64, 'a')).error().kind, Kind::kInvalid);
    const std::string good = read_file(path).value();
    for (std::size_t at = 0; at < good.size(); ++at) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 4);
        ASSERT_TRUE(write_file(path, bad));
        const auto loaded = ImageIndex::load(path, sha256);
        ASSERT_FALSE(loaded) << at;
        EXPECT_EQ(loaded.error().kind, Kind::kInvalid);
        if (at % 16 != 0) continue;
        ASSERT_TRUE(write_file(path, good.substr(0, at)));
        EXPECT_FALSE(ImageIndex::load(path, sha256)) << "cut at " << at;
    }
    ASSERT_TRUE(write_file(path, good + "x"));
    EXPECT_FALSE(ImageIndex::load(path, sha256));
}

TEST(ImageIndexes, BuildInTheBackgroundKeepAndRebuildWhatIsDamaged) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(2, 300), sha256 = shelf.add(image), path = shelf.folder + "/" + sha256;
    {
        ImageIndexes indexes(shelf.site, shelf.folder);
        const auto one = indexes.want(sha256), two = indexes.want(sha256);
        EXPECT_EQ(one, two);
        indexes.wait();
        ASSERT_NE(one->ready(), nullptr);
        EXPECT_EQ(one->ready()->find(hash_of(image, 100)), 100u);
    }
    const std::string kept = read_file(path).value();
    {
        shelf.site.fail_at.insert("open-image");  // from the file alone
        ImageIndexes indexes(shelf.site, shelf.folder);
        const auto one = indexes.want(sha256);
        indexes.wait();
        EXPECT_NE(one->ready(), nullptr);
        shelf.site.fail_at.clear();
    }
    ASSERT_TRUE(write_file(path, kept.substr(0, kept.size() - 100)));
    {
        ImageIndexes indexes(shelf.site, shelf.folder);
        const auto one = indexes.want(sha256);
        indexes.wait();
        ASSERT_NE(one->ready(), nullptr);
        EXPECT_EQ(one->ready()->find(hash_of(image, 100)), 100u);
    }
    EXPECT_EQ(read_file(path).value(), kept);
}

TEST(ImageIndexes, WhatCannotBeMadeIsNeverReady) {
    ImageShelf shelf;
    for (const std::string& sha256 : {std::string("../../etc/passwd"), std::string(), std::string(64, '0')}) {
        const auto none = shelf.indexes.want(sha256);
        shelf.indexes.wait();
        EXPECT_EQ(none->ready(), nullptr) << sha256;
    }
    EXPECT_FALSE(std::filesystem::exists(shelf.folder));
    std::vector<std::string> images;
    for (std::uint64_t seed = 0; seed < 5; ++seed) images.push_back(shelf.add(fakes::seeded_image(seed, 256)));
    for (int i = 0; i < 20; ++i) {  // ends at once, with work in its queue
        ImageIndexes indexes(shelf.site, shelf.folder);
        for (const auto& image : images) (void)indexes.want(image);
    }
}

// An index of other content proposes the wrong blocks; their bytes are compared, so no page is wrong. An image of other content at the target is what SHA-256
// excludes; should it be there all the same, the page differs and the stream's digest says so, and where the block is missing the batch is refused.
TEST(ImageIndexes, AWrongIndexCostsBytesAndAWrongImageIsFound) {
    ImageShelf east, west;
    const std::string image = fakes::seeded_image(2, 100), other = fakes::seeded_image(3, 100);
    const std::string sha256 = east.add(image), other_sha256 = east.add(other);
    fakes::SeededGuest guest(4, 640, image);
    const auto stream = guest.save(1).bytes;
    const auto move = [&](const std::string& index_of, const std::string& target_content) -> Result<std::pair<std::uint64_t, std::vector<std::byte>>> {
        std::vector<KnownImage> known;
        known.push_back({BaseImage::open(east.site, sha256).value(), east.known(index_of).index});
        const auto encoder = Encoder::create(2048, std::move(known)).value();
        west.site.image_content[sha256] = target_content;
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(west.site, sha256).value());
        const auto decoder = Decoder::create(2048, std::move(images)).value();
        std::vector<std::byte> out;
        for (std::size_t at = 0; at < stream.size(); at += 100'000) {
            const auto batch = encoder->encode(std::span(stream).subspan(at, std::min<std::size_t>(100'000, stream.size() - at))).value();
            BLANKET_TRY(const auto plain, decoder->decode(batch));
            out.insert(out.end(), plain.begin(), plain.end());
        }
        return std::pair(encoder->counts().reference.pages, out);
    };
    const auto right = move(sha256, image);
    ASSERT_TRUE(right);
    EXPECT_GT(right->first, 100u);
    EXPECT_TRUE(right->second == stream);
    const auto wrong_index = move(other_sha256, image);
    ASSERT_TRUE(wrong_index);
    EXPECT_EQ(wrong_index->first, 0u);
    EXPECT_TRUE(wrong_index->second == stream);
    const auto wrong_image = move(sha256, other);
    ASSERT_TRUE(wrong_image);
    EXPECT_FALSE(wrong_image->second == stream);
    const auto short_image = move(sha256, image.substr(0, 10 * kPage));
    ASSERT_FALSE(short_image);
    EXPECT_EQ(short_image.error().kind, Kind::kInvalid);
}

}  // namespace
}  // namespace blanket::stream
