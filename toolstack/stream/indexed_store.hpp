// SPDX-License-Identifier: GPL-2.0-or-later
// The site's block store as all but the store's own parts use it: an image that is imported, from wherever it comes, gets its index. Thread safe as the store behind it.
#pragma once

#include "toolstack/base/log.hpp"
#include "toolstack/stream/index_shelf.hpp"

namespace blanket::stream {

class IndexedStore final : public BlockStore {
public:
    IndexedStore(BlockStore& store, const IndexShelf& shelf) : store_(store), shelf_(shelf) {}

    Result<void> import_image(const std::string& sha256, std::uint64_t size, ImageReader& content) override {
        IndexedContent indexed(content);
        BLANKET_CHECK(store_.import_image(sha256, size, indexed));
        if (!indexed.whole()) return {};  // the image was there: its first import has made the index
        auto index = indexed.finish(sha256);
        auto kept = index ? shelf_.keep(*index) : Result<void>(std::unexpected(index.error()));
        if (!kept) log::warning("stream", "base image {} has no index, moves do not refer to it: {}", sha256.substr(0, 12), kept.error().what);
        return {};
    }

    Result<PoolFacts> pool() override { return store_.pool(); }
    Result<bool> has_image(const std::string& sha256) override { return store_.has_image(sha256); }
    Result<std::vector<Extent>> image_extents(const std::string& sha256) override { return store_.image_extents(sha256); }
    Result<UniqueFd> open_image(const std::string& sha256) override { return store_.open_image(sha256); }
    Result<void> create_volume(const Volume& volume, std::uint64_t first_epoch) override { return store_.create_volume(volume, first_epoch); }
    Result<void> open_volume(const std::string& id, std::uint64_t epoch) override { return store_.open_volume(id, epoch); }
    Result<void> close_volume(const std::string& id) override { return store_.close_volume(id); }
    Result<void> fence_volume(const std::string& id, std::uint64_t first_epoch) override { return store_.fence_volume(id, first_epoch); }
    Result<std::vector<VolumeFacts>> volumes() override { return store_.volumes(); }
    Result<void> remove_volume(const std::string& id) override { return store_.remove_volume(id); }

private:
    BlockStore& store_;
    const IndexShelf& shelf_;
};

}  // namespace blanket::stream
