// SPDX-License-Identifier: GPL-2.0-or-later
// What goes out over a ResumableLink: messages as numbered frames, kept until they are acknowledged, each given to a connection, and given again when that is lost or
// lags behind. Pure; one thread at a time.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "toolstack/migrate/link_frames.hpp"

namespace blanket::migrate {

class LinkOutbox final {
public:
    using Time = std::chrono::steady_clock::time_point;
    struct Frame {
        std::uint32_t type = 0;
        std::uint64_t number = 0;
        std::shared_ptr<std::vector<std::byte>> bytes;  // number and content; not changed once it has a number
    };
    explicit LinkOutbox(bool many) : many_(many) {}
    // A message as frames that have no number yet: one, or those of kLinkPiece.
    static std::vector<Frame> cut(bool many, std::uint32_t type, std::span<const std::byte> payload);
    [[nodiscard]] bool fits(const std::vector<Frame>& frames, std::uint64_t window) const;  // one message always does
    std::uint64_t push(std::vector<Frame> frames);                                          // the last one's number

    [[nodiscard]] bool empty() const { return out_.empty(); }
    [[nodiscard]] std::uint64_t acked() const { return acked_; }
    [[nodiscard]] std::uint64_t highest() const { return next_ - 1; }                // ever given to a connection
    [[nodiscard]] std::uint64_t unsent() const { return unsent_bytes_; }             // bytes behind gone()
    [[nodiscard]] bool gone(std::uint64_t number) const { return number <= gone_; }  // given to one of many; or the only connection has taken it whole
    [[nodiscard]] std::uint64_t again_bytes() const { return again_bytes_; }         // given more than once, in all
    [[nodiscard]] std::uint64_t again_due() const;                                   // bytes that were given back and wait

    [[nodiscard]] std::uint64_t due() const { return !again_.empty() ? *again_.begin() : next_ <= queued() ? next_ : 0; }  // the next to be given; 0: none
    // One for `lane` that has been on another one since `before` or longer and lags there (bit by lane), and that the peer lacks. 0: none. What the peer holds ahead of
    // the first missing one begins at `held`; 0: not known.
    [[nodiscard]] std::uint64_t late(unsigned lane, Time before, std::uint32_t lagging, std::uint64_t held) const;
    Frame give(std::uint64_t number, unsigned lane, Time now);
    void written(std::uint64_t number) { mark_gone(number); }  // a connection has taken it whole
    void give_back(unsigned lane);                             // it is lost: what it carried is due again
    std::uint64_t acknowledge(std::uint64_t number);           // the peer has all up to it, which is no more than highest(); returns the bytes that need not be kept

private:
    static constexpr unsigned kNoLane = ~0u;
    struct Out {
        Frame frame;
        unsigned lane = kNoLane;  // that carries it
        Time since{};
    };
    [[nodiscard]] std::uint64_t queued() const { return acked_ + out_.size(); }
    [[nodiscard]] const Out& at(std::uint64_t number) const { return out_[static_cast<std::size_t>(number - acked_ - 1)]; }
    Out& at(std::uint64_t number) { return out_[static_cast<std::size_t>(number - acked_ - 1)]; }
    void mark_gone(std::uint64_t number);
    const bool many_;
    std::deque<Out> out_;  // the numbers acked_ + 1 ... queued()
    std::set<std::uint64_t> again_;
    std::uint64_t acked_ = 0, next_ = 1, gone_ = 0, bytes_ = 0, unsent_bytes_ = 0, again_bytes_ = 0;
};

}  // namespace blanket::migrate
