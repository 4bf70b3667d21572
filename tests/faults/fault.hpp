// SPDX-License-Identifier: GPL-2.0-or-later
// What may go wrong in the campaign: each fault strikes real machines, and says when it is over. Used by campaign.cpp.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/lab/clouds.hpp"

namespace blanket::lab {

// Where it strikes: the owner of VM web at that moment, and the other site.
struct Scene {
    Clouds& clouds;
    std::string source, target;
};

struct Fault {
    std::string name;
    // kMoving: there is something to strike only while memory moves. kCostly: minutes under TCG (a machine boots).
    enum class Kind : std::uint8_t { kAny, kMoving, kCostly } kind = Kind::kAny;
    bool guest_dies = false;  // when it strikes the owner: the VM is started again, on the same disk
    // Returns when the fault is over: the process is dead, the cut has ended, the machine is up again.
    std::function<Result<void>(Scene&)> strike;
};

const std::vector<Fault>& faults();
Result<const Fault*> find_fault(std::string_view name);

// The moments: "rest" or a phase of the move as the CLI prints it.
const std::vector<std::string>& moments();
bool possible(const Fault& fault, std::string_view moment);

}  // namespace blanket::lab
