// SPDX-License-Identifier: GPL-2.0-or-later
// See transitions.hpp.
#include "toolstack/core/transitions.hpp"

namespace blanket {

const std::vector<Transition>& transitions() {
    using enum Phase;
    static const std::vector<Transition> kTransitions{
        {kStopped,   kRunning,   Owner::kRenewed,   "owner",    "start: before the disk is opened and the domain made; virsh start: before the disk is opened"},
        {kRunning,   kStopped,   Owner::kSame,      "owner",    "stop, or the guest or virsh ended it: after the domain is gone"},
        {kSettling,  kStopped,   Owner::kSame,      "owner",    "stop, before all was in place"},
        {kRunning,   kMigrating, Owner::kSame,      "source",   "a move begins: names the target"},
        {kMigrating, kSettling,  Owner::kOther,     "target",   "the commit: memory and disk are there whole, the epoch grows by one"},
        {kMigrating, kSettling,  Owner::kSame,      "source",   "the move is taken back: no commit can follow"},
        {kSettling,  kRunning,   Owner::kSame,      "owner",    "disk, domain and network are in place"},
        {kRunning,   kRunning,   Owner::kRenewed,   "owner",    "start again after a crash of the guest or the host: whatever is left of its last life is fenced"},
        {kSettling,  kRunning,   Owner::kRenewed,   "owner",    "start: its memory is gone, it begins anew from its disk"},
        {kStopped,   kDeleting,  Owner::kSame,      "owner",    "delete: nobody starts it any more"},
        {kRunning,   kDeleting,  Owner::kSame,      "owner",    "delete"},
        {kSettling,  kDeleting,  Owner::kSame,      "owner",    "delete"},
        {kStopped,   kStopped,   Owner::kTakenOver, "operator", "vm recover: the owner is lost, or the record went back"},
        {kStopped,   kSettling,  Owner::kTakenOver, "operator", "vm recover, and it runs there: the record went back"},
        {kRunning,   kSettling,  Owner::kTakenOver, "operator, standby", "vm recover; or the owner of a VM of the policy `pause` has fallen silent"},
        {kSettling,  kSettling,  Owner::kTakenOver, "operator, standby", "vm recover; or the owner fell silent before all was in place"},
        {kMigrating, kSettling,  Owner::kTakenOver, "operator", "vm recover: the source is lost before the commit"},
        {kStopped,   kStopped,   Owner::kRenewed,   "operator", "vm recover at the owner: the record went back"},
        {kStopped,   kSettling,  Owner::kRenewed,   "operator", "vm recover at the owner: the record went back, and it runs"},
        {kRunning,   kSettling,  Owner::kRenewed,   "operator", "vm recover at the owner: the record went back"},
        {kSettling,  kSettling,  Owner::kRenewed,   "operator", "vm recover at the owner: the record went back"},
        {kMigrating, kSettling,  Owner::kRenewed,   "operator", "vm recover at the owner: the record went back"},
    };
    return kTransitions;
}

namespace {

bool fits(Owner owner, const VmRecord& before, const VmRecord& after) {
    const bool same_site = before.owner == after.owner;
    switch (owner) {
        case Owner::kSame: return same_site && after.epoch == before.epoch;
        case Owner::kRenewed: return same_site && after.epoch > before.epoch;
        case Owner::kOther: return !same_site && after.epoch == before.epoch + 1 && after.forks == before.forks;
        case Owner::kTakenOver: return !same_site && after.epoch > before.epoch;
    }
    return false;
}

}  // namespace

const Transition* find_transition(const VmRecord& before, const VmRecord& after) {
    for (const auto& row : transitions())
        if (row.from == before.phase && row.to == after.phase && fits(row.owner, before, after)) return &row;
    return nullptr;
}

bool allowed(const VmRecord& before, const VmRecord& after) {
    if (before.uuid != after.uuid || before.name != after.name) return false;
    if (before.phase == after.phase && before.owner == after.owner && before.epoch == after.epoch) return true;
    return find_transition(before, after) != nullptr;
}

std::string_view to_string(Owner owner) {
    switch (owner) {
        case Owner::kSame: return "same";
        case Owner::kRenewed: return "same, epoch grows";
        case Owner::kOther: return "the target, epoch + 1";
        case Owner::kTakenOver: return "another, epoch grows";
    }
    return "?";
}

}  // namespace blanket
