// SPDX-License-Identifier: GPL-2.0-or-later
// What a live migration did, measured: made by migrate/, kept with its job, served as /1.0/jobs/ID/trace, drawn by `blanket job report`. Pure.
//
// Times are in ms. The source's count from the move's begin, on the source's CLOCK_BOOTTIME; the target's (MoveTrace::target) from the begin of its own part, on
// its own. What was not measured is absent: an empty optional here, no key in the JSON. Version rule: a reader refuses another version; keys may be added.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"

namespace blanket {

inline constexpr std::uint64_t kTraceVersion = 1;
inline constexpr std::size_t kMaxTraceList = 256;        // entries of one list; what comes after is left out, and counted
inline constexpr std::size_t kMaxTraceBytes = 512u << 10;  // of its text

struct TracePhase {
    std::string name;
    std::int64_t start_ms = 0, end_ms = 0;
    bool operator==(const TracePhase&) const = default;
};

struct TraceClasses {
    std::uint64_t zero = 0, same = 0, delta = 0, reference = 0, store = 0, store_delta = 0, raw = 0;
    [[nodiscard]] std::uint64_t sum() const { return zero + same + delta + reference + store + store_delta + raw; }
    bool operator==(const TraceClasses&) const = default;
};

// What the codec made of a stretch of the memory stream. wire_bytes: coded, without the connection's encryption and heads.
struct TraceCoded {
    std::uint64_t bytes = 0, wire_bytes = 0;
    TraceClasses pages, class_bytes;  // how many of each class; what they cost on the wire, which is less than wire_bytes: the stream is more than its pages
    bool operator==(const TraceCoded&) const = default;
};

struct TraceMemoryRound {
    std::uint64_t round = 0, to_round = 0;     // equal but for rounds so small that the stream does not show where one ends
    bool suspended = false;                    // holds what was sent after the guest had stopped
    std::optional<std::int64_t> start_ms, ms;  // of its live part
    std::optional<std::uint64_t> pages;        // that it had to send, of its live part
    std::optional<std::uint64_t> dirty;        // at its end
    std::optional<std::uint64_t> processor_percent;  // the guest was held back to this much of what it used; absent: it was not
    std::optional<TraceCoded> coded;
    bool operator==(const TraceMemoryRound&) const = default;
};

struct TraceDiskRound {
    std::string volume;
    std::uint64_t round = 0;
    std::int64_t start_ms = 0, ms = 0;
    std::uint64_t bytes = 0, wire_bytes = 0;  // before coding; on the wire, encryption included
    std::optional<std::int64_t> held_ms;      // of the last one: so long the guest's writes waited
    bool operator==(const TraceDiskRound&) const = default;
};

enum class TraceClock : std::uint8_t { kSource, kTarget, kBoth };  // kBoth: from a moment at the source to one at the target

struct TracePart {
    std::string name;
    std::int64_t start_ms = 0, ms = 0;
    TraceClock clock = TraceClock::kSource;
    bool operator==(const TracePart&) const = default;
};

// From the moment in which the guest was asked to stop until it ran and its network was connected again.
struct TraceDowntime {
    std::int64_t start_ms = 0, ms = 0;
    std::vector<TracePart> parts;  // in order, none over another
    [[nodiscard]] std::int64_t unexplained_ms() const;
    bool operator==(const TraceDowntime&) const = default;
};

// The link that the move went over, which outlives its connections (core/ports.hpp, LinkHealth).
struct TraceLink {
    std::uint64_t cuts = 0;
    std::int64_t lost_ms = 0;       // without any connection, in all
    std::uint64_t again_bytes = 0;  // that were sent once more
    std::uint64_t streams = 1;      // connections at once
    std::string congestion = {};    // TCP's congestion control; empty: not known
    bool operator==(const TraceLink&) const = default;
};

struct TraceTarget {
    std::vector<TracePhase> phases;
    // The target's time minus the source's, and how far that may be off: from messages, none of which can have been heard before it was said.
    std::optional<std::int64_t> ahead_ms, ahead_error_ms;
    bool operator==(const TraceTarget&) const = default;
};

struct MoveTrace {
    std::string vm, from, to, begun;  // begun: RFC 3339
    bool moved = false;
    std::uint64_t memory_mib = 0;
    std::int64_t ms = 0;  // the whole move
    std::optional<std::int64_t> rtt_ms, forecast_ms;  // forecast: of the stop, when the last round began
    std::string stopped_because;
    std::vector<TracePhase> phases;
    std::vector<TraceDiskRound> disk_rounds;
    std::vector<TraceMemoryRound> memory_rounds;
    std::optional<TraceCoded> memory;  // the whole stream: more than the sum of the rounds where those could not be told apart
    std::optional<TraceDowntime> downtime;
    std::optional<TraceTarget> target;
    std::optional<TraceLink> link;
    std::uint64_t left_out = 0;  // entries of lists that were full
    bool operator==(const MoveTrace&) const = default;
};

std::string_view to_string(TraceClock clock);
Json to_json(const MoveTrace& trace);
// kInvalid names what is wrong: another version, a list longer than kMaxTraceList, a number that is none or beyond 2^53, a text longer than 256 bytes.
Result<MoveTrace> parse_move_trace(const Json& json);

// The same for a list of phases that a peer sent.
Json to_json(const std::vector<TracePhase>& phases);
Result<std::vector<TracePhase>> parse_trace_phases(const Json& list);

}  // namespace blanket
