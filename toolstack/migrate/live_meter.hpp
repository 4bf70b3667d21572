// SPDX-License-Identifier: GPL-2.0-or-later
// From what a move tells while it copies: rates over the last seconds, what is left, and how long that takes. Pure; the caller tells the time. One thread.
#pragma once

#include <deque>

#include "toolstack/migrate/observer.hpp"

namespace blanket::migrate {

// How much of the present round of memory has been sent. Nothing: the save has not told how much it sends.
std::optional<double> round_percent(const SaveProgress& progress);

class LiveMeter final {
public:
    void begin();  // another stream: nothing is known of its rate
    // Something worth telling, or nothing: it was told a moment ago. `wire`: bytes on the connection so far.
    std::optional<LiveProgress> disk(std::int64_t now_ms, std::uint64_t round, std::uint64_t sent, std::uint64_t total, std::uint64_t wire);
    std::optional<LiveProgress> memory(std::int64_t now_ms, const SaveProgress& progress, std::uint64_t wire);

private:
    struct Sample {
        std::int64_t at_ms = 0;
        std::uint64_t bytes = 0, wire = 0;
    };
    bool take(const Sample& sample, std::uint64_t round);
    void add_rates(LiveProgress& live) const;

    std::deque<Sample> samples_;
    std::uint64_t round_ = ~std::uint64_t{0};
};

}  // namespace blanket::migrate
