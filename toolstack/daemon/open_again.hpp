// SPDX-License-Identifier: GPL-2.0-or-later
// Opens something, and where that fails again and again until it is open: the listeners for the other sites, whose address may come a moment later, or whose port
// may still be taken. Says each new reason once. Thread safe; look() is one thread's.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "toolstack/core/ports.hpp"

namespace blanket {

class OpenAgain final {
public:
    OpenAgain(std::string what, TimeSource& clock, std::function<Result<void>()> open) : what_(std::move(what)), clock_(clock), open_(std::move(open)) {}

    // At once. After an error look() tries again: a second later, then after twice as long each time, a minute at most.
    Result<void> now();
    // What is open is out of date: the next look() opens it anew.
    void anew();
    // Called often: tries when it is due and `may` (asked only then) allows it.
    void look(const std::function<bool()>& may);
    [[nodiscard]] std::string trouble() const;  // why it is not open; empty: it is, or nobody wanted it yet

private:
    const std::string what_;
    TimeSource& clock_;
    const std::function<Result<void>()> open_;
    std::mutex opening_;          // one attempt at a time; taken before mutex_
    mutable std::mutex mutex_;    // all below
    std::string trouble_;
    std::int64_t wait_ms_ = 0;
    std::optional<std::int64_t> due_;  // TimeSource::boottime_ms(); nothing: no attempt is due
};

}  // namespace blanket
