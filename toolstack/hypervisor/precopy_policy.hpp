// SPDX-License-Identifier: GPL-2.0-or-later
// When the live save stops copying and suspends the guest. Pure: the caller tells the time and what libxenguest reports. Used by blanket-save.
//
// A round sends the pages that were dirty at its begin, while the guest runs. With r = pages sent per ms in the round before, d = pages dirtied per ms then:
// sending n pages takes n / r, and leaves at most d * n / r dirty; these are what the guest waits for when it is suspended after this round.
//
// Where rounds bring nothing and the stop would be longer than the user allows (or, if he says nothing, than one that most connections forgive), the guest is
// given less processor time, so that it dirties less; more than once if need be, down to a twentieth. share() says how much; the caller sees to it.
#pragma once

#include <cstdint>
#include <string>

#include "toolstack/core/ports.hpp"

namespace blanket {

class PrecopyPolicy final {
public:
    enum class Step : std::uint8_t { kContinue, kLastRound, kGiveUp };

    explicit PrecopyPolicy(const SaveLimits& limits) : limits_(limits) {}

    // A round is about to begin with this many dirty pages. kLastRound: send them, then suspend. kGiveUp: why() says what made it.
    Step begin(std::int64_t now_ms, std::uint64_t dirty_pages);
    // Its pages are sent.
    void end(std::int64_t now_ms);

    [[nodiscard]] const std::string& why() const { return why_; }      // of the last decision that was not kContinue
    [[nodiscard]] std::int64_t forecast_ms() const { return forecast_; }  // the guest's stop if the round that begun last is the last: an estimate
    [[nodiscard]] SaveRound last_round() const { return last_; }       // that ended last
    [[nodiscard]] double share() const { return share_; }              // of the processor time that the guest used before; 1: as much as it likes

private:
    Step decide(std::string reason);
    bool hold_back(std::uint64_t dirty_pages);

    SaveLimits limits_;
    std::int64_t begin_ms_ = -1, round_begin_ms_ = 0, forecast_ = 0;
    std::uint64_t round_ = 0, sending_ = 0, best_ = 0;
    unsigned stalled_ = 0;
    double pages_per_ms_ = 0, dirtied_per_ms_ = 0, share_ = 1;
    SaveRound last_;
    std::string why_;
};

}  // namespace blanket
