// SPDX-License-Identifier: GPL-2.0-or-later
// Indexes of base images: they find every block, come into being with the import, survive on disk and are not read when they are damaged.
#include <gtest/gtest.h>

#include <filesystem>
#include <sys/stat.h>

#include "tests/unit/stream/pair.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/stream/indexed_store.hpp"

namespace blanket::stream {
namespace {

PageBytes block_of(const std::string& image, std::size_t block) { return as_bytes(image).subspan(block * kPage).first<kPage>(); }

struct Folder {
    std::string path = "/tmp/stream-test-" + random_hex(6);
    Folder() { EXPECT_TRUE(make_dirs(path)); }
    ~Folder() { std::filesystem::remove_all(path); }
};

TEST(ImageIndex, FindsEveryBlockThatIsNotZero) {
    for (const std::size_t blocks : {std::size_t{0}, std::size_t{1}, std::size_t{33}, std::size_t{3000}}) {
        SCOPED_TRACE(blocks);
        std::string image = fakes::seeded_image(blocks, blocks);
        image += std::string(512, 'x');  // not a whole block
        ImageIndex index = index_of(image, fakes::image_hash(image));
        std::size_t found = 0;
        for (std::size_t block = 0; block < blocks; ++block) {
            const auto at = index.find(block_of(image, block));
            const bool zero = is_zero(block_of(image, block));
            EXPECT_EQ(at.has_value(), !zero) << block;
            if (at) EXPECT_EQ(*at, block);
            found += zero ? 0 : 1;
        }
        EXPECT_EQ(index.size(), found);
        std::mt19937_64 random(7);
        for (int i = 0; i < 100; ++i) EXPECT_FALSE(index.find(fakes::random_page(random)));
    }
}

TEST(ImageIndex, OfEqualBlocksItKnowsTheFirst) {
    std::string image = fakes::seeded_image(5, 20);
    image.replace(9 * kPage, kPage, image.substr(4 * kPage, kPage));
    ImageIndex index = index_of(image, fakes::image_hash(image));
    EXPECT_EQ(index.size(), 19u);
    EXPECT_EQ(index.find(block_of(image, 9)), 4u);
}

TEST(ImageIndex, ABitMakesAnotherBlock) {
    const std::string image = fakes::seeded_image(5, 20);
    ImageIndex index = index_of(image, fakes::image_hash(image));
    for (std::size_t at = 0; at < kPage; at += 97) {
        std::string other = image.substr(3 * kPage, kPage);
        other[at] = static_cast<char>(other[at] ^ 1);
        EXPECT_FALSE(index.find(block_of(other, 0))) << at;
    }
}

// The key is each index's own: who has one cannot prepare content for another.
TEST(Identity, DependsOnTheKeyAndOnEachBit) {
    const IdentityKey one = make_identity_key().value(), two = make_identity_key().value();
    auto first = Identifier::create(one).value(), again = Identifier::create(one).value(), other = Identifier::create(two).value();
    std::mt19937_64 random(3);
    fakes::Page page = fakes::random_page(random);
    const Identity identity = first.of(page).value();
    EXPECT_EQ(first.of(page).value(), identity);
    EXPECT_EQ(again.of(page).value(), identity);
    EXPECT_NE(other.of(page).value(), identity);
    page[4095] ^= std::byte{1};
    EXPECT_NE(first.of(page).value(), identity);
}

TEST(ImageIndex, IsReadBackOnlyAsItWasWritten) {
    const Folder folder;
    const std::string image = fakes::seeded_image(2, 50), sha256 = fakes::image_hash(image), path = folder.path + "/one";
    ASSERT_TRUE(index_of(image, sha256).save(path));
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);  // the key is in it
    auto back = ImageIndex::load(path, sha256);
    ASSERT_TRUE(back) << back.error().what;
    EXPECT_EQ(back->find(block_of(image, 7)), 7u);
    EXPECT_EQ(ImageIndex::load(path + "-none", sha256).error().kind, Kind::kNotFound);
    EXPECT_EQ(ImageIndex::load(path, std::string(64, 'a')).error().kind, Kind::kInvalid);
    const std::string good = read_file(path).value();
    for (std::size_t at = 0; at < good.size(); at += at < 200 ? 1 : 23) {
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

// An image in pieces, as an import reads it.
class Pieces final : public ImageReader {
public:
    explicit Pieces(const std::string& image) : image_(image) {}
    Result<std::optional<Piece>> next() override {
        if (at_ >= image_.size()) return std::optional<Piece>();
        const std::size_t length = std::min<std::size_t>(64 * 1024, image_.size() - at_);
        const Piece piece{at_, as_bytes(image_).subspan(at_, length)};
        at_ += length;
        return piece;
    }

private:
    const std::string& image_;
    std::size_t at_ = 0;
};

TEST(IndexedStore, AnImageThatIsImportedHasItsIndex) {
    const Folder folder;
    fakes::FakeSite site{"east"};
    const IndexShelf shelf(folder.path + "/index");
    IndexedStore store(site, shelf);
    const std::string image = fakes::seeded_image(2, 300), sha256 = fakes::image_hash(image);
    EXPECT_EQ(shelf.load(sha256).error().kind, Kind::kNotFound);
    EXPECT_EQ(shelf.load("../../etc/passwd").error().kind, Kind::kInvalid);
    Pieces content(image);
    ASSERT_TRUE(store.import_image(sha256, image.size(), content));
    EXPECT_TRUE(*store.has_image(sha256));
    auto index = shelf.load(sha256);
    ASSERT_TRUE(index) << index.error().what;
    EXPECT_EQ(index->find(block_of(image, 100)), 100u);
    EXPECT_EQ(index->find(block_of(image, 299)).has_value(), !is_zero(block_of(image, 299)));
    // Of an image that is there nothing is read: its index stays.
    Pieces again(image);
    ASSERT_TRUE(store.import_image(sha256, image.size(), again));
    auto kept = shelf.load(sha256);
    ASSERT_TRUE(kept) << kept.error().what;
    EXPECT_EQ(kept->size(), index->size());
    // An import that fails leaves none.
    const std::string other = fakes::seeded_image(3, 30);
    const std::string promised = fakes::image_hash(fakes::seeded_image(4, 30));
    Pieces wrong(other);
    EXPECT_FALSE(store.import_image(promised, other.size(), wrong));
    EXPECT_FALSE(shelf.load(promised));
}

// The images of the two sites are of one SHA-256. Should they differ all the same, the page differs and the stream's digest says so; where the block is missing
// the batch is refused. An index of another image finds nothing.
TEST(ImageIndex, AWrongImageIsFound) {
    fakes::FakeSite west{"west"};
    const std::string image = fakes::seeded_image(2, 100), other = fakes::seeded_image(3, 100), sha256 = fakes::image_hash(image);
    fakes::SeededGuest guest(4, 640, image);
    const auto stream = guest.save(1).bytes;
    const auto move = [&](const std::string& index_content, const std::string& target_content) -> Result<std::pair<std::uint64_t, std::vector<std::byte>>> {
        std::vector<ImageIndex> known;
        known.push_back(index_of(index_content, sha256));
        const auto encoder = Encoder::create(2048, std::move(known)).value();
        west.images.insert(sha256);
        west.image_content[sha256] = target_content;
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(west, sha256).value());
        const auto decoder = Decoder::create(2048, std::move(images)).value();
        std::vector<std::byte> out;
        for (std::size_t at = 0; at < stream.size(); at += 100'000) {
            const auto batch = encoder->encode(std::span(stream).subspan(at, std::min<std::size_t>(100'000, stream.size() - at))).value();
            BLANKET_TRY(const auto plain, decoder->decode(batch));
            out.insert(out.end(), plain.begin(), plain.end());
        }
        return std::pair(encoder->counts().reference.pages, out);
    };
    const auto right = move(image, image);
    ASSERT_TRUE(right);
    EXPECT_GT(right->first, 100u);
    EXPECT_TRUE(right->second == stream);
    const auto wrong_index = move(other, image);
    ASSERT_TRUE(wrong_index);
    EXPECT_EQ(wrong_index->first, 0u);
    EXPECT_TRUE(wrong_index->second == stream);
    const auto wrong_image = move(image, other);
    ASSERT_TRUE(wrong_image);
    EXPECT_FALSE(wrong_image->second == stream);
    const auto short_image = move(image, image.substr(0, 10 * kPage));
    ASSERT_FALSE(short_image);
    EXPECT_EQ(short_image.error().kind, Kind::kInvalid);
}

}  // namespace
}  // namespace blanket::stream
