// SPDX-License-Identifier: GPL-2.0-or-later
// What comes in over a ResumableLink: frames of one or several connections become messages, each once and in order. Pure; one thread at a time.
//
// Memory: messages that nobody has taken yet, up to `room` (each counts as 64 bytes and its payload) or one message; of several connections also frames that came ahead of a missing one, up to kLinkWindow and
// kMostAhead, and the parts of one message (kMostMessage).
#pragma once

#include <deque>
#include <map>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/link_frames.hpp"

namespace blanket::migrate {

class LinkInbox final {
public:
    LinkInbox(bool many, std::uint64_t room) : many_(many), room_(room) {}
    // A frame of a message, with its number in front. A second time it is dropped. kInvalid: no honest peer sends that.
    Result<void> take(Message frame);
    [[nodiscard]] bool empty() const { return inbox_.empty(); }
    // The next message, of an inbox that is not empty. kInvalid: as take(), of a frame that had no room before; the message is lost with the link then.
    Result<Message> pop();
    // From now on what comes is taken and dropped: nobody receives any more, and the peer, which may be busy sending, is to hear what was said last.
    void drop();
    [[nodiscard]] std::uint64_t taken() const { return taken_; }                                        // all up to this number
    [[nodiscard]] std::uint64_t ahead() const { return held_.empty() ? 0 : held_.begin()->first; }      // the lowest number that is here and not taken; 0: none
    [[nodiscard]] bool full() const { return ahead() == taken_ + 1; }                                   // the next one is here and has no room: no more should be read

private:
    Result<void> sort();
    static constexpr std::uint64_t kMessageItself = 64;  // what it takes without its payload, about
    const bool many_;
    bool dropping_ = false;
    const std::uint64_t room_;
    std::deque<Message> inbox_;
    std::uint64_t inbox_bytes_ = 0, taken_ = 0, held_bytes_ = 0;
    std::map<std::uint64_t, Message> held_;  // not taken, by number
    std::vector<std::byte> parts_;           // of the next message
};

}  // namespace blanket::migrate
