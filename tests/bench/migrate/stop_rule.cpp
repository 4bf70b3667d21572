// SPDX-License-Identifier: GPL-2.0-or-later
// See stop_rule.hpp.
#include "tests/bench/migrate/stop_rule.hpp"

#include <algorithm>

namespace blanket::bench {
namespace {

constexpr double kDowntimeLimitMs = 300, kRawPage = 4096;
constexpr unsigned kMostRounds = 30;

}  // namespace

// Without max_downtime_ms it never gives up.
StopRule::Step PolicyRule::begin(std::int64_t now_ms, std::size_t dirty_pages) {
    return policy_.begin(now_ms, dirty_pages) == PrecopyPolicy::Step::kContinue ? Step::kContinue : Step::kLastRound;
}

StopRule::Step QemuRule::begin(std::int64_t now_ms, std::size_t dirty_pages) {
    begin_ms_ = now_ms;
    if (round_ == 0) return Step::kContinue;
    if (static_cast<double>(dirty_pages) * kRawPage <= bytes_per_ms_ * kDowntimeLimitMs) return Step::kStopNow;
    if (round_ < kMostRounds) return Step::kContinue;
    settled_ = false;
    return Step::kStopNow;
}

void QemuRule::end(std::int64_t now_ms, std::size_t wire_bytes) {
    bytes_per_ms_ = static_cast<double>(wire_bytes) / static_cast<double>(std::max<std::int64_t>(now_ms - begin_ms_, 1));
    ++round_;
}

}  // namespace blanket::bench
