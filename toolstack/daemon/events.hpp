// SPDX-License-Identifier: GPL-2.0-or-later
// The last events of this site, for `blanket events` (long poll). Thread safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "toolstack/base/json.hpp"

namespace blanket {

class EventLog final {
public:
    void add(const std::string& type, const std::string& subject, const std::string& text);
    // Events with seq > after; waits for one at most `wait`. {"events":[..],"last":seq}
    [[nodiscard]] Json since(std::uint64_t after, std::chrono::milliseconds wait);

private:
    struct Event {
        std::uint64_t seq = 0;
        std::string time, type, subject, text;
    };
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Event> events_;
    std::uint64_t last_ = 0;
};

}  // namespace blanket
