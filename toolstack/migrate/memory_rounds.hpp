// SPDX-License-Identifier: GPL-2.0-or-later
// What the live save says of its rounds, and what the codec counted in its passes over the stream, put together: both tell how many frames there were. Pure.
#pragma once

#include <span>

#include "toolstack/core/move_trace.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/stream/page_counts.hpp"

namespace blanket::migrate {

TraceClasses pages_of(const stream::PageCounts& counts);
TraceClasses wire_bytes_of(const stream::PageCounts& counts);

// `begin_ms`: boottime_ms when the move began. `suspended`: the stream ends with what was sent after the guest had stopped. Where a pass has not as many frames as the
// rounds that it must be made of, it and what follows stay without the codec's counts: nothing is guessed.
std::vector<TraceMemoryRound> join_rounds(std::span<const SaveRound> rounds, std::span<const stream::PassCount> passes, std::int64_t begin_ms, bool suspended);

}  // namespace blanket::migrate
