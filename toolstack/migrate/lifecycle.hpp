// SPDX-License-Identifier: GPL-2.0-or-later
// Starting, stopping and deleting a VM at its owner, through the ports: daemon/ makes jobs of these, recovery.cpp carries them on, tests/sim has them under
// faults. Each may be repeated after an error or a crash at any step.
#pragma once

#include <functional>

#include "toolstack/core/ports.hpp"

namespace blanket {

using PhaseHook = std::function<void(const char*)>;  // is told what begins; may be empty

// The present record, from the store and not from a cache. kConflict when `site` does not own it.
Result<Versioned<VmRecord>> owned_vm(Registry& registry, const std::string& site, const std::string& uuid);
// Reads, lets `change` edit (it may refuse), writes by compare-and-swap; tries again when somebody was faster. Returns what was written.
Result<Versioned<VmRecord>> change_vm(Registry& registry, const std::string& site, const std::string& uuid,
                                      const std::function<Result<void>(VmRecord&)>& change);

// Record first, then the disk under its epoch, then the domain. A VM that should run already gets a new epoch: whatever is left of its last life is fenced. After an error the
// record says stopped again, or still that the VM should run: then the caller tries again later.
enum class StartFailure : std::uint8_t { kStop, kTryAgain };
Result<VmRecord> start_here(SitePorts ports, const std::string& site, const std::string& uuid, StartFailure failure, const PhaseHook& phase);

// Domain first, then the disk, then the record. A crash before the record says so undoes it: the VM should still run, and is started again. kTimeout: the
// guest did not shut down.
Result<VmRecord> stop_here(SitePorts ports, const std::string& site, const std::string& uuid, StopMode mode, std::chrono::seconds deadline, const PhaseHook& phase);

struct DeleteHooks {
    PhaseHook phase;
    std::function<Result<void>(const VmRecord&)> drop_standby;  // another site's disk of it goes
    std::function<Result<void>(const VmRecord&)> release;       // what else was reserved for it, while its record is still there
};
// Marked first: from then on nobody starts it, and a crash carries the deletion on. The record goes last. Returns what it was.
Result<VmRecord> delete_here(SitePorts ports, const std::string& site, const std::string& uuid, const DeleteHooks& hooks);

}  // namespace blanket
