// SPDX-License-Identifier: GPL-2.0-or-later
// How a VM's record may change: the one table. Each row is one compare-and-swap on the record's revision. Pure. The simulated and the fake registry refuse
// whatever is not in it, a test compares it with ARCHITECTURE.md, and the simulation tells which rows it has taken.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "toolstack/core/records.hpp"

namespace blanket {

enum class Owner : std::uint8_t {
    kSame,       // owner and epoch stay
    kRenewed,    // the owner stays, the epoch grows
    kOther,      // another site, epoch + 1
    kTakenOver,  // another site, the epoch grows
};

struct Transition {
    Phase from, to;
    Owner owner;
    std::string_view by;    // who writes it
    std::string_view when;
};

const std::vector<Transition>& transitions();
// The row of this change. A change within a phase that touches neither owner nor epoch is no transition and needs no row: nothing, as for one that is not
// allowed; see allowed().
const Transition* find_transition(const VmRecord& before, const VmRecord& after);
bool allowed(const VmRecord& before, const VmRecord& after);

std::string_view to_string(Owner owner);

}  // namespace blanket
