// SPDX-License-Identifier: GPL-2.0-or-later
// See page_cache.hpp.
#include "toolstack/stream/page_cache.hpp"

#include "toolstack/stream/quick_hash.hpp"

namespace blanket::stream {

PageCache::PageCache(std::size_t capacity) : capacity_(capacity) {}

void PageCache::begin(std::uint64_t frame) {
    if (frame < last_frame_) ++round_;
    last_frame_ = frame;
}

const std::byte* PageCache::held(std::uint64_t frame) const {
    const auto found = at_.find(frame);
    return found == at_.end() ? nullptr : bytes(found->second);
}

void PageCache::link(std::uint32_t slot) {
    Slot& one = slots_[slot];
    one.round = round_;
    one.again = round_ > 0;
    Queue& queue = queue_of(one);
    one.before = queue.last;
    one.behind = kNone;
    (queue.last == kNone ? queue.first : slots_[queue.last].behind) = slot;
    queue.last = slot;
}

void PageCache::unlink(std::uint32_t slot) {
    const Slot& one = slots_[slot];
    Queue& queue = queue_of(one);
    (one.before == kNone ? queue.first : slots_[one.before].behind) = one.behind;
    (one.behind == kNone ? queue.last : slots_[one.behind].before) = one.before;
}

void PageCache::touch(std::uint32_t slot) {
    unlink(slot);
    link(slot);
}

// A slot for a new page, entered under its frame, or kNone: every page that is held is worth more.
std::uint32_t PageCache::make_room(std::uint64_t frame) {
    std::uint32_t slot = kNone;
    if (!free_.empty()) {
        slot = free_.back();
        free_.pop_back();
    } else if (slots_.size() < capacity_) {
        if (slots_.size() % kChunk == 0) chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(kChunk * kPage));
        slots_.emplace_back();
        slot = static_cast<std::uint32_t>(slots_.size() - 1);
    } else {
        slot = once_.first;
        if (slot == kNone && again_.first != kNone && slots_[again_.first].round + 1 < round_) slot = again_.first;
        if (slot == kNone) return kNone;
        unlink(slot);
        auto entry = at_.extract(slots_[slot].frame);  // used again: nothing is allocated once the cache is full
        entry.key() = frame;
        at_.insert(std::move(entry));
        return slot;
    }
    at_.emplace(frame, slot);
    return slot;
}

void PageCache::sent(std::uint64_t frame, PageBytes data) {
    begin(frame);
    const auto found = at_.find(frame);
    std::uint32_t slot = kNone;
    if (found != at_.end()) {
        slot = found->second;
        touch(slot);
    } else {
        slot = make_room(frame);
        if (slot == kNone) return;
        slots_[slot].frame = frame;
        link(slot);
    }
    std::memcpy(bytes(slot), data.data(), kPage);
}

void PageCache::sent_same(std::uint64_t frame) {
    begin(frame);
    if (const auto found = at_.find(frame); found != at_.end()) touch(found->second);
}

void PageCache::sent_known(std::uint64_t frame) {
    begin(frame);
    const auto found = at_.find(frame);
    if (found == at_.end()) return;
    unlink(found->second);
    free_.push_back(found->second);
    at_.erase(found);
}

std::uint64_t PageCache::state() const {
    std::uint64_t sum = at_.size();
    for (const Queue* queue : {&once_, &again_})
        for (std::uint32_t slot = queue->first; slot != kNone; slot = slots_[slot].behind)
            sum = (sum ^ slots_[slot].frame ^ quick_hash({bytes(slot), kPage})) * 0x9e37'79b9'7f4a'7c15u;
    return sum;
}

}  // namespace blanket::stream
