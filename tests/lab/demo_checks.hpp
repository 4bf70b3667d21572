// SPDX-License-Identifier: GPL-2.0-or-later
// The checks from outside that make the demo's report believable. Each looks at the world by itself, not at what blanketd says. Used by the demo and the VM tests.
#pragma once

#include "tests/lab/clouds.hpp"

namespace blanket::lab {

CheckResult check_same_vm(Clouds& clouds, const std::string& site);         // IP, MAC, boot id in the guest are what they were
CheckResult check_connection(Clouds& clouds);                               // the client never had to connect anew
CheckResult check_no_trace(Clouds& clouds, const std::string& site);        // nothing of VM web at a site that does not own it
CheckResult check_acknowledged(Clouds& clouds, const std::string& site);         // every acknowledged record is there (the guest's own look, from its disk)
// After the VM was stopped at `site`: a forced fsck that changes nothing, and the records read from the volume on the lab host.
std::vector<CheckResult> check_volume(Clouds& clouds, const std::string& site);
std::vector<CheckResult> check_wan(Clouds& clouds, WanResult& wan);         // RTT, rate, no plaintext, and that the search works
CheckResult check_seed(Clouds& clouds, const std::string& site);            // web finds its user-data there, and no command shows it
CheckResult check_consoles(Clouds& clouds);                                 // no BUG, Oops, assertion or panic on any machine
CheckResult check_granted(Clouds& clouds, const std::string& site);         // inside a Xen: pages of the guests there went to the provider as they are (uplink's own counters)
CheckResult judge_granted(const std::string& site, const std::string& counters);  // pure: the counters granted_guests and granted_own, a line each
// Asks for a move that must be refused for the CPU's sake, and that nothing came of it.
Result<CheckResult> check_refusal(Clouds& clouds, const std::string& owner, const std::string& to, Refusal& refusal);

}  // namespace blanket::lab
