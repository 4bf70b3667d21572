// SPDX-License-Identifier: GPL-2.0-or-later
// The host's own side of the overlay: addresses of the gateway ports and of WireGuard, and the firewall that keeps VMs and the uplink out of them.
// Pure; overlay_ovs.cpp runs the plans.
#pragma once

#include <map>
#include <set>

#include "net/anchors.hpp"
#include "net/relay.hpp"

namespace blanket::net {

struct Link {
    std::uint64_t mtu = 0;
    bool up = false;
    std::set<std::string> ipv4;      // "10.1.0.1/24"
    std::set<std::string> far = {};  // the same of other ends, where an address names one
};

// The answer of `ip -json address show`.
Result<std::map<std::string, Link>> parse_links(std::string_view text);

// Addresses that this host itself has to reach, past all gateway ports. A gateway port with one of them would take it off the net.
struct OwnRange {
    Cidr cidr;
    std::string what;  // "172.31.5.7/20 of ens5"
};
// `routes`: /proc/net/route. The subnets of links that are no gateway ports, next hops of routes through such links, and the sites' addresses.
std::vector<OwnRange> own_ranges(const std::map<std::string, Link>& links, std::string_view routes, const std::vector<Site>& sites);
// The first that overlaps; nullptr: none.
const OwnRange* overlapping(const Cidr& cidr, const std::vector<OwnRange>& own);

// Lines for `ip -batch` that bring up the gateway ports with exactly their address; empty when they are. A gateway port that is not a link yet is
// an error of the switch and is skipped here.
std::string plan_gateway_links(const std::map<std::string, Link>& links, const std::vector<GatewayPort>& gateways);
// The same for wg-blanket, which is created when absent. Empty when this site has no index yet.
std::string plan_wireguard_link(const std::map<std::string, Link>& links, const Underlay& underlay);

// A route for each peer, with the MTU of the path to it. The kernel's VXLAN asks the route: a guest's packet that is too big is answered with "fragmentation
// needed"; and WireGuard pads no packet beyond it.
std::string plan_wireguard_routes(const Underlay& underlay);

// Connections from outside at a time, of all public ports together: a flood of them must not fill the kernel's table, which the host's own connections need too.
inline constexpr unsigned kMostPublicConnections = 4096;

// nftables rules, replacing our own table as a whole: VXLAN is heard only inside WireGuard, our underlay addresses never from the uplink, gateway
// ports only for DHCP, echo and answers, and nothing is forwarded between any of them. DHCP is heard from `cards` alone, each in its own name: dnsmasq goes by the
// address that a packet names inside, and would take a neighbour's lease away (DHCPDECLINE). With anchors of this site (others are not looked at): their public
// ports, on addresses of this host and from outside only, become VMs' ports, and nothing else at all is forwarded. With `relays` (relay.hpp) also WireGuard's own packets
// between the two sites of each pair, from tunnel to tunnel. Out of a tunnel this host's own WireGuard hears by `ways` (relay.hpp) only. What comes to a relay's port before its
// rules do is dropped, not refused: connection tracking would know it without its translation, as long as the ends go on trying.
std::string firewall_rules(const std::vector<AnchorPoint>& anchors = {}, const std::vector<Endpoint>& cards = {}, const std::vector<RelayedPair>& relays = {},
                           const std::vector<RelayedWay>& ways = {});

}  // namespace blanket::net
