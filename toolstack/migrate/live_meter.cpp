// SPDX-License-Identifier: GPL-2.0-or-later
// See live_meter.hpp.
#include "toolstack/migrate/live_meter.hpp"

#include <algorithm>

namespace blanket::migrate {
namespace {

constexpr std::int64_t kOften = 250;     // ms between two samples
constexpr std::int64_t kWindow = 3000;   // ms over which a rate is taken
constexpr std::uint64_t kPageBytes = 4096;

// Pages of the present round that have been sent.
std::uint64_t sent_in_round(const SaveProgress& progress) {
    std::uint64_t before = 0;
    for (const auto& round : progress.ended) before += round.pages;
    const std::uint64_t all = progress.bytes / kPageBytes;
    return std::min(all - std::min(before, all), progress.sending);
}

}  // namespace

std::optional<double> round_percent(const SaveProgress& progress) {
    if (progress.sending == 0) return std::nullopt;
    return 100.0 * static_cast<double>(sent_in_round(progress)) / static_cast<double>(progress.sending);
}

void LiveMeter::begin() {
    samples_.clear();
    round_ = ~std::uint64_t{0};
}

// Whether it is worth telling.
bool LiveMeter::take(const Sample& sample, std::uint64_t round) {
    if (!samples_.empty() && (sample.bytes < samples_.back().bytes || sample.wire < samples_.back().wire)) samples_.clear();  // counted anew
    if (!samples_.empty() && round == round_ && sample.at_ms - samples_.back().at_ms < kOften) return false;
    round_ = round;
    samples_.push_back(sample);
    while (samples_.size() > 2 && sample.at_ms - samples_[1].at_ms >= kWindow) samples_.pop_front();
    return true;
}

void LiveMeter::add_rates(LiveProgress& live) const {
    const Sample &first = samples_.front(), &last = samples_.back();
    const std::int64_t ms = last.at_ms - first.at_ms;
    if (ms < kOften) return;
    const auto rate = [&](std::uint64_t bytes) { return static_cast<std::uint64_t>(static_cast<double>(bytes) * 1000 / static_cast<double>(ms)); };
    live.bytes_per_s = rate(last.bytes - first.bytes);
    live.wire_bytes_per_s = rate(last.wire - first.wire);
}

std::optional<LiveProgress> LiveMeter::disk(std::int64_t now_ms, std::uint64_t round, std::uint64_t sent, std::uint64_t total, std::uint64_t wire) {
    if (!take({now_ms, sent, wire}, round)) return std::nullopt;
    LiveProgress live{.round = round, .bytes_left = total - std::min(sent, total), .round_only = true};
    add_rates(live);
    if (live.bytes_per_s && *live.bytes_per_s > 0) live.left_ms = static_cast<std::int64_t>(static_cast<double>(*live.bytes_left) * 1000 / static_cast<double>(*live.bytes_per_s));
    return live;
}

std::optional<LiveProgress> LiveMeter::memory(std::int64_t now_ms, const SaveProgress& progress, std::uint64_t wire) {
    if (!take({now_ms, progress.bytes, wire}, progress.round)) return std::nullopt;
    LiveProgress live{.round = progress.round};
    add_rates(live);
    if (progress.forecast_ms > 0) live.forecast_ms = progress.forecast_ms;
    if (progress.sending == 0) return live;
    live.pages_left = progress.sending - sent_in_round(progress);
    live.bytes_left = *live.pages_left * kPageBytes;
    if (!live.bytes_per_s || *live.bytes_per_s == 0) return live;
    // Each round leaves the part of it that was dirtied meanwhile, and that is the next one: a geometric series, where it converges.
    const double rate = static_cast<double>(*live.bytes_per_s) / kPageBytes / 1000;  // pages per ms
    const double now = static_cast<double>(*live.pages_left) / rate;
    const double dirtied = progress.ended.empty() ? -1 : static_cast<double>(progress.ended.back().dirty) / static_cast<double>(std::max<std::int64_t>(progress.ended.back().ms, 1));
    live.round_only = dirtied < 0 || dirtied >= rate;
    live.left_ms = static_cast<std::int64_t>(std::min(live.round_only ? now : now / (1 - dirtied / rate), 1e12));
    return live;
}

}  // namespace blanket::migrate
