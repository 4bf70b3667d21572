// SPDX-License-Identifier: GPL-2.0-or-later
// What a new network must not be, who may come into one, and when it may go. Pure. Called by the daemon, and by a registry that creates a VM's record.
#pragma once

#include <vector>

#include "toolstack/core/records.hpp"

namespace blanket {

// kInvalid: the range belongs to the sites themselves (the tunnel's addresses, loopback, link-local, multicast) or holds a site's own address, which its host
// could not reach any more. kConflict: it overlaps another network's, unless `same_addresses`: such networks are isolated all the same, but a host
// reaches the VMs of only one of them.
Result<void> check_new_net(const Net& net, const std::vector<Net>& nets, const std::vector<Site>& sites, bool same_addresses);

// kConflict while it is being deleted: no VM comes into it.
Result<void> check_open(const Net& net);
// A new VM's card: kNotFound without its network (nullptr), kConflict while that is being deleted, kInvalid when the address is not one of it.
Result<void> check_card(const Nic& nic, const Net* net);
// kConflict while a VM has a card in the network, in whatever phase, with the VMs' names and the next command.
Result<void> check_unused(const std::string& net, const std::vector<VmRecord>& vms);

}  // namespace blanket
