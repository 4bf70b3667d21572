// SPDX-License-Identifier: GPL-2.0-or-later
// The target's half of the memory stream's codec: batches in, plain bytes out (format.hpp). Everything in a batch is checked before it is used: the memory
// needed is fixed when the decoder is made, but for the cache, zstd's window of 512 KiB, and the batches that the caller lets it hold. One thread.
//
// A batch that refers to a base image needs its blocks from the disk. So batches that have come already may be taken while an earlier one has not been asked for
// yet: their blocks are on the way from the disk meanwhile, and next() finds them in the page cache.
#pragma once

#include <deque>

#include "toolstack/stream/base_image.hpp"
#include "toolstack/stream/coding.hpp"
#include "toolstack/stream/content_store.hpp"
#include "toolstack/stream/page_cache.hpp"

namespace blanket::stream {

class Decoder final {
public:
    // `cache_pages` and the images' order are the encoder's too. `offer`: what was offered to it of this site's store, closed, or null; `feed`: that store, or null.
    static Result<std::unique_ptr<Decoder>> create(std::size_t cache_pages, std::vector<BaseImage> images, PageOffer* offer = nullptr, ContentStore::Feed* feed = nullptr);
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    // kInvalid: it is not a batch. After an error of this or the next call the decoder is used up.
    Result<void> take(std::vector<std::byte> batch);
    [[nodiscard]] bool waiting() const { return !batches_.empty(); }  // batches were taken and not asked for yet
    [[nodiscard]] std::size_t held() const { return held_; }          // so many bytes
    [[nodiscard]] bool refers() const { return !images_.empty() || offer_ != nullptr; }  // taking batches early is of use
    // What the oldest batch that was taken stands for, valid until the next call; there must be one. kInvalid: it may not come now; kIo: a base image or the store cannot be read.
    Result<std::span<const std::byte>> next();
    Result<std::span<const std::byte>> decode(std::span<const std::byte> batch) {
        BLANKET_CHECK(take({batch.begin(), batch.end()}));
        return next();
    }
    [[nodiscard]] const PageCache& cache() const { return cache_; }

private:
    struct Batch {
        std::size_t plain = 0, tokens = 0, residue = 0;
        std::vector<std::byte> bytes;  // ends with the residue and the tokens
        [[nodiscard]] std::span<const std::byte> body() const { return std::span(bytes).last(residue + tokens); }
    };
    struct Parts {  // of the batch, taken from the front
        std::span<const std::byte> tokens, residue;
        std::span<std::byte> room;  // for the plain bytes
    };
    Decoder(std::size_t cache_pages, std::vector<BaseImage> images, PageOffer* offer, ContentStore::Feed* feed, Expander expander);
    void look_ahead(const Batch& batch);
    Result<void> take_token(Parts& parts);
    Result<void> take_bytes(Parts& parts, std::uint64_t count);
    Result<void> take_entries(Parts& parts, std::uint64_t count, bool plain);
    Result<void> take_pages(Parts& parts, Token kind, std::uint64_t count);
    Result<void> take_page(Parts& parts, Token kind, std::uint64_t runs);
    Result<void> take_blocks(Parts& parts, std::uint64_t count);
    Result<void> take_difference(Parts& parts, std::uint64_t runs, std::uint64_t offered);
    Result<void> take_offered(std::uint64_t first, std::span<std::byte> out);
    Result<void> check_proof(Parts& parts);
    Result<void> add_entry(Parts& parts, std::uint64_t entry);

    PageCache cache_;
    std::vector<BaseImage> images_;
    PageOffer* offer_;
    ContentStore::Feed* feed_;
    Expander expander_;
    std::unique_ptr<std::byte[]> plain_;
    std::array<std::byte, kPage> version_;  // of a page, from the store
    std::deque<Batch> batches_;
    std::size_t held_ = 0;
    std::uint64_t ahead_block_ = 0, ahead_offered_ = 0;  // next_block_ and next_offered_, as far as batches were taken
    std::vector<std::uint64_t> frames_;  // announced; those before next_frame_ have come
    std::size_t next_frame_ = 0;
    std::uint64_t last_entry_ = 0, next_block_ = 0, next_offered_ = 0;
};

}  // namespace blanket::stream
