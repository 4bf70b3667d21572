// SPDX-License-Identifier: GPL-2.0-or-later
// The source's half of the memory stream's codec: plain bytes in, batches out (format.hpp). It reads no disk and waits for nothing, but what StoredVersions may. One thread.
#pragma once

#include "toolstack/stream/coding.hpp"
#include "toolstack/stream/content_store.hpp"
#include "toolstack/stream/image_index.hpp"
#include "toolstack/stream/page_cache.hpp"
#include "toolstack/stream/page_counts.hpp"
#include "toolstack/stream/splitter.hpp"

namespace blanket::stream {

class Encoder final : private Splitter::Sink {
public:
    // `cache_pages` and the images' order are the decoder's too, and so is what its site's store offers. `feed`: this site's store, or null. `versions`, closed: what it has
    // of the VM's last move, or null.
    static Result<std::unique_ptr<Encoder>> create(std::size_t cache_pages, std::vector<ImageIndex> images, std::optional<KnownPages> known = {}, ContentStore::Feed* feed = nullptr,
                                                   StoredVersions* versions = nullptr);
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    // The next kMaxStep bytes of the plain stream at most. The batch is valid until the next call; it is empty where nothing is whole yet, which is never so
    // for the last bytes of a stream that ends as it should.
    Result<std::span<const std::byte>> encode(std::span<const std::byte> plain);
    Result<std::span<const std::byte>> finish();  // the stream has ended: what was held back
    void compress(bool wanted) { compress_ = wanted; }  // from the next batch on
    void hurry() { versions_ = nullptr; }  // from the next batch on: the guest is about to stand still, so nothing is read from a disk, here or there
    [[nodiscard]] std::size_t body() const { return plain_ == 0 ? 0 : body_.size() - kHead; }  // of the last batch: its bytes before compression
    [[nodiscard]] const PageCounts& counts() const { return counts_; }
    [[nodiscard]] const std::vector<PassCount>& passes() const { return passes_; }
    [[nodiscard]] const PageCache& cache() const { return cache_; }

private:
    Encoder(std::size_t cache_pages, std::vector<ImageIndex> images, std::optional<KnownPages> known, ContentStore::Feed* feed, StoredVersions* versions, Compressor compressor);
    void bytes(std::span<const std::byte> data) override;
    void entries(std::span<const std::byte> data) override;
    void page(std::uint64_t frame, PageBytes data) override;
    void begin_pass(std::span<const std::byte> entries);
    void count(ClassCount PageCounts::* which);
    void add_pages(Token kind, std::uint64_t count);
    bool refer(PageBytes data);
    bool refer_to_store(PageBytes data);
    bool tell_by_version(std::uint64_t frame, PageBytes data);
    void add_block(std::size_t image, std::uint64_t block);
    [[nodiscard]] std::size_t spent_on() const { return run_kind_ == Token::kReference && run_image_ == images_.size() ? kStore : static_cast<std::size_t>(run_kind_); }
    void end_run();
    void put_token(Token kind, std::uint64_t count);
    void append(std::span<const std::byte> data);
    void begin_batch();
    Result<std::span<const std::byte>> end_batch();

    Splitter splitter_;
    PageCache cache_;
    std::vector<ImageIndex> images_;
    std::optional<KnownPages> known_;
    ContentStore::Feed* feed_;
    StoredVersions* versions_;
    std::size_t late_ = 0;  // versions that were looked at in this walk, behind the first one
    Compressor compressor_;
    PageCounts counts_;
    std::vector<PassCount> passes_ = std::vector<PassCount>(1);
    std::uint64_t last_frame_ = 0;  // announced
    // The batch.
    static constexpr std::size_t kStore = 8, kStoreDelta = 9;  // behind the tokens' kinds
    struct Part {  // of one pass
        std::size_t begin = 0, plain = 0;     // in the tokens and the residue; in the plain bytes
        std::array<std::size_t, kStoreDelta + 1> spent{};  // bytes of tokens and residue, by kind
    };
    std::vector<Part> parts_;  // in order, the last one of the present pass
    std::vector<std::byte> tokens_, scratch_;
    std::vector<std::byte> body_;  // room for the head, and the residue
    std::size_t plain_ = 0;
    std::unique_ptr<std::byte[]> wire_;  // the batch, where it is compressed
    // The run of tokens that is still open.
    Token run_kind_ = Token::kBytes;
    std::uint64_t run_ = 0, run_block_ = 0;
    std::size_t run_image_ = 0;
    // What goes on from batch to batch.
    std::uint64_t last_entry_ = 0, next_block_ = 0, next_offered_ = 0;
    bool compress_ = true;
    unsigned poor_ = 0, skip_ = 0;     // batches in a row that compression did not help; how many go without it
};

}  // namespace blanket::stream
