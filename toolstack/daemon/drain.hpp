// SPDX-License-Identifier: GPL-2.0-or-later
// `host drain`: every VM that runs at this site moves away, one after another, each by an ordinary job `migrate`. Before an update or a reboot of the host.
#pragma once

#include <functional>

#include "toolstack/daemon/vm_actions.hpp"

namespace blanket {

struct DrainStep {
    std::string uuid, name;
    std::uint64_t memory_mib = 0;
    std::string target;              // Site.name; empty = it cannot move
    std::string refusal;             // why not, of each site that was asked
    std::string hint;
};

// Says whether `target` would take the VM now; the record's memory counts what is to come there before it.
using AskSite = std::function<Result<void>(const VmRecord& vm, const std::string& target)>;

// The VMs that run at `here`, the largest first, each to `to` or, if that is empty, to the site that fits and gets least. Pure but for `ask`; a site
// that does not answer (kUnavailable, kTimeout) is asked once.
std::vector<DrainStep> plan_drain(const Snapshot& now, const std::string& here, const std::string& to, const AskSite& ask);

// The job plans first, and is refused as a whole (kPrecondition) when one of them cannot move; then nothing is moved.
Result<Answer> drain_host(App& app, const std::string& to, bool dry_run);

}  // namespace blanket
