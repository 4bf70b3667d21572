// SPDX-License-Identifier: GPL-2.0-or-later
// Plans against Open vSwitch; see ovs.hpp.
#include "net/ovs.hpp"

#include <algorithm>

#include "net/flow_table.hpp"

namespace blanket::net {
namespace {

const Interface* find(const SwitchState& state, std::string_view name) {
    for (const auto& interface : state.interfaces)
        if (interface.name == name) return &interface;
    return nullptr;
}

}  // namespace

std::vector<Argv> plan_switch(const SwitchState& state, const std::vector<GatewayPort>& gateways, std::uint32_t underlay,
                              const std::string& datapath, const std::set<std::string>& holds) {
    std::vector<Argv> steps;
    if (!state.bridge) steps.push_back({"--may-exist", "add-br", kBridge});
    if (!state.bridge || state.fail_mode != "secure" || state.datapath != datapath)
        steps.push_back({"set", "Bridge", kBridge, "datapath_type=" + datapath, "fail_mode=secure",
                         "protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15"});
    if (underlay != 0) {
        const std::map<std::string, std::string> options{{"key", "flow"}, {"local_ip", format_ipv4(underlay)}, {"remote_ip", "flow"}};
        const Interface* tunnel = find(state, kTunnelPort);
        if (tunnel == nullptr || tunnel->type != "vxlan" || tunnel->options != options) {
            steps.push_back({"--may-exist", "add-port", kBridge, kTunnelPort});
            Argv set{"set", "Interface", kTunnelPort, "type=vxlan"};
            for (const auto& [key, value] : options) set.push_back(std::format("options:{}={}", key, value));
            steps.push_back(std::move(set));
        }
    }
    for (const auto& gateway : gateways) {
        const Interface* port = find(state, gateway.name);
        const std::string mac = format_mac(gateway.mac), id = std::format("{}", gateway.vni);
        if (port != nullptr && port->type == "internal" && port->mac == mac && port->mtu == gateway.mtu && port->ids.contains("blanket-gateway") &&
            port->ids.at("blanket-gateway") == id)
            continue;
        steps.push_back({"--may-exist", "add-port", kBridge, gateway.name});
        steps.push_back({"set", "Interface", gateway.name, "type=internal", std::format("mac=\"{}\"", mac), std::format("mtu_request={}", gateway.mtu),
                         "external_ids:blanket-gateway=" + id});
    }
    for (const auto& interface : state.interfaces)  // gateways of nets that are gone
        if (interface.ids.contains("blanket-gateway") && std::ranges::find(gateways, interface.name, &GatewayPort::name) == gateways.end())
            steps.push_back({"--if-exists", "del-port", kBridge, interface.name});
    for (const auto& interface : state.interfaces)
        if (interface.ids.contains("blanket-hold") && !holds.contains(interface.name))
            steps.push_back({"--if-exists", "del-port", kBridge, interface.name});
    for (const auto& interface : state.interfaces)  // OVSDB outlives the host: cards of guests from before its power was cut
        if (interface.ids.contains("vm-uuid") && interface.name.starts_with("vif") && interface.port <= 0 && interface.error.contains("No such device"))
            steps.push_back({"--if-exists", "del-port", kBridge, interface.name});
    return steps;
}

std::vector<Argv> plan_hold(const std::string& name, const std::string& uuid, const std::string& mac) {
    return {{"--may-exist", "add-port", kBridge, name},
            {"set", "Interface", name, "external_ids:blanket-hold=" + uuid, std::format("external_ids:vm-mac=\"{}\"", mac)}};
}

Result<void> check_switch(const SwitchState& state) {
    for (const auto& interface : state.interfaces)
        if ((interface.name == kTunnelPort || interface.ids.contains("blanket-gateway")) && (!interface.error.empty() || interface.port <= 0))
            return fail_hint(Kind::kIo, std::format("Open vSwitch could not make port '{}': {}", interface.name, interface.error),
                             "look at 'ovs-vsctl show', and at 'journalctl -u ovs-vswitchd' for a missing kernel module (openvswitch, vxlan)");
    return {};
}

std::vector<std::string> plan_bundle(const std::vector<Flow>& desired, const std::vector<FlowText>& observed) {
    PlannedTable planned;
    PlannedTable::Part all;
    std::vector<std::string> touched, lines;
    planned.give(all, desired, touched);
    for (const auto& change : plan_changes(planned, InstalledTable(observed))) lines.push_back(change.line());
    return lines;
}

std::string announce_line(const World& world, const Endpoint& endpoint, const std::vector<Endpoint>& all) {
    std::vector<std::uint32_t> ports;
    for (const auto& other : all)
        if (other.vni == endpoint.vni && other.port && other.local && other.port != endpoint.port) ports.push_back(*other.port);
    if (const auto gateway = world.ports.gateways.find(endpoint.vni); gateway != world.ports.gateways.end()) ports.push_back(gateway->second);
    if (ports.empty()) return {};
    std::ranges::sort(ports);
    const std::string packet = std::format("{:012x}{:012x}08060001080006040001{:012x}{:08x}{:012x}{:08x}", kBroadcastMac, endpoint.mac, endpoint.mac,
                                           endpoint.ip, 0, endpoint.ip);
    std::string line = std::format("packet-out in_port=controller,packet={},actions=", packet);
    for (std::size_t i = 0; i < ports.size(); ++i) line += std::format("{}output:{}", i == 0 ? "" : ",", ports[i]);
    return line;
}

}  // namespace blanket::net
