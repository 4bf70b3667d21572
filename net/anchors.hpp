// SPDX-License-Identifier: GPL-2.0-or-later
// Anchors: the records of what the outside world reaches (core/exposures.hpp) into flows, and into what the anchor's own host does. Called by pipeline.cpp
// and overlay_ovs.cpp. Pure.
//
//   outside -> uplink of the anchor's host: nftables turns (host:port) into (VM:port), and the client into (anchor's address:some port)
//     -> gw<vni> -> kClassify: only what goes to a public port of a VM; in the anchor's MAC from here -> security groups -> kRemote / kLocal -> the VM
//   VM -> the anchor's MAC and address, from a public port -> security groups -> kRemote: tunnel to the anchor's site -> kLocal -> gw<vni>
//     -> nftables turns both back -> uplink -> outside
//
// An anchor's end of a connection never moves: to the other sites it is like one more VM, owned by its site, that speaks with exposed ports only.
#pragma once

#include <tuple>

#include "net/model.hpp"
#include "toolstack/core/exposures.hpp"

namespace blanket::net {

struct AnchorPort {
    std::string uuid, vm;  // its name
    Mac mac = 0;
    std::uint32_t ip = 0;
    IpProto proto = IpProto::kTcp;
    std::uint16_t port = 0;  // of the anchor's host
    std::uint16_t to = 0;    // of the VM
};

struct AnchorPoint {
    std::uint32_t vni = 0;
    std::string net, site;
    Mac mac = 0;  // follows from the site: its frames carry it in every network
    std::uint32_t ip = 0;
    bool local = false;       // this site's
    std::uint32_t owner = 0;  // tunnel address of its site
    bool groups = false;      // the net has security groups
    std::vector<AnchorPort> ports;
};

Mac anchor_mac(std::uint32_t site_index);

// Checked; sorted by VNI and site. What cannot be is left out with a warning: an unknown site, an address or MAC that a VM has, a port that two networks claim at
// one site (neither gets it), a network whose addresses another one has as well (a host has one routing table). Ports of VMs without a card are left out quietly.
std::vector<AnchorPoint> plan_anchors(const World& world, const std::vector<Endpoint>& endpoints, std::vector<std::string>& warnings);

// How many networks want each port of each site.
using AnchorClaims = std::map<std::tuple<std::string, RuleProto, std::uint16_t>, unsigned>;
AnchorClaims anchor_claims(const std::vector<Net>& nets);
// Those of one network, as plan_anchors() gives them. `endpoints`: in the order of resolve(), at least the ones with a public port and those with an anchor's address or MAC.
std::vector<AnchorPoint> anchors_of(const Net& net, const World& world, const Surroundings& around, const AnchorClaims& claims, const std::vector<Endpoint>& endpoints, std::vector<std::string>& warnings);

// `gateway`: the OpenFlow number of gw<vni> here, if there is one.
std::vector<Flow> anchor_flows(const AnchorPoint& anchor, std::uint32_t tunnel, std::optional<std::uint32_t> gateway);

}  // namespace blanket::net
