// SPDX-License-Identifier: GPL-2.0-or-later
// See link_inbox.hpp.
#include "toolstack/migrate/link_inbox.hpp"

namespace blanket::migrate {

Result<void> LinkInbox::take(Message frame) {
    const std::size_t size = frame.payload.size();
    if (size < kLinkNumber || (many_ && size > kMostFrame) || (frame.type >= kFirstLinkType && !(many_ && frame.type == kLinkPart)))
        return fail(Kind::kInvalid, "a frame of type {} and {} bytes came", frame.type, size);
    const std::uint64_t number = link_number(frame.payload);
    if (number <= taken_) return {};  // a second time
    if (!many_ && number > taken_ + held_.size() + 1) return fail(Kind::kInvalid, "message {} came where {} was due", number, taken_ + held_.size() + 1);
    if (const auto at = held_.find(number); at != held_.end()) {
        if (at->second.type == frame.type && at->second.payload == frame.payload) return {};
        return fail(Kind::kInvalid, "frame {} came twice, and not the same", number);
    }
    if (many_ && (number - taken_ > kMostAhead || held_bytes_ + size > kLinkWindow))
        return fail(Kind::kInvalid, "frame {} came while {} was due, and {} bytes are held: beyond the window", number, taken_ + 1, held_bytes_);
    held_bytes_ += size;
    held_.emplace(number, std::move(frame));
    return sort();
}

Result<Message> LinkInbox::pop() {
    Message message = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= kMessageItself + message.payload.size();
    BLANKET_CHECK(sort());
    return message;
}

void LinkInbox::drop() {
    dropping_ = true;
    inbox_.clear();
    inbox_bytes_ = 0;
    [[maybe_unused]] const auto sorted = sort();  // a dishonest frame stays the next one: no more is read then
}

// What is due becomes messages, as far as there is room for them.
Result<void> LinkInbox::sort() {
    for (; full(); ++taken_) {
        const auto at = held_.begin();
        Message& frame = at->second;
        const std::size_t size = frame.payload.size() - kLinkNumber, whole = parts_.size() + size;
        const bool part = frame.type == kLinkPart;
        if (whole > kMostMessage) return fail(Kind::kInvalid, "a message of more than {} bytes came", kMostMessage);
        if (!part && !inbox_.empty() && inbox_bytes_ + kMessageItself + whole > room_) return {};
        held_bytes_ -= frame.payload.size();
        frame.payload.erase(frame.payload.begin(), frame.payload.begin() + kLinkNumber);
        if (part || !parts_.empty()) parts_.insert(parts_.end(), frame.payload.begin(), frame.payload.end());
        if (dropping_) parts_.clear();
        if (!part && !dropping_) {
            if (!parts_.empty()) frame.payload = std::exchange(parts_, {});
            inbox_bytes_ += kMessageItself + whole;
            inbox_.push_back(std::move(frame));
        }
        held_.erase(at);
    }
    return {};
}

}  // namespace blanket::migrate
