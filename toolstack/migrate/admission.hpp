// SPDX-License-Identifier: GPL-2.0-or-later
// May this site take that VM? Pure; the target asks it before a byte moves, and `--dry-run` shows the same answer.
#pragma once

#include "toolstack/core/ports.hpp"

namespace blanket::migrate {

struct Admission {
    std::string site;                  // who is asked
    HostFacts host;
    PoolFacts pool;
    std::vector<DomainInfo> domains;   // already here
};

// kPrecondition or kConflict with the values and the next step; empty when the VM is welcome.
Result<void> admit(const VmRecord& vm, const Admission& at);

// What the VM has seen that the host lacks, sorted.
std::vector<std::string> missing_features(const std::vector<std::string>& seen, const std::vector<std::string>& host);

}  // namespace blanket::migrate
