// SPDX-License-Identifier: GPL-2.0-or-later
// The target's half of the memory stream's codec: batches in, plain bytes out (format.hpp). Everything in a batch is checked before it is used: the memory
// needed is fixed when the decoder is made, but for the cache and zstd's window of 1 MiB. One thread.
#pragma once

#include "toolstack/stream/base_image.hpp"
#include "toolstack/stream/coding.hpp"
#include "toolstack/stream/page_cache.hpp"

namespace blanket::stream {

class Decoder final {
public:
    // `cache_pages` and the images' order are the encoder's too.
    static Result<std::unique_ptr<Decoder>> create(std::size_t cache_pages, std::vector<BaseImage> images);
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    // What the batch stands for, valid until the next call. kInvalid: it is not a batch that may come now; kIo: a base image cannot be read. After an error
    // the decoder is used up.
    Result<std::span<const std::byte>> decode(std::span<const std::byte> batch);
    [[nodiscard]] const PageCache& cache() const { return cache_; }

private:
    struct Parts {  // of the batch, taken from the front
        std::span<const std::byte> tokens, residue;
        std::span<std::byte> room;  // for the plain bytes
    };
    Decoder(std::size_t cache_pages, std::vector<BaseImage> images, Expander expander);
    Result<void> take_token(Parts& parts);
    Result<void> take_bytes(Parts& parts, std::uint64_t count);
    Result<void> take_entries(Parts& parts, std::uint64_t count, bool plain);
    Result<void> take_pages(Parts& parts, Token kind, std::uint64_t count);
    Result<void> take_page(Parts& parts, Token kind, std::uint64_t runs);
    Result<void> take_blocks(Parts& parts, std::uint64_t count);
    Result<void> add_entry(Parts& parts, std::uint64_t entry);

    PageCache cache_;
    std::vector<BaseImage> images_;
    Expander expander_;
    std::unique_ptr<std::byte[]> plain_, body_;
    std::vector<std::uint64_t> frames_;  // announced; those before next_frame_ have come
    std::size_t next_frame_ = 0;
    std::uint64_t last_entry_ = 0, next_block_ = 0;
};

}  // namespace blanket::stream
