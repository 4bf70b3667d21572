// SPDX-License-Identifier: GPL-2.0-or-later
// One dnsmasq per net on its gateway port (unit blanket-dhcp@<vni>), configured from the records alone, so that every site gives the same answers and
// a VM that moved renews at its new site. Called by overlay_ovs.cpp under its lock.
#pragma once

#include "net/commands.hpp"
#include "net/model.hpp"

namespace blanket::net {

struct DhcpNet {
    std::uint32_t vni = 0;
    std::string config;              // dnsmasq.conf(5)
    std::vector<std::string> hosts;  // sorted "mac,ip[,name]" lines
};

// `folder` appears in the configuration as the place of the hosts file.
std::vector<DhcpNet> plan_dhcp(const std::vector<GatewayPort>& gateways, const std::vector<Endpoint>& endpoints, const std::string& folder);

// What to do with the unit, given the files' present content (nullopt = absent). New hosts alone: reload. A host that is gone or has another address:
// restart, since dnsmasq would keep its lease and refuse the address to the next one. Empty verb = nothing.
struct DhcpPresent {
    std::optional<std::string> config, hosts;
};
std::string_view plan_dhcp_verb(const DhcpNet& net, const DhcpPresent& present);

// Writes <folder>/<vni>.conf and .hosts, and starts, reloads, restarts or stops units. `started` remembers what this process has started.
Result<void> apply_dhcp(const std::vector<DhcpNet>& nets, const std::string& folder, CommandRunner& runner, std::set<std::uint32_t>& started);

}  // namespace blanket::net
