// SPDX-License-Identifier: GPL-2.0-or-later
// The lab host's own network: its namespace, and the TAP device by which it is a node of the shaper. Used by Lab and blanket-shaper.
#pragma once

#include <string>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {

// Fails (kPrecondition) when this network namespace has an interface that is up besides loopback: the lab must not touch the host's network.
Result<void> require_own_network();
// Joins the network namespace of a process, for a second terminal.
Result<void> enter_network_of(int pid);
// Makes TAP `name` with the address (CIDR) and sets it up; also loopback, and room for many datagrams per unix socket.
Result<UniqueFd> create_tap(const std::string& name, const std::string& cidr);

}  // namespace blanket::lab
