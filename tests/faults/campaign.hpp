// SPDX-License-Identifier: GPL-2.0-or-later
// One fault at one moment of a move, on real machines, and what the world looks like afterwards, seen from outside. fault-campaign runs many, the VM tests a few.
//
//   VM web serves and writes --> the move begins --> at the moment: strike --> the fault is over --> look until all is as the record says --> one line of result
#pragma once

#include "tests/faults/fault.hpp"

namespace blanket::lab {

struct FaultResult {
    std::string moment, fault, source, target;
    std::string owner;         // of VM web afterwards
    bool struck = false;       // false: the move was over before its phase came
    bool restarted = false;    // the guest was started again (its boot id is new)
    double fault_s = 0;        // how long the fault lasted
    double answers_s = -1;     // from its end until the guest was seen to answer; the first question comes when the move's operator has his answer, so behind a move that went on it is an upper bound
    double healed_s = -1;      // from its end until all had been seen to be well; < 0: never
    double healed_from_s = -1;  // the same until that look at everything began, which itself takes seconds: it healed between the two
    std::int64_t commit_ms = -1;  // the compare-and-swap of a move that was committed, as its job tells
    std::int64_t abort_ms = -1;   // from the decision to give a move up until its guest ran again, where it stood still
    std::vector<std::string> violations;  // what must never be, or was still wrong at the end
    std::vector<std::string> told;        // on a console, by a machine that the fault itself had stopped: its kernel counts the time that it was away
    [[nodiscard]] bool ok() const { return struck && violations.empty() && healed_s >= 0; }
};
Json to_json(const FaultResult& result);

// A fault's beginning: where the VM is, and what it has acknowledged.
struct Situation {
    FaultResult result;
    std::uint64_t acknowledged = 0;
    std::string anew_at;  // a new boot of the guest at this site is as it should be
};
Result<void> begin_fault(Clouds& clouds, const std::string& moment, const std::string& fault, Situation& out);
// The highest record that the guest at `site` has acknowledged.
Result<std::uint64_t> acknowledged(Clouds& clouds, const std::string& site);
// The fault was over at `over_s`: waits until all is well, or has not become so.
Result<FaultResult> heal(Clouds& clouds, Situation situation, double over_s);

// VM web was started anew at `site`: waits until it answers, and gives it work again. From now on it is this boot that must survive.
Result<void> welcome(Clouds& clouds, const std::string& site);

// VM web must be well before; it is afterwards, when the result is ok(). An error only when the lab itself fails.
Result<FaultResult> strike_once(Clouds& clouds, const std::string& moment, const Fault& fault);

}  // namespace blanket::lab
