// SPDX-License-Identifier: GPL-2.0-or-later
// The parts that a site's table is put together from, each a function of little. plan_flows() (model.hpp) puts all of them together, site_plan.hpp those that a
// change touches. Pure.
#pragma once

#include "net/anchors.hpp"
#include "net/groups.hpp"
#include "net/model.hpp"

namespace blanket::net {

// Of no network. `tunnel`: the tunnel port's OpenFlow number, 0 = there is none.
std::vector<Flow> site_flows(std::uint32_t tunnel);
// Of a network with business here, whoever is in it. `gateway`: what plan_gateways() says of it; `port`: the OpenFlow number of gw<vni>, if it is there.
std::vector<Flow> network_flows(const Net& net, const GatewayPort& gateway, std::optional<std::uint32_t> port);
// The host's DHCP answers, to the ports of those that get_offers(); only where there is a gateway port.
std::vector<Flow> offer_flows(std::uint32_t vni, std::vector<std::uint32_t> ports);
bool gets_offers(const Endpoint& endpoint);
// Of one card, wherever it is.
std::vector<Flow> endpoint_flows(const Endpoint& endpoint, std::uint32_t tunnel, std::optional<std::uint32_t> gateway, const Membership& groups);

// A network has business here with a VM here, coming or just gone (such an endpoint), or with an anchor here. Of the others a site keeps no entry and makes no port,
// however many VMs they have.
bool brings_network(const Endpoint& endpoint);
std::set<std::uint32_t> networks_here(const std::vector<Endpoint>& endpoints, const std::vector<AnchorPoint>& anchors);  // VNIs

// Which of two entries with one table, priority and match counts: the higher epoch's, then the one without a time limit.
bool outranks(const Flow& a, const Flow& b);

}  // namespace blanket::net
