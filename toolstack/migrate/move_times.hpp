// SPDX-License-Identifier: GPL-2.0-or-later
// The moments of a move's end, on two clocks, and what they say of the guest's stop. Pure but for PhaseLog, which asks its clock.
//
//   source:  asked - suspended - last pages handed over - kMemoryEnd said - drained: kDrained said ............ kCommitted, kResumed heard
//   target:  ............................ kMemoryEnd heard - restored - complete - committed - disk opened - resumed - network connected: kTrace said
#pragma once

#include <optional>

#include "toolstack/core/move_trace.hpp"
#include "toolstack/core/ports.hpp"

namespace blanket::migrate {

using Moment = std::optional<std::int64_t>;  // ms since the own part of the move began

struct SourceTimes {
    Moment hello_said, hello_heard;
    Moment asked, suspended, last_pages, end_said, drained;
    Moment committed_heard, resumed_heard;
    Moment resumed_here;  // it was taken back: the guest runs here again
};

struct TargetTimes {
    Moment hello_heard, hello_said;
    Moment end_heard, restored, complete, committed, disk_opened, resumed, connected;
};

// The target's time minus the source's, from messages in both directions: none was heard before it was said. Empty when there were too few, or they contradict.
struct ClockOffset {
    std::int64_t ahead_ms = 0, error_ms = 0;
};
std::optional<ClockOffset> clock_offset(const SourceTimes& source, const TargetTimes& target);

// The guest's stop in parts. Where a moment is missing, the part that it ends and the one that it begins are, and their time is not explained. Empty when the
// guest was not stopped, or nobody knows when it ran again.
std::optional<TraceDowntime> downtime_of(const SourceTimes& source, const TargetTimes& target);

// What the target says at the end (Type::kTrace). parse: kInvalid for what cannot be.
struct TargetReport {
    std::vector<TracePhase> phases;
    TargetTimes times;
};
Json to_json(const TargetReport& report);
Result<TargetReport> parse_target_report(const Json& json);

// Phases that follow one another. One thread. Counts what it has no room for.
class PhaseLog final {
public:
    explicit PhaseLog(TimeSource& clock) : clock_(clock), begin_(clock.boottime_ms()) {}
    void begin(const std::string& name);  // the one before ends
    void end();
    [[nodiscard]] std::int64_t now() const { return clock_.boottime_ms() - begin_; }
    [[nodiscard]] std::int64_t since_begin(std::int64_t boottime_ms) const { return std::max<std::int64_t>(boottime_ms - begin_, 0); }
    [[nodiscard]] const std::vector<TracePhase>& phases() const { return phases_; }
    [[nodiscard]] std::uint64_t left_out() const { return left_out_; }

private:
    TimeSource& clock_;
    const std::int64_t begin_;
    std::vector<TracePhase> phases_;
    bool open_ = false;
    std::uint64_t left_out_ = 0;
};

}  // namespace blanket::migrate
