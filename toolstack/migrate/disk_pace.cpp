// SPDX-License-Identifier: GPL-2.0-or-later
// See disk_pace.hpp.
#include "toolstack/migrate/disk_pace.hpp"

#include <algorithm>

namespace blanket::migrate {
namespace {

constexpr std::uint64_t kSmallRest = 4u << 20;  // bytes: another round would bring nothing (0.3 s at 100 Mbit/s)
constexpr std::size_t kRounds = 6;              // as many for a larger rest that may be waited for
constexpr std::size_t kRecent = 3;              // rounds that tell of the link
constexpr double kShrinks = 0.9;                // of the round before

std::uint64_t per_s(std::uint64_t bytes, std::int64_t ms) { return static_cast<std::uint64_t>(static_cast<double>(bytes) * 1000 / static_cast<double>(std::max<std::int64_t>(ms, 1))); }

}  // namespace

void DiskPace::round(std::int64_t at_ms, std::uint64_t bytes, std::int64_t ship_ms) { rounds_.push_back({at_ms, bytes, ship_ms}); }

// What the first round finds is older than the move.
std::uint64_t DiskPace::written_per_s() const {
    if (rounds_.size() < 2) return 0;
    const Round &last = rounds_.back(), &before = rounds_[rounds_.size() - 2];
    return per_s(last.bytes, last.at_ms - before.at_ms);
}

std::uint64_t DiskPace::sent_per_s() const {
    std::uint64_t best = 0;
    for (std::size_t i = rounds_.size() - std::min(rounds_.size(), kRecent); i < rounds_.size(); ++i) best = std::max(best, per_s(rounds_[i].bytes, rounds_[i].ship_ms));
    return best;
}

std::int64_t DiskPace::time_for(std::uint64_t bytes) const {
    const std::uint64_t rate = sent_per_s();
    return rate == 0 ? 0 : static_cast<std::int64_t>(std::min(static_cast<double>(bytes) * 1000 / static_cast<double>(rate), 1e12));
}

// What is written while a round is shipped is the next one. Of the first, as much again at most.
std::int64_t DiskPace::wait_ms(std::int64_t now_ms) const {
    if (rounds_.empty()) return 0;
    const Round& last = rounds_.back();
    if (rounds_.size() == 1) return time_for(last.bytes);
    return time_for(static_cast<std::uint64_t>(static_cast<double>(written_per_s()) * static_cast<double>(std::max<std::int64_t>(now_ms - last.at_ms, 0)) / 1000));
}

DiskPace::Next DiskPace::next(std::int64_t now_ms) const {
    if (rounds_.empty()) return Next::kRound;
    const bool fits = !too_long(wait_ms(now_ms));
    if (fits && (rounds_.back().bytes <= kSmallRest || rounds_.size() >= kRounds)) return Next::kLast;
    if (rounds_.size() < std::max(kRounds, fresh_)) return Next::kRound;
    const double before = static_cast<double>(rounds_[rounds_.size() - 2].bytes);
    return static_cast<double>(rounds_.back().bytes) < kShrinks * before ? Next::kRound : Next::kGiveUp;
}

}  // namespace blanket::migrate
