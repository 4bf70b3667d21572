// SPDX-License-Identifier: GPL-2.0-or-later
// A trace that has everything a trace can have, with round numbers: for the tests of its JSON and of the report.
#pragma once

#include "toolstack/core/move_trace.hpp"

namespace blanket::fakes {

inline MoveTrace sample_trace() {
    constexpr std::uint64_t kPage = 4096;
    const auto coded = [](TraceClasses pages, TraceClasses wire) { return TraceCoded{pages.sum() * kPage + 500, wire.sum() + 100, pages, wire}; };
    MoveTrace trace{.vm = "web", .from = "east", .to = "west", .begun = "2026-01-02T03:04:05.000Z", .moved = true, .memory_mib = 256, .ms = 31'200};
    trace.rtt_ms = 50;
    trace.forecast_ms = 400;
    trace.stopped_because = "40 dirty pages are left";
    trace.phases = {{"prepare", 0, 800}, {"disk", 800, 20'000}, {"memory", 20'000, 27'000}, {"suspend", 27'000, 27'100}, {"commit", 27'100, 27'400}, {"clean-up", 27'400, 31'200}};
    trace.disk_rounds = {{"xvda", 0, 900, 15'000, 120'000'000, 30'000'000, {}}, {"xvda", 1, 16'000, 1000, 2'000'000, 800'000, {}}, {"xvda", 2, 18'000, 200, 65'536, 20'000, 350}};
    trace.memory_rounds = {
        {.round = 0, .to_round = 0, .suspended = false, .start_ms = 20'010, .ms = 6000, .pages = 65'536, .dirty = 1000, .coded = coded({30'000, 0, 0, 15'000, 2000, 700, 17'836}, {600, 0, 0, 40'000, 3000, 90'000, 39'907'000})},
        {.round = 1, .to_round = 2, .suspended = false, .start_ms = 26'010, .ms = 500, .pages = 1040, .dirty = {}, .coded = coded({10, 300, 500, 0, 0, 30, 200}, {20, 30, 100'000, 0, 0, 4000, 496'000})},
        {.round = 3, .to_round = 3, .suspended = true, .start_ms = {}, .ms = {}, .pages = {}, .dirty = {}, .coded = coded({0, 5, 25, 0, 0, 0, 10}, {0, 5, 4000, 0, 0, 0, 20'000})}};
    trace.memory = coded({30'010, 305, 525, 15'000, 2000, 730, 18'046}, {620, 35, 104'000, 40'000, 3000, 94'000, 40'423'000});
    trace.downtime = TraceDowntime{.start_ms = 26'950, .ms = 1000, .parts = {{"guest stops", 26'950, 50, TraceClock::kSource}, {"last pages", 27'000, 100, TraceClock::kSource},
                                                                            {"in flight", 27'100, 40, TraceClock::kBoth}, {"restored", 27'140, 500, TraceClock::kTarget},
                                                                            {"resumed", 27'670, 80, TraceClock::kTarget}, {"network", 27'750, 200, TraceClock::kTarget}}};
    trace.link = TraceLink{.cuts = 2, .lost_ms = 6400, .again_bytes = 1'300'000, .streams = 4, .congestion = "bbr"};
    trace.target = TraceTarget{.phases = {{"prepare", 0, 700}, {"disk", 700, 19'900}, {"memory", 19'900, 27'600}, {"commit", 27'600, 27'750}, {"resume", 27'750, 27'950}}, .ahead_ms = -30, .ahead_error_ms = 4};
    trace.left_out = 2;
    return trace;
}

}  // namespace blanket::fakes
