// SPDX-License-Identifier: GPL-2.0-or-later
// See link_outbox.hpp.
#include "toolstack/migrate/link_outbox.hpp"

#include <algorithm>

namespace blanket::migrate {

std::vector<LinkOutbox::Frame> LinkOutbox::cut(bool many, std::uint32_t type, std::span<const std::byte> payload) {
    std::vector<Frame> frames;
    do {
        const auto piece = many ? payload.first(std::min(payload.size(), kLinkPiece)) : payload;
        payload = payload.subspan(piece.size());
        auto bytes = std::make_shared<std::vector<std::byte>>(kLinkNumber);
        bytes->reserve(kLinkNumber + piece.size());
        bytes->insert(bytes->end(), piece.begin(), piece.end());
        frames.push_back({payload.empty() ? type : kLinkPart, 0, std::move(bytes)});
    } while (!payload.empty());
    return frames;
}

bool LinkOutbox::fits(const std::vector<Frame>& frames, std::uint64_t window) const {
    if (out_.empty()) return true;
    std::uint64_t size = bytes_;
    for (const auto& frame : frames) size += frame.bytes->size();
    return size <= window && (!many_ || out_.size() + frames.size() <= kMostAhead);
}

std::uint64_t LinkOutbox::push(std::vector<Frame> frames) {
    for (auto& frame : frames) {
        frame.number = queued() + 1;
        put_link_number(frame.bytes->data(), frame.number);
        bytes_ += frame.bytes->size();
        unsent_bytes_ += frame.bytes->size();
        out_.push_back({.frame = std::move(frame)});
    }
    return queued();
}

std::uint64_t LinkOutbox::again_due() const {
    std::uint64_t bytes = 0;
    for (const auto number : again_) bytes += at(number).frame.bytes->size();
    return bytes;
}

std::uint64_t LinkOutbox::late(unsigned lane, Time before, std::uint32_t lagging, std::uint64_t held) const {
    const std::uint64_t end = held > acked_ ? std::min(held, next_) : next_;
    for (std::uint64_t number = acked_ + 1; number < end; ++number) {
        const Out& out = at(number);
        if (out.lane != kNoLane && out.lane != lane && out.since <= before && (lagging >> out.lane & 1) != 0) return number;
    }
    return 0;
}

LinkOutbox::Frame LinkOutbox::give(std::uint64_t number, unsigned lane, Time now) {
    Out& out = at(number);
    if (number < next_) again_bytes_ += out.frame.bytes->size();
    else next_ = number + 1;
    again_.erase(number);
    out.lane = lane;
    out.since = now;
    if (many_) mark_gone(number);
    return out.frame;
}

void LinkOutbox::mark_gone(std::uint64_t number) {
    for (; gone_ < number; ++gone_) unsent_bytes_ -= at(gone_ + 1).frame.bytes->size();
}

void LinkOutbox::give_back(unsigned lane) {
    for (auto& out : out_) {
        if (out.lane != lane) continue;
        out.lane = kNoLane;
        again_.insert(out.frame.number);
    }
}

std::uint64_t LinkOutbox::acknowledge(std::uint64_t number) {
    mark_gone(number);
    std::uint64_t bytes = 0;
    for (; acked_ < number; ++acked_) {
        bytes += out_.front().frame.bytes->size();
        out_.pop_front();
    }
    again_.erase(again_.begin(), again_.upper_bound(number));
    bytes_ -= bytes;
    return bytes;
}

}  // namespace blanket::migrate
