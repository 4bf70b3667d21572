// SPDX-License-Identifier: GPL-2.0-or-later
// See memory_rounds.hpp.
#include "toolstack/migrate/memory_rounds.hpp"

#include <algorithm>

namespace blanket::migrate {
namespace {

TraceMemoryRound live_round(const SaveRound& round, std::int64_t begin_ms) {
    TraceMemoryRound out{.round = round.round, .to_round = round.round, .ms = round.ms, .pages = round.pages};
    if (round.begin_ms > 0) out.start_ms = std::max<std::int64_t>(round.begin_ms - begin_ms, 0);
    out.dirty = round.dirty;
    if (round.percent < 100) out.processor_percent = round.percent;
    return out;
}

// Rounds of one pass, as one.
TraceMemoryRound merged(std::span<const SaveRound> rounds, std::int64_t begin_ms) {
    TraceMemoryRound out = live_round(rounds.front(), begin_ms);
    for (const SaveRound& round : rounds.subspan(1)) {
        out.to_round = round.round;
        *out.ms += round.ms;
        *out.pages += round.pages;
        out.dirty = round.dirty;
        if (round.percent < 100) out.processor_percent = round.percent;
    }
    return out;
}

}  // namespace

TraceClasses pages_of(const stream::PageCounts& counts) {
    return {counts.zero.pages, counts.same.pages, counts.delta.pages, counts.reference.pages, counts.store.pages, counts.store_delta.pages, counts.raw.pages};
}

TraceClasses wire_bytes_of(const stream::PageCounts& counts) {
    return {counts.zero.wire_bytes, counts.same.wire_bytes, counts.delta.wire_bytes, counts.reference.wire_bytes, counts.store.wire_bytes, counts.store_delta.wire_bytes, counts.raw.wire_bytes};
}

std::vector<TraceMemoryRound> join_rounds(std::span<const SaveRound> rounds, std::span<const stream::PassCount> passes, std::int64_t begin_ms, bool suspended) {
    std::vector<TraceMemoryRound> joined;
    std::size_t at = 0;
    for (const auto& pass : passes) {
        if (pass.entries == 0) break;  // the stream was not understood
        std::size_t end = at;
        std::uint64_t frames = 0;
        while (end < rounds.size() && frames < pass.entries) frames += rounds[end++].pages;
        const bool rest = frames < pass.entries;  // more than all live rounds together
        if (frames > pass.entries || (rest && (!suspended || &pass != &passes.back()))) break;
        TraceMemoryRound round;
        if (end > at) round = merged(rounds.subspan(at, end - at), begin_ms);
        else round.round = round.to_round = rounds.empty() ? 0 : rounds.back().round + 1;
        round.suspended = rest;
        round.coded = TraceCoded{pass.bytes, pass.wire_bytes, pages_of(pass.pages), wire_bytes_of(pass.pages)};
        joined.push_back(std::move(round));
        at = end;
    }
    for (; at < rounds.size(); ++at) joined.push_back(live_round(rounds[at], begin_ms));
    for (auto& round : joined)
        if (suspended && !rounds.empty() && round.to_round == rounds.back().round) round.dirty.reset();  // only the suspended guest could tell
    return joined;
}

}  // namespace blanket::migrate
