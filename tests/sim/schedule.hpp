// SPDX-License-Identifier: GPL-2.0-or-later
// One schedule: two sites, a witness, a VM that moves there and perhaps back, faults at chosen calls; then everything heals and is looked at.
#pragma once

#include "tests/sim/world.hpp"

namespace blanket::sim {

// What an operator says at a moment.
// kPowerOff and kVirshStart pass blanketd by; kNothing is a moment that faults are counted from.
enum class OrderKind : std::uint8_t { kStop, kStart, kDelete, kRecover, kPowerOff, kVirshStart, kNothing };
std::string_view to_string(OrderKind kind);
struct Order {
    Time when = 0;
    OrderKind kind = OrderKind::kStop;
    std::vector<Fault> faults = {};  // whose calls are counted from this moment
};

struct Schedule {
    std::uint64_t seed = 0;
    std::vector<Fault> faults;
    std::vector<Order> orders = {};
};

struct Verdict {
    std::vector<std::string> violations;
    std::set<std::pair<std::string, FaultKind>> struck;
    std::set<const Transition*> transitions;
    std::uint64_t history = 0, calls = 0, steps = 0;
    unsigned moves = 0;       // that ended well
    unsigned take_overs = 0;  // by the standby, or an operator who accepts the loss
    Time healed_after = 0;    // the last fault's end -> all is as the record says; kForever when it never was
};

Verdict run(const Schedule& schedule, std::vector<std::string>* trace = nullptr);
// The schedule of a seed: how many calls it makes is counted first, without faults.
Schedule draw(std::uint64_t seed);
// The same failure with as few faults as possible.
Schedule shrink(Schedule schedule);
std::string describe(const Schedule& schedule);

}  // namespace blanket::sim
