// SPDX-License-Identifier: GPL-2.0-or-later
// The anchor's host: whether it forwards at all, and which public ports it may give to VMs.
#pragma once

#include "net/anchors.hpp"
#include "net/listeners.hpp"

namespace blanket::net {

// Takes ports out of this site's anchors that the host listens on itself, with a warning each.
void keep_own_ports(std::vector<AnchorPoint>& anchors, const std::set<HostPort>& own, std::vector<std::string>& warnings);

// Whether this site has a public port.
bool any_public(const std::vector<AnchorPoint>& anchors);

// Turns IPv4 forwarding on (firewall_rules() with these anchors must be loaded before), or off again if it was turned on by us: `mark` is a file that tells so,
// and is gone after a restart of the host, as the kernel's setting is. `control`: /proc/sys/net/ipv4/ip_forward.
Result<void> set_forwarding(bool wanted, const std::string& control, const std::string& mark);

}  // namespace blanket::net
