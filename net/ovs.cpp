// SPDX-License-Identifier: GPL-2.0-or-later
// Plans against Open vSwitch; see ovs.hpp.
#include "net/ovs.hpp"

#include <algorithm>
#include <unordered_map>

namespace blanket::net {
namespace {

const Interface* find(const SwitchState& state, std::string_view name) {
    for (const auto& interface : state.interfaces)
        if (interface.name == name) return &interface;
    return nullptr;
}

// The NIC that an entry of the destination or ingress tables speaks for: "metadata=..,dl_dst=.." (dl_src at the ingress); empty for others.
std::string subject(const FlowText& flow) {
    const auto table = static_cast<Table>(flow.table);
    std::string_view field;
    if (table == Table::kRemote || table == Table::kLocal || table == Table::kGateway) field = "dl_dst=";
    if (table == Table::kTunnelIngress) field = "dl_src=";
    if (field.empty()) return {};
    std::string net, mac;
    for (const auto& part : flow.match) {
        if (part.starts_with("metadata=")) net = part;
        if (part.starts_with(field)) mac = part.substr(field.size());
    }
    return net.empty() || mac.empty() ? std::string() : net + ' ' + mac;
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
    std::unordered_map<std::string, const FlowText*> present;
    std::unordered_map<std::string, std::uint64_t> installed, wanted;  // highest epoch by NIC
    for (const auto& flow : observed) {
        present.emplace(flow.key(), &flow);
        if (const auto nic = subject(flow); !nic.empty()) installed[nic] = std::max(installed[nic], flow.epoch());
    }
    std::vector<std::pair<FlowText, const Flow*>> texts;
    texts.reserve(desired.size());
    for (const auto& flow : desired) {
        texts.emplace_back(to_flow_text(flow), &flow);
        const auto& text = texts.back().first;
        if (const auto nic = subject(text); !nic.empty()) wanted[nic] = std::max(wanted[nic], text.epoch());
    }
    const auto stale = [&](const std::string& nic) {
        const auto want = wanted.find(nic);
        return !nic.empty() && want != wanted.end() && installed[nic] > want->second;
    };
    std::vector<std::string> lines;
    std::unordered_map<std::string, bool> keep;
    for (const auto& [text, flow] : texts) {
        const std::string key = text.key();
        keep[key] = true;
        const auto at = present.find(key);
        if (at != present.end() && (at->second->epoch() > text.epoch() ||
                                    (at->second->cookie == text.cookie && at->second->actions == text.actions)))
            continue;
        if (stale(subject(text))) continue;
        lines.push_back("flow add " + flow_text(*flow));
    }
    for (const auto& flow : observed) {
        if (keep.contains(flow.key()) || stale(subject(flow))) continue;
        std::string line = std::format("flow delete_strict table={},priority={}", flow.table, flow.priority);
        for (const auto& field : flow.match) line += ',' + field;
        lines.push_back(std::move(line));
    }
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
