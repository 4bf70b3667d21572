// SPDX-License-Identifier: GPL-2.0-or-later
// See pacer.hpp.
#include "toolstack/migrate/pacer.hpp"

#include <algorithm>

namespace blanket::migrate {
namespace {

constexpr std::int64_t kNap = 50;      // ms
constexpr std::int64_t kCatchUp = 250;  // ms of the rate that a sender who was slower may make up for

}  // namespace

void Pacer::lift(bool on) {
    lifted_ = on;
    since_ms_ = -1;
}

void Pacer::pace(std::uint64_t sent) {
    if (rate_ == 0 || lifted_) return;
    const auto due_ms = [&] { return since_ms_ + static_cast<std::int64_t>((sent - base_) * 1000 / rate_); };
    const std::int64_t now = clock_.boottime_ms();
    if (since_ms_ < 0 || now - due_ms() > kCatchUp) {  // begins anew
        since_ms_ = now;
        base_ = sent;
        return;
    }
    while (!hurry_) {
        const std::int64_t wait = due_ms() - clock_.boottime_ms();
        if (wait <= 0) return;
        clock_.sleep(std::chrono::milliseconds(std::min(wait, kNap)));
    }
}

}  // namespace blanket::migrate
