// SPDX-License-Identifier: GPL-2.0-or-later
// An encoder and a decoder that belong together, over one image or none, for the tests of the codec.
#pragma once

#include <cstdlib>
#include <filesystem>

#include "tests/unit/fakes/fake_site.hpp"
#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/stream/decoder.hpp"
#include "toolstack/stream/encoder.hpp"

namespace blanket::stream {

inline ImageIndex index_of(const std::string& image, const std::string& sha256) {
    auto builder = ImageIndex::Builder::create().value();
    if (!builder.add(0, as_bytes(image))) std::abort();
    return builder.finish(sha256).value();
}

// One site's images.
struct ImageShelf {
    fakes::FakeSite site{"east"};
    std::string add(const std::string& content) {
        const std::string sha256 = fakes::image_hash(content);
        site.images.insert(sha256);
        site.image_content[sha256] = content;
        return sha256;
    }
};

// A folder for a content store, gone with the test.
struct StoreFolder {
    std::string path;
    StoreFolder() {
        std::string name = "/tmp/content-store-XXXXXX";
        path = std::string(::mkdtemp(name.data())) + "/pages";
    }
    ~StoreFolder() { std::filesystem::remove_all(std::filesystem::path(path).parent_path()); }
    StoreFolder(const StoreFolder&) = delete;
    StoreFolder& operator=(const StoreFolder&) = delete;
    [[nodiscard]] std::unique_ptr<ContentStore> open(std::uint64_t quota = 256u << 20, std::uint64_t keep_free = 0, bool wait = true) const { return open({.quota = quota, .keep_free = keep_free, .wait = wait}); }
    [[nodiscard]] std::unique_ptr<ContentStore> open(const StoreLimits& limits) const { return ContentStore::open(path, limits).value(); }
    [[nodiscard]] std::vector<std::string> files() const {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(path))
            if (entry.path().extension() == ".pages") found.push_back(entry.path());
        std::ranges::sort(found);
        return found;
    }
};

inline constexpr std::size_t kFramesOfTests = 16'384;

struct CodecPair {
    explicit CodecPair(std::size_t cache_pages) : encoder(Encoder::create(cache_pages, {}).value()), decoder(Decoder::create(cache_pages, {}).value()) {}
    CodecPair(std::size_t cache_pages, ImageShelf& shelf, const std::string& sha256) {
        std::vector<ImageIndex> known;
        known.push_back(index_of(shelf.site.image_content[sha256], sha256));
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(shelf.site, sha256).value());
        encoder = Encoder::create(cache_pages, std::move(known)).value();
        decoder = Decoder::create(cache_pages, std::move(images)).value();
    }
    // What two sites have for a move. From one that keeps what leaves in `from` to one that offers what it has in `to`; either may be null.
    struct Ends {
        std::vector<ImageIndex> indexes;
        std::vector<BaseImage> images;  // in the same order
        ContentStore *from = nullptr, *to = nullptr;
        StoreSubject subject;
        std::size_t frames = kFramesOfTests;
        bool deltas = true;  // what `from` has of the VM's last move is used
    };
    CodecPair(std::size_t cache_pages, Ends ends) {
        for (ContentStore* const store : {ends.from, ends.to})  // a move begins long after the last one
            if (store != nullptr) store->settle();
        std::optional<KnownPages> known;
        if (ends.to != nullptr) offer = ends.to->offer(ends.subject, kMaxOffered).value();
        if (offer) {
            const auto list = offer->close(std::chrono::minutes(1));
            offer_bytes = list.size();
            known = KnownPages::parse(list, kMaxOffered).value();
        }
        if (ends.from != nullptr) source_feed = ends.from->feed(ends.subject).value();
        if (ends.to != nullptr) target_feed = ends.to->feed(ends.subject, ends.frames).value();
        if (ends.from != nullptr && ends.deltas) versions = ends.from->versions(ends.subject).value();
        if (versions) frames_known = versions->close(std::chrono::minutes(1));
        encoder = Encoder::create(cache_pages, std::move(ends.indexes), std::move(known), source_feed.get(), versions.get()).value();
        decoder = Decoder::create(cache_pages, std::move(ends.images), offer.get(), target_feed.get()).value();
    }
    CodecPair(std::size_t cache_pages, ContentStore* from, ContentStore* to, const StoreSubject& subject, ImageShelf* shelf = nullptr, const std::string& sha256 = {}, bool deltas = true)
        : CodecPair(cache_pages, ends_of(from, to, subject, shelf, sha256, deltas)) {}
    static Ends ends_of(ContentStore* from, ContentStore* to, const StoreSubject& subject, ImageShelf* shelf, const std::string& sha256, bool deltas) {
        Ends ends;
        if (shelf != nullptr) {
            ends.indexes.push_back(index_of(shelf->site.image_content[sha256], sha256));
            ends.images.push_back(BaseImage::open(shelf->site, sha256).value());
        }
        ends.from = from;
        ends.to = to;
        ends.subject = subject;
        ends.deltas = deltas;
        return ends;
    }
    std::unique_ptr<PageOffer> offer;
    std::unique_ptr<ContentStore::Feed> source_feed, target_feed;
    std::unique_ptr<StoredVersions> versions;
    std::size_t offer_bytes = 0, frames_known = 0;
    std::unique_ptr<Encoder> encoder;
    std::unique_ptr<Decoder> decoder;
};

}  // namespace blanket::stream
