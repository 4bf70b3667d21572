// SPDX-License-Identifier: GPL-2.0-or-later
// What the target's content store offers one move. A thread of its own reads the pages while the disk moves and makes the list of their identities under a key of
// this move; the list is what the bytes are now, so a damaged page is offered as what it has become, and nobody refers to it. The files stay open: what is evicted
// or deleted meanwhile can still be read. A page that changes between the list and its use fails the proof, and with it the move, before it is in the stream.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "toolstack/stream/known_pages.hpp"
#include "toolstack/stream/page_segment.hpp"

namespace blanket::stream {

class PageOffer final {
public:
    // What may be offered: the files, newest use first, and which VM's pages come before all others.
    struct Candidates {
        std::vector<std::string> files;
        std::uint64_t group = 0;
        std::size_t most = 0;  // pages
    };
    static Result<std::unique_ptr<PageOffer>> begin(Candidates candidates);
    PageOffer(const PageOffer&) = delete;
    PageOffer& operator=(const PageOffer&) = delete;

    // Waits so long for the rest of the list, and ends it: the message of known_pages.hpp. Once, before anything below.
    std::vector<std::byte> close(std::chrono::milliseconds wait);
    [[nodiscard]] std::size_t size() const { return shorts_.size(); }

    // For the decoder, one thread. Returns at once; the disk begins to fetch them.
    void will_need(std::uint64_t first, std::uint64_t count) const;
    // Offered pages from `first` on, which belong to the next proof. kInvalid: there are no such pages. kIo: the disk's.
    Result<void> read(std::uint64_t first, std::span<std::byte> out);
    // What the store calls the page at a place that read() has read.
    [[nodiscard]] std::uint64_t key(std::uint64_t place) const { return places_[place].key; }
    [[nodiscard]] bool referred() const { return !proof_.empty(); }
    Result<PageProof::Value> proof() { return proof_.take(identifier_); }
    // Pages that were read for the move, from any thread.
    [[nodiscard]] std::uint64_t taken() const { return taken_; }

private:
    struct Place {
        std::uint32_t file = 0, slot = 0;
        std::uint64_t key = 0;  // the first bytes of its identity in the store
    };
    PageOffer(const IdentityKey& key, Identifier list, Identifier use, Candidates candidates);
    void make_list(const std::stop_token& stop);
    [[nodiscard]] std::vector<Place> choose();
    // Runs of places beside each other in one file.
    template <typename Do>
    Result<void> each_run(std::uint64_t first, std::uint64_t count, const Do& work) const;

    IdentityKey key_;
    Identifier list_, identifier_;  // the thread's; the decoder's
    Candidates candidates_;
    std::vector<PageSegment> files_;
    std::vector<Place> places_;
    std::vector<std::uint64_t> shorts_;
    PageProof proof_;
    std::atomic<std::uint64_t> taken_ = 0;
    std::atomic<bool> done_ = false;
    std::jthread thread_;  // the last member: it uses the others
};

}  // namespace blanket::stream
