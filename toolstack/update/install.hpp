// SPDX-License-Identifier: GPL-2.0-or-later
// Puts an update into the slot that does not run, and tells GRUB to start it once. Until the last step, whatever happens, the machine starts as it did before. Needs root; blocks for minutes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "toolstack/update/bundle.hpp"
#include "toolstack/update/status.hpp"

namespace blanket::update {

struct Place {
    std::string root = {};  // put before all paths; empty = the machine itself
    // The names of the VMs that run here; empty = Xen's store is asked (base/process).
    std::function<Result<std::vector<std::string>>()> guests = {};
    std::function<Result<std::uint64_t>(const std::string& path)> free_bytes = {};  // empty = statvfs
};

struct Options {
    bool any_version = false;  // the same and older ones too
};

struct Plan {
    Manifest manifest;
    std::string signer, running;  // the key's file; the version that runs
    char slot = 'b';
    std::vector<std::string> steps;  // for people
};

// Judges all of it and changes nothing; reads the whole file. Errors: those of Bundle::open and check_follows; kConflict: VMs run here, or the slot is not free; kPrecondition: no space, no slots.
Result<Plan> judge(const std::string& file, const Status& status, const Options& options, const Place& place);

// The same, then does it. `tell` gets a line before each step.
Result<Plan> install(const std::string& file, const Options& options, const Place& place, const std::function<void(const std::string&)>& tell);

// A refusal, for `blanket doctor` and the console; none is forgotten by remember({}).
void remember_refusal(const std::string& file, const Error& error, const Place& place);
void forget_refusal(const Place& place);

// Why a restart is not wise now: kConflict with the names of the VMs that run here.
Result<void> check_no_guests(const Place& place);

// The running VMs by Xen's store; none on Linux without Xen. kUnavailable: Xen runs, and its store does not answer.
Result<std::vector<std::string>> running_guests();

}  // namespace blanket::update
