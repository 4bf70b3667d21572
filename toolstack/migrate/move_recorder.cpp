// SPDX-License-Identifier: GPL-2.0-or-later
// See move_recorder.hpp.
#include "toolstack/migrate/move_recorder.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/migrate/memory_rounds.hpp"

namespace blanket::migrate {
namespace {

constexpr std::size_t kMostReason = 200;  // bytes of a reason that are kept

std::string round_text(const SaveRound& round) {
    return std::format("memory round {}: {} pages in {:.1f} s, {} were written to meanwhile", round.round, round.pages, static_cast<double>(round.ms) / 1000, round.dirty);
}

}  // namespace

MoveRecorder::MoveRecorder(Observer& told, TimeSource& clock) : told_(told), begin_(clock.boottime_ms()), begun_(rfc3339_now()), log_(clock) {}

void MoveRecorder::phase(const std::string& name) {
    log_.begin(name);
    meter_.begin();
    told_.phase(name);
}

void MoveRecorder::begin_disk_round(const std::string& volume, std::uint64_t wire) {
    disk_round_ = !disk_rounds_.empty() && disk_rounds_.back().volume == volume ? disk_round_ + 1 : 0;
    disk_wire_ = seen_wire_ = wire;
    disk_open_ = disk_rounds_.size() < kMaxTraceList;
    if (disk_open_) disk_rounds_.push_back({.volume = volume, .round = disk_round_, .start_ms = log_.now(), .held_ms = {}});
    else ++left_out_;
}

void MoveRecorder::disk(std::uint64_t sent, std::uint64_t total, std::uint64_t wire) {
    told_.progress(total == 0 ? 100 : 100.0 * static_cast<double>(sent) / static_cast<double>(total));
    seen_wire_ = wire;
    if (disk_open_) disk_rounds_.back().bytes = sent;
    if (const auto live = meter_.disk(log_.now(), disk_round_, sent, total, wire)) told_.live(*live);
}

void MoveRecorder::end_disk_round(std::uint64_t wire) {
    if (!disk_open_) return;
    disk_open_ = false;
    TraceDiskRound& round = disk_rounds_.back();
    round.ms = log_.now() - round.start_ms;
    round.wire_bytes = wire - disk_wire_;
}

void MoveRecorder::held_for(std::int64_t ms) {
    if (left_out_ == 0 && !disk_rounds_.empty()) disk_rounds_.back().held_ms = std::max<std::int64_t>(ms, 0);
}

void MoveRecorder::memory(const SaveProgress& progress, std::uint64_t wire) {
    if (progress.stopping) return;
    for (std::size_t i = rounds_.size(); i < progress.ended.size(); ++i) {
        rounds_.push_back(progress.ended[i]);
        told_.note(round_text(progress.ended[i]));
    }
    if (const auto live = meter_.memory(log_.now(), progress, wire)) told_.live(*live);
}

void MoveRecorder::stopped(const SaveProgress& progress) {
    rounds_ = progress.ended;
    why_ = progress.why.substr(0, kMostReason);
    forecast_ms_ = progress.forecast_ms;
    if (progress.asked_ms > 0) times.asked = since_begin(progress.asked_ms);
    times.suspended = progress.suspended_ms > 0 ? since_begin(progress.suspended_ms) : now();
}

MoveTrace MoveRecorder::finish(const Coded* memory) {
    log_.end();
    if (disk_open_) end_disk_round(seen_wire_);  // it broke off
    MoveTrace trace;
    trace.begun = begun_;
    trace.ms = log_.now();
    trace.phases = log_.phases();
    trace.disk_rounds = std::move(disk_rounds_);
    trace.stopped_because = why_;
    trace.left_out = left_out_ + log_.left_out();
    if (forecast_ms_ > 0) trace.forecast_ms = forecast_ms_;
    if (memory != nullptr) {
        trace.memory = TraceCoded{memory->bytes, memory->wire_bytes, pages_of(memory->pages), wire_bytes_of(memory->pages)};
        trace.memory_rounds = join_rounds(rounds_, memory->passes, begin_, guest_was_stopped());
    }
    if (trace.memory_rounds.size() > kMaxTraceList) {
        trace.left_out += trace.memory_rounds.size() - kMaxTraceList;
        trace.memory_rounds.resize(kMaxTraceList);
    }
    trace.downtime = downtime_of(times, target ? target->times : TargetTimes{});
    if (!target) return trace;
    trace.target = TraceTarget{.phases = std::move(target->phases), .ahead_ms = {}, .ahead_error_ms = {}};
    if (const auto offset = clock_offset(times, target->times)) {
        trace.target->ahead_ms = offset->ahead_ms;
        trace.target->ahead_error_ms = offset->error_ms;
    }
    return trace;
}

}  // namespace blanket::migrate
