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
    double healed_s = -1;      // from its end until all was well; < 0: never
    std::vector<std::string> violations;  // what must never be, or was still wrong at the end
    [[nodiscard]] bool ok() const { return struck && violations.empty() && healed_s >= 0; }
};
Json to_json(const FaultResult& result);

// VM web was started anew at `site`: waits until it answers, and gives it work again. From now on it is this boot that must survive.
Result<void> welcome(Clouds& clouds, const std::string& site);

// VM web must be well before; it is afterwards, when the result is ok(). An error only when the lab itself fails.
Result<FaultResult> strike_once(Clouds& clouds, const std::string& moment, const Fault& fault);

}  // namespace blanket::lab
