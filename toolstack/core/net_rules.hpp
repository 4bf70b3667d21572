// SPDX-License-Identifier: GPL-2.0-or-later
// What a new network must not be. Pure. Called by the daemon before it takes a network number.
#pragma once

#include <vector>

#include "toolstack/core/records.hpp"

namespace blanket {

// kInvalid: the range belongs to the sites themselves (the tunnel's addresses, loopback, link-local, multicast) or holds a site's own address, which its host
// could not reach any more. kConflict: it overlaps another network's, unless `same_addresses`: such networks are isolated all the same, but a host
// reaches the VMs of only one of them.
Result<void> check_new_net(const Net& net, const std::vector<Net>& nets, const std::vector<Site>& sites, bool same_addresses);

}  // namespace blanket
