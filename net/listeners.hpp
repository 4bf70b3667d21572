// SPDX-License-Identifier: GPL-2.0-or-later
// The ports that this host itself listens on: none of them is ever given to a VM, whatever the records say.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "net/flow.hpp"

namespace blanket::net {

using HostPort = std::pair<IpProto, std::uint16_t>;

// A table like /proc/net/tcp or udp (proc_pid_net(5)): local ports of sockets that listen (TCP) or are bound (UDP). Lines of another form are errors.
Result<std::set<HostPort>> parse_listeners(std::string_view table, IpProto proto);
// Of the network namespace, IPv4 and IPv6, out of `folder` ("/proc/net"); sockets on addresses of the host itself (127.0.0.0/8) do not count. A table that is not there has none.
Result<std::set<HostPort>> listeners(const std::string& folder);

}  // namespace blanket::net
