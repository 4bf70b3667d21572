// SPDX-License-Identifier: GPL-2.0-or-later
// See precopy_policy.hpp. xl's own rule (Xen 4.20 xg_sr_save.c) is: below 50 dirty pages, or after five rounds, whatever they brought.
#include "toolstack/hypervisor/precopy_policy.hpp"

#include <algorithm>
#include <format>

namespace blanket {
namespace {

constexpr std::uint64_t kFewPages = 50;      // not worth a round
constexpr std::uint64_t kRounds = 30;        // an end for what shrinks for ever by little
constexpr unsigned kStalled = 2;             // rounds without a new minimum before the search for a good moment begins
constexpr unsigned kPatience = 5;            // and before it ends
constexpr double kProgress = 0.85;           // a round that leaves more than this of the smallest set so far brought nothing
constexpr double kGoodMoment = 1.10;         // of the smallest set so far
constexpr std::int64_t kShort = 20;          // ms: nobody notices
constexpr std::uint64_t kSample = 64;        // pages from which a round says something of the rate
constexpr std::int64_t kForgiven = 5000;     // ms of a stop that interactive users and most protocols' timeouts forgive
constexpr double kLeastShare = 0.05;         // the guest must still answer when it is asked to suspend, and its users

}  // namespace

void PrecopyPolicy::end(std::int64_t now_ms) {
    const std::int64_t took = std::max<std::int64_t>(now_ms - round_begin_ms_, 1);
    last_ = {.round = round_, .pages = sending_, .ms = took, .dirty = 0, .begin_ms = round_begin_ms_, .percent = static_cast<std::uint64_t>(share_ * 100 + 0.5)};
    const double rate = static_cast<double>(sending_) / static_cast<double>(took);
    if (sending_ >= kSample || pages_per_ms_ == 0) pages_per_ms_ = std::max(rate, 1e-6);
    ++round_;
}

// Half of what the link sends is what it may dirty. What it dirtied is known from pages that were written to at least once, so one step may not be enough.
bool PrecopyPolicy::hold_back(std::uint64_t dirty_pages) {
    const std::int64_t allowed = limits_.max_downtime_ms > 0 ? limits_.max_downtime_ms : limits_.downtime_target_ms > 0 ? limits_.downtime_target_ms : kForgiven;
    if (!limits_.throttle || forecast_ <= allowed || allowed <= limits_.fixed_ms || share_ <= kLeastShare) return false;
    share_ = std::max(kLeastShare, share_ * std::clamp(pages_per_ms_ / dirtied_per_ms_ / 2, 0.1, 0.5));
    best_ = dirty_pages;
    stalled_ = kStalled - 1;  // the next round that brings nothing holds it back further
    return true;
}

PrecopyPolicy::Step PrecopyPolicy::decide(std::string reason) {
    why_ = std::move(reason);
    if (share_ < 1) why_ += std::format(", with the VM held back to {:.0f} % of the processor time that it used", share_ * 100);
    if (limits_.max_downtime_ms == 0 || forecast_ <= limits_.max_downtime_ms) return Step::kLastRound;
    constexpr double kMibPerPageMs = 1000.0 / 256;
    why_ += std::format("; it would stand still for about {} ms, and {} ms are allowed; it dirties {:.1f} MiB/s, and {:.1f} MiB/s are sent", forecast_, limits_.max_downtime_ms,
                        dirtied_per_ms_ * kMibPerPageMs, pages_per_ms_ * kMibPerPageMs);
    return Step::kGiveUp;
}

PrecopyPolicy::Step PrecopyPolicy::begin(std::int64_t now_ms, std::uint64_t dirty_pages) {
    if (begin_ms_ < 0) begin_ms_ = now_ms;
    last_.dirty = dirty_pages;
    sending_ = dirty_pages;
    round_begin_ms_ = now_ms;
    if (round_ == 0) {
        best_ = dirty_pages;
        return Step::kContinue;  // everything is dirty
    }
    const double send_ms = static_cast<double>(dirty_pages) / pages_per_ms_;
    dirtied_per_ms_ = static_cast<double>(dirty_pages) / static_cast<double>(std::max<std::int64_t>(last_.ms, 1));
    const auto rest_of = [&](double dirtied) { return static_cast<std::int64_t>(std::min(static_cast<double>(dirty_pages), dirtied) / pages_per_ms_); };
    forecast_ = limits_.fixed_ms + rest_of(dirtied_per_ms_ * send_ms);
    // A page that is written twice in a round counts once: from a long round too little follows for a short one. So the decision takes twice as much.
    const double caution = static_cast<double>(last_.ms) > 4 * send_ms ? 2 : 1;
    const std::int64_t rest_ms = rest_of(caution * dirtied_per_ms_ * send_ms);

    if (limits_.rounds > 0 && dirty_pages >= kFewPages) {
        if (round_ < static_cast<std::uint64_t>(limits_.rounds)) return Step::kContinue;
        return decide(std::format("{} rounds were asked for", round_));
    }
    if (dirty_pages < kFewPages) return decide(std::format("{} dirty pages are left", dirty_pages));
    const std::int64_t goal = std::max({limits_.downtime_target_ms - limits_.fixed_ms, limits_.fixed_ms / 20, kShort});
    if (rest_ms <= goal) return decide(std::format("the rest takes about {} ms", rest_ms));

    const bool progress = static_cast<double>(dirty_pages) < kProgress * static_cast<double>(best_);
    stalled_ = progress ? 0 : stalled_ + 1;
    best_ = std::min(best_, dirty_pages);
    const std::int64_t elapsed = now_ms - begin_ms_;
    if (limits_.max_time_ms > 0 && elapsed >= limits_.max_time_ms) return decide(std::format("the time is over: {} s", elapsed / 1000));
    if (stalled_ >= kStalled && round_ < kRounds && hold_back(dirty_pages)) return Step::kContinue;
    if (round_ >= kRounds) return decide(std::format("{} rounds are enough", round_));
    if (stalled_ >= kPatience) return decide(std::format("{} rounds brought nothing: the VM dirties pages as fast as they are sent", stalled_));
    if (stalled_ >= kStalled && static_cast<double>(dirty_pages) <= kGoodMoment * static_cast<double>(best_)) {
        // A better moment may never come; but where this one is not good enough, a few more rounds may find one that is.
        if (limits_.max_downtime_ms == 0 || forecast_ <= limits_.max_downtime_ms)
            return decide(std::format("{} rounds brought nothing: as few dirty pages as there will be", stalled_));
    }
    return Step::kContinue;
}

}  // namespace blanket
