// SPDX-License-Identifier: GPL-2.0-or-later
// What Open vSwitch has (parsed) and what must change (planned): ports in OVSDB, entries in the flow tables. Pure; overlay_ovs.cpp runs the plans.
// Sources: ovs-vsctl(8) "Output formatting", RFC 7047 section 5.1, ovs-ofctl(8) "bundle".
#pragma once

#include <map>

#include "net/commands.hpp"
#include "net/model.hpp"

namespace blanket::net {

struct Interface {
    std::string name, type, mac, error;
    std::int64_t port = -1;  // OpenFlow number; <= 0: none
    std::uint64_t mtu = 0;   // requested, 0 = not
    std::map<std::string, std::string> ids, options;
};

struct SwitchState {
    bool bridge = false;
    std::string datapath, fail_mode;
    std::vector<Interface> interfaces;  // of br-int only
};

// The answer of commands::switch_read(). At most 64 MiB and 100,000 interfaces.
Result<SwitchState> parse_switch(std::string_view text);
// vifs without our external_ids, or without an OpenFlow number, are not there; of two vifs of one NIC the one of the younger domain counts.
LocalPorts local_ports(const SwitchState& state);

// ovs-vsctl steps that make bridge, tunnel port (when `underlay` is not 0) and gateway ports right, and take away holds other than `holds` (a daemon
// that died left them) and guests' ports whose device is gone (a host that died left them); empty when all is right.
std::vector<Argv> plan_switch(const SwitchState& state, const std::vector<GatewayPort>& gateways, std::uint32_t underlay, const std::string& datapath,
                              const std::set<std::string>& holds);
// The port of a hold for one NIC.
std::vector<Argv> plan_hold(const std::string& name, const std::string& uuid, const std::string& mac);
// Ports of the plan that Open vSwitch refused, with its reason.
Result<void> check_switch(const SwitchState& state);

// Lines of a bundle that makes the whole table right, by the rules of plan_changes() (flow_table.hpp).
std::vector<std::string> plan_bundle(const std::vector<Flow>& desired, const std::vector<FlowText>& observed);

// An ARP announcement in the endpoint's name (RFC 5227 section 3), out of all other ports of its net at this site; empty when there are none.
std::string announce_line(const World& world, const Endpoint& endpoint, const std::vector<Endpoint>& all);

}  // namespace blanket::net
