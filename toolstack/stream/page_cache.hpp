// SPDX-License-Identifier: GPL-2.0-or-later
// The last sent version of some pages, kept alike at both ends of a move: what is kept follows from what was sent, and from nothing else. Pure, one thread.
//
// A save goes over the frames upwards, once per round, so a lower frame than the last one begins a round. In round 0 every page comes for the first time: the
// last ones are kept (they were sent shortly before round 1 looks at them, so fewer of them have changed meanwhile). A page of a later round is one that the guest
// writes to: it takes the place of one that was sent in round 0 only, else of one that was in neither this round nor the last. It does not push out the others:
// where more pages are hot than there is room for, giving each the place of the one sent longest ago would leave none long enough to be of use.
#pragma once

#include <memory>
#include <unordered_map>

#include "toolstack/stream/format.hpp"

namespace blanket::stream {

class PageCache final {
public:
    explicit PageCache(std::size_t capacity);  // pages
    PageCache(const PageCache&) = delete;
    PageCache& operator=(const PageCache&) = delete;

    // The kPage bytes that both ends hold of this frame, or null.
    [[nodiscard]] const std::byte* held(std::uint64_t frame) const;
    // Whether this frame, were it the next one that is sent, would still belong to the first round.
    [[nodiscard]] bool in_first_round(std::uint64_t frame) const { return round_ == 0 && frame >= last_frame_; }
    // For each page that is sent, in order, exactly one of these.
    void sent(std::uint64_t frame, PageBytes data);  // with its bytes, or a difference
    void sent_same(std::uint64_t frame);             // held() is what it is
    void sent_known(std::uint64_t frame);            // zero, or a base image's: both ends can do without a copy
    [[nodiscard]] std::size_t size() const { return at_.size(); }
    [[nodiscard]] std::uint64_t state() const;       // a digest of what is held, for tests: equal at both ends

private:
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};
    static constexpr std::size_t kChunk = 256;  // pages allocated at once
    struct Slot {
        std::uint64_t frame = 0, round = 0;  // the last round in which it was sent
        std::uint32_t before = kNone, behind = kNone;
        bool again = false;  // in which queue
    };
    struct Queue {
        std::uint32_t first = kNone, last = kNone;  // first: the one sent longest ago
    };
    void begin(std::uint64_t frame);
    [[nodiscard]] std::byte* bytes(std::uint32_t slot) const { return chunks_[slot / kChunk].get() + slot % kChunk * kPage; }
    Queue& queue_of(const Slot& slot) { return slot.again ? again_ : once_; }
    void link(std::uint32_t slot);
    void unlink(std::uint32_t slot);
    void touch(std::uint32_t slot);
    std::uint32_t make_room(std::uint64_t frame);

    std::size_t capacity_;
    std::uint64_t round_ = 0, last_frame_ = 0;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    std::vector<std::unique_ptr<std::byte[]>> chunks_;
    std::unordered_map<std::uint64_t, std::uint32_t> at_;
    Queue once_, again_;  // sent in round 0 only; sent in a later round
};

}  // namespace blanket::stream
