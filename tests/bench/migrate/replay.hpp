// SPDX-License-Identifier: GPL-2.0-or-later
// One live migration in virtual time, closed loop: while pages are coded and sent the guest goes on writing, so what takes longer has more to send.
#pragma once

#include "tests/bench/migrate/guest.hpp"
#include "tests/bench/migrate/method.hpp"
#include "tests/bench/migrate/stop_rule.hpp"

namespace blanket::bench {

struct Path {
    Link link;
    Connections connections;
    double last_round_trips = 0;    // between the last byte's arrival and the guest's go at the target
    std::size_t least_stopped = 0;  // pages that the stop shall have to send at least: the guest is let run until they are dirty
};

struct Moved {
    std::size_t wire_bytes = 0;
    std::uint64_t pages = 0;                // sent, each time that it was
    std::vector<std::uint64_t> rounds;      // pages of each; the last one with the guest stopped
    double seconds = 0, downtime_s = 0;     // until the guest runs at the target; that it stood still
    double processor_s = 0;                 // of the sender
    double forecast_s = 0;                  // of the downtime, before it; 0: none was made
    double share = 1;                       // of its processor time that the guest had at last
    bool settled = true;
    std::string why;                        // it was stopped
    std::optional<bool> exact;
};

// The guest has stopped afterwards: its memory is what must be at the target.
Result<Moved> replay(Guest& guest, Method& method, StopRule& rule, const Path& path);

}  // namespace blanket::bench
