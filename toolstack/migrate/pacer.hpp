// SPDX-License-Identifier: GPL-2.0-or-later
// Holds a sender to the rate that the user gave. Used by source.cpp; pace() and lift() by one thread at a time, hurry() by any.
#pragma once

#include <atomic>
#include <cstdint>

#include "toolstack/core/ports.hpp"

namespace blanket::migrate {

class Pacer final {
public:
    Pacer(TimeSource& clock, std::uint64_t bytes_per_s) : clock_(clock), rate_(bytes_per_s) {}
    // `sent`: bytes on the wire since the connection began. Sleeps until so much may have been sent; a pause of the sender is not made up for.
    void pace(std::uint64_t sent);
    void lift(bool on);  // no limit for a while; what was sent meanwhile is not made up for
    void hurry() { hurry_ = true; }  // the guest stands still: no limit any more, and who sleeps wakes up soon

private:
    TimeSource& clock_;
    const std::uint64_t rate_;  // 0: no limit
    std::atomic<bool> hurry_ = false;
    bool lifted_ = false;
    std::int64_t since_ms_ = -1;
    std::uint64_t base_ = 0;
};

}  // namespace blanket::migrate
