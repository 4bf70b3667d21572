// SPDX-License-Identifier: GPL-2.0-or-later
// How a migration tells its job what happens, and hears that the operator wants it ended.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/core/move_trace.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/stream/page_counts.hpp"

namespace blanket::migrate {

// How the present phase's copying goes. What is not known yet is absent.
struct LiveProgress {
    std::uint64_t round = 0;
    std::optional<std::uint64_t> pages_left, bytes_left;         // of this round, before coding
    std::optional<std::uint64_t> bytes_per_s, wire_bytes_per_s;  // over the last seconds: before coding, and as sent
    std::optional<std::int64_t> left_ms;                         // until the copying ends,
    bool round_only = false;                                     // or, where that cannot be told, until this round does
    std::optional<std::int64_t> forecast_ms;                     // the guest's stop, were this round the last
    bool operator==(const LiveProgress&) const = default;
};

class Observer {
public:
    virtual ~Observer() = default;
    virtual void phase(const std::string& name) = 0;   // begins; the previous one ends
    virtual void note(const std::string& text) = 0;    // one line for people
    virtual void progress(double percent) = 0;         // within the phase
    virtual bool cancelled() const = 0;                // from any thread
    virtual void live(const LiveProgress&) {}          // a few times a second at most
    virtual void trace(const MoveTrace&) {}            // once, at the end, however it ended
};

struct Stats {
    std::uint64_t memory_wire_bytes = 0, memory_bytes = 0;  // sent after and before coding
    stream::PageCounts pages;                               // of the memory, all rounds
    std::uint64_t disk_wire_bytes = 0, disk_bytes = 0;      // of the delta stream; what DRBD adds is counted by its device
    std::uint32_t rounds = 0;                               // memory pre-copy rounds
    std::vector<SaveRound> memory_rounds;                   // what each brought
    std::string stopped_because;                            // why the last of them was the last
    std::int64_t forecast_ms = 0;                           // the downtime, as foreseen then
    std::int64_t last_pages_ms = 0;                         // of the downtime: until the last page was handed to the connection
    std::uint32_t disk_rounds = 0;
    std::int64_t downtime_ms = 0;                           // suspend seen at the source to resume reported by the target, less half an RTT
    std::int64_t commit_ms = 0, open_ms = 0, resume_ms = 0;  // at the target, parts of the downtime: the compare-and-swap, its disk under the new epoch, the resume
    std::int64_t rtt_ms = 0;
    std::uint64_t epoch = 0;
};

}  // namespace blanket::migrate
