// SPDX-License-Identifier: GPL-2.0-or-later
// See open_again.hpp.
#include "toolstack/daemon/open_again.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"

namespace blanket {
namespace {

constexpr std::int64_t kFirstWait = 1'000, kLongestWait = 60'000;  // ms

}  // namespace

Result<void> OpenAgain::now() {
    const std::scoped_lock one(opening_);
    auto opened = open_();
    const std::scoped_lock lock(mutex_);
    if (opened) {
        if (!trouble_.empty()) log::info("start", "{}: open now", what_);
        trouble_.clear();
        wait_ms_ = 0;
        due_.reset();
        return {};
    }
    if (opened.error().what != trouble_) {
        trouble_ = opened.error().what;
        log::error("start", "{}: {}; it is tried again", what_, trouble_);
    }
    wait_ms_ = std::clamp(2 * wait_ms_, kFirstWait, kLongestWait);
    due_ = clock_.boottime_ms() + wait_ms_;
    return opened;
}

void OpenAgain::anew() {
    const std::scoped_lock lock(mutex_);
    due_ = clock_.boottime_ms();
}

void OpenAgain::look(const std::function<bool()>& may) {
    {
        const std::scoped_lock lock(mutex_);
        if (!due_ || clock_.boottime_ms() < *due_) return;
    }
    if (may()) (void)now();
}

std::string OpenAgain::trouble() const {
    const std::scoped_lock lock(mutex_);
    return trouble_;
}

}  // namespace blanket
