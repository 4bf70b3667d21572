// SPDX-License-Identifier: GPL-2.0-or-later
// See events.hpp.
#include "toolstack/daemon/events.hpp"

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {
constexpr std::size_t kKept = 2000;
}

void EventLog::add(const std::string& type, const std::string& subject, const std::string& text) {
    log::info("event", "{} {}: {}", type, subject, text);
    const std::lock_guard lock(mutex_);
    events_.push_back({++last_, rfc3339_now(), type, subject, text});
    if (events_.size() > kKept) events_.pop_front();
    changed_.notify_all();
}

Json EventLog::since(std::uint64_t after, std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait, [&] { return last_ > after; });
    Json list = Json::array();
    for (const auto& event : events_)
        if (event.seq > after)
            list.push_back({{"seq", event.seq}, {"time", event.time}, {"type", event.type}, {"subject", event.subject}, {"text", event.text}});
    return {{"events", list}, {"last", last_}};
}

}  // namespace blanket
