// SPDX-License-Identifier: GPL-2.0-or-later
// A VM is taken over by a site that its owner did not hand it to: because the owner is lost, or because the registry was put back to an older state.
// The decision is pure; take_over_here() is what `blanket vm recover` does (daemon/vm_recover.cpp), failover.cpp takes over without anybody's word, tests/sim has
// both under faults.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/lifecycle.hpp"

namespace blanket::migrate {

struct TakeOver {
    enum class Why : std::uint8_t {
        kRecordWentBack,  // this site's disk is newer than the record: it had the VM last
        kOwnerLost,       // an operator accepts that what the owner wrote since this site last had the VM is lost
    };
    Why why = Why::kOwnerLost;
    std::uint64_t epoch = 0;             // that it gets
    std::uint64_t disk_epoch = 0;        // of the disk here that it starts from; 0: from its base image
    std::string disk_since;              // when that epoch ended, if its record tells
    std::vector<Volume> from_image;      // volumes to be made anew: there are none here, or only half of a move's
};

// What `site` would do. kPrecondition: there is nothing to recover, or `accept_loss` is needed (the error says what would be lost); kConflict: the
// VM's phase forbids it.
Result<TakeOver> plan_take_over(const VmRecord& vm, const std::string& site, const std::vector<VolumeFacts>& here, bool accept_loss);
// The record as it is after it: owner, epoch, kSettling (or kStopped as before), and the old owner's copy as a fork when that owner was lost. (A record
// that went back names an owner that had handed the VM on: what it still has is an older state.)
// `runs_here`: its domain is up at `site`, whatever the record says.
VmRecord taken_over(const VmRecord& vm, const std::string& site, const TakeOver& plan, bool runs_here, const std::string& now);
struct TakeOverHooks {
    PhaseHook phase;
    // Asks the other sites; refuses when one of them has a better right.
    std::function<Result<void>(const VmRecord&, const TakeOver&)> ask;
};
struct TakenOver {
    VmRecord vm;                       // as it was written
    std::string from;                  // its owner before
    std::optional<DomainInfo> domain;  // of it, at this site
};
// Makes the volumes that are missing, then writes the record. What is left to do is that of any record in kSettling: settle_here().
Result<TakenOver> take_over_here(SitePorts ports, const std::string& site, const std::string& uuid, bool accept_loss, const TakeOverHooks& hooks);
// In words, for --dry-run and the event log.
std::vector<std::string> steps_of(const VmRecord& vm, const std::string& site, const TakeOver& plan);

}  // namespace blanket::migrate
