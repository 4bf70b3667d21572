// SPDX-License-Identifier: GPL-2.0-or-later
// See pipeline.hpp; the drawing is in README.md.
#include "net/pipeline.hpp"

#include <algorithm>

#include "net/redirect.hpp"

namespace blanket::net {
namespace {

using enum Action::Op;

constexpr std::uint16_t kDhcpServer = 67, kDhcpClient = 68;
constexpr std::uint8_t kEchoReply = 0, kEchoRequest = 8;

Action go(Table table) { return {kGoto, static_cast<std::uint64_t>(table)}; }

Flow make(Table table, std::uint16_t priority, Match match, std::vector<Action> actions, std::uint64_t epoch = 0) {
    return {.table = table, .priority = priority, .epoch = epoch, .match = std::move(match), .actions = std::move(actions)};
}

Match ipv4(std::uint32_t vni) {
    Match match;
    match.metadata = vni;
    match.ether_type = EtherType::kIpv4;
    return match;
}

Match udp(std::uint32_t vni, std::optional<std::uint16_t> from, std::optional<std::uint16_t> to) {
    Match match = ipv4(vni);
    match.ip_proto = IpProto::kUdp;
    match.l4_src = from;
    match.l4_dst = to;
    return match;
}

Match from_port(std::uint32_t port) {
    Match match;
    match.in_port = port;
    return match;
}

void add_always(std::vector<Flow>& flows, std::uint32_t tunnel) {
    for (std::uint8_t table = 0; table < kTables; ++table) {
        const auto number = static_cast<Table>(table);
        std::vector<Action> actions;  // drop
        if (number >= Table::kPolicy && number < Table::kLocal) actions = {go(static_cast<Table>(table + 1))};
        flows.push_back(make(number, 0, {}, std::move(actions)));
    }
    if (tunnel != 0) {
        flows.push_back(make(Table::kClassify, 100, from_port(tunnel), {{kTunnelMetadata}, go(Table::kTunnelIngress)}));
        flows.push_back(make(Table::kRemote, 300, from_port(tunnel), {go(Table::kLocal)}));  // what came by the tunnel leaves by it only through a redirect
    }
    for (const Cidr& range : kMetadataAddresses) {  // before all else, whatever a net's own addresses are
        Match match;
        match.ether_type = EtherType::kIpv4;
        match.ip_dst = range.base;
        match.ip_dst_prefix = range.prefix;
        flows.push_back(make(Table::kPolicy, 500, match, {}));
    }
}

// What a VM may reach of this host, and what the host may send: see README.md, "The gateway".
void add_gateway(std::vector<Flow>& flows, const GatewayPort& gateway, std::uint32_t port) {
    const std::uint32_t vni = gateway.vni;
    Match arp = from_port(port);
    arp.ether_type = EtherType::kArp;
    arp.eth_src = gateway.mac;
    flows.push_back(make(Table::kClassify, 100, arp, {{kSetMetadata, vni}, go(Table::kArp)}));
    Match ip = from_port(port);
    ip.ether_type = EtherType::kIpv4;
    ip.eth_src = gateway.mac;
    ip.ip_src = gateway.ip;
    flows.push_back(make(Table::kClassify, 100, ip, {{kSetMetadata, vni}, go(Table::kGateway)}));

    const auto to_gateway = [&](Match match) {
        match.eth_dst = gateway.mac;
        match.ip_dst = gateway.ip;
        flows.push_back(make(Table::kPolicy, 400, std::move(match), {{kOutput, port}}));
    };
    Match discover = udp(vni, kDhcpClient, kDhcpServer);
    discover.eth_dst = kBroadcastMac;
    discover.ip_dst = 0xffff'ffff;  // nothing that the host would think of routing
    flows.push_back(make(Table::kPolicy, 400, discover, {{kOutput, port}}));
    to_gateway(udp(vni, kDhcpClient, kDhcpServer));
    for (const std::uint8_t type : {kEchoRequest, kEchoReply}) {
        Match icmp = ipv4(vni);
        icmp.ip_proto = IpProto::kIcmp;
        icmp.icmp_type = type;
        to_gateway(icmp);
    }
    Match answer = ipv4(vni);  // never a lone SYN: the host connects to VMs, VMs do not connect to the host
    answer.ip_proto = IpProto::kTcp;
    answer.tcp_ack = true;
    to_gateway(answer);
}

// Rules of a net that hold with and without a gateway port.
void add_net(std::vector<Flow>& flows, const GatewayPort& gateway) {
    Match ask;
    ask.metadata = gateway.vni;
    ask.ether_type = EtherType::kArp;
    ask.arp_op = 1;
    ask.arp_tpa = gateway.ip;
    flows.push_back(make(Table::kArp, 100, ask, {{kArpReply, gateway.mac, gateway.ip}}));
    Match rest;
    rest.metadata = gateway.vni;
    rest.eth_dst = gateway.mac;
    flows.push_back(make(Table::kPolicy, 300, rest, {}));
    flows.push_back(make(Table::kPolicy, 300, udp(gateway.vni, kDhcpServer, {}), {}));  // no VM plays DHCP server
    flows.push_back(make(Table::kPolicy, 300, udp(gateway.vni, {}, kDhcpServer), {}));
}

// What comes out of the VM's port.
void add_port(std::vector<Flow>& flows, const Endpoint& endpoint, std::uint32_t port) {
    const auto add = [&](Table table, std::uint16_t priority, const Match& match, std::vector<Action> actions) {
        flows.push_back(make(table, priority, match, std::move(actions), endpoint.epoch));
    };
    add(Table::kClassify, 100, from_port(port), {{kSetMetadata, endpoint.vni}, go(Table::kPortSecurity)});
    Match own = from_port(port);  // probes and announcements of its own address stop here
    own.ether_type = EtherType::kArp;
    own.arp_tpa = endpoint.ip;
    add(Table::kPortSecurity, 200, own, {});
    Match arp = from_port(port);
    arp.ether_type = EtherType::kArp;
    arp.eth_src = endpoint.mac;
    arp.arp_op = 1;
    arp.arp_sha = endpoint.mac;
    arp.arp_spa = endpoint.ip;
    add(Table::kPortSecurity, 100, arp, {go(Table::kArp)});
    Match ip = from_port(port);
    ip.ether_type = EtherType::kIpv4;
    ip.eth_src = endpoint.mac;
    ip.ip_src = endpoint.ip;
    add(Table::kPortSecurity, 100, ip, {go(Table::kPolicy)});
    Match discover = from_port(port);
    discover.ether_type = EtherType::kIpv4;
    discover.ip_proto = IpProto::kUdp;
    discover.eth_src = endpoint.mac;
    discover.eth_dst = kBroadcastMac;
    discover.ip_src = 0;
    discover.ip_dst = 0xffff'ffff;
    discover.l4_src = kDhcpClient;
    discover.l4_dst = kDhcpServer;
    add(Table::kPortSecurity, 100, discover, {go(Table::kPolicy)});
}

void add_endpoint(std::vector<Flow>& flows, const Endpoint& endpoint, std::uint32_t tunnel, std::optional<std::uint32_t> gateway) {
    Match ask;
    ask.metadata = endpoint.vni;
    ask.ether_type = EtherType::kArp;
    ask.arp_op = 1;
    ask.arp_tpa = endpoint.ip;
    flows.push_back(make(Table::kArp, 100, ask, {{kArpReply, endpoint.mac, endpoint.ip}}, endpoint.epoch));
    if (endpoint.port) add_port(flows, endpoint, *endpoint.port);
    if (endpoint.local) {
        Match here = ipv4(endpoint.vni);
        here.eth_dst = endpoint.mac;
        if (endpoint.port) flows.push_back(make(Table::kLocal, 100, here, {{kOutput, *endpoint.port}}, endpoint.epoch));
        here.ip_dst = endpoint.ip;
        if (endpoint.port && gateway) flows.push_back(make(Table::kGateway, 100, here, {{kOutput, *endpoint.port}}, endpoint.epoch));
    } else if (endpoint.owner != 0 && tunnel != 0) {
        Match there = ipv4(endpoint.vni);
        there.eth_dst = endpoint.mac;
        flows.push_back(make(Table::kRemote, 100, there, {{kSetTunnelId, endpoint.vni}, {kSetTunnelDst, endpoint.owner}, {kOutput, tunnel}},
                             endpoint.epoch));
        flows.push_back(ingress_flow(endpoint, endpoint.owner));
    }
    for (auto& flow : hold_flows(endpoint)) flows.push_back(std::move(flow));
    if (tunnel == 0) return;
    for (auto& flow : redirect_flows(endpoint, tunnel)) flows.push_back(std::move(flow));
    for (auto& flow : relay_flows(endpoint)) flows.push_back(std::move(flow));
}

}  // namespace

std::vector<Flow> site_flows(std::uint32_t tunnel) {
    std::vector<Flow> flows;
    add_always(flows, tunnel);
    return flows;
}

std::vector<Flow> network_flows(const Net& net, const GatewayPort& gateway, std::optional<std::uint32_t> port) {
    std::vector<Flow> flows;
    add_net(flows, gateway);
    if (port) add_gateway(flows, gateway, *port);
    std::ranges::move(rule_flows(net), std::back_inserter(flows));
    return flows;
}

std::vector<Flow> offer_flows(std::uint32_t vni, std::vector<std::uint32_t> ports) {
    if (ports.empty()) return {};
    std::ranges::sort(ports);
    Match offer = udp(vni, kDhcpServer, kDhcpClient);
    offer.eth_dst = kBroadcastMac;
    std::vector<Action> everybody;
    for (const std::uint32_t port : ports) everybody.push_back({kOutput, port});
    return {make(Table::kGateway, 100, offer, std::move(everybody))};
}

std::vector<Flow> endpoint_flows(const Endpoint& endpoint, std::uint32_t tunnel, std::optional<std::uint32_t> gateway, const Membership& groups) {
    std::vector<Flow> flows;
    add_endpoint(flows, endpoint, tunnel, gateway);
    std::ranges::move(member_flows(endpoint, groups), std::back_inserter(flows));
    return flows;
}

bool brings_network(const Endpoint& endpoint) { return endpoint.local || endpoint.port || endpoint.hold || endpoint.relay != 0 || endpoint.redirect != 0; }

std::set<std::uint32_t> networks_here(const std::vector<Endpoint>& endpoints, const std::vector<AnchorPoint>& anchors) {
    std::set<std::uint32_t> out;
    for (const auto& endpoint : endpoints)
        if (brings_network(endpoint)) out.insert(endpoint.vni);
    for (const auto& anchor : anchors)
        if (anchor.local) out.insert(anchor.vni);
    return out;
}

bool gets_offers(const Endpoint& endpoint) { return endpoint.local && endpoint.port; }

bool outranks(const Flow& a, const Flow& b) {
    if (a.epoch != b.epoch) return a.epoch > b.epoch;
    if (a.hard_timeout != b.hard_timeout) return a.hard_timeout < b.hard_timeout;
    return actions_text(a.actions) < actions_text(b.actions);  // whichever, but always the same
}

std::vector<Flow> plan_flows(const World& world, std::vector<std::string>& warnings) {
    const auto endpoints = resolve(world, warnings);
    const auto anchors = plan_anchors(world, endpoints, warnings);
    const auto here = networks_here(endpoints, anchors);
    std::vector<std::string> quiet;
    std::map<std::uint32_t, GatewayPort> gateways;  // of networks that can be used
    for (auto& gateway : plan_gateways(world.nets, quiet)) gateways.emplace(gateway.vni, std::move(gateway));
    const auto port_of = [&](std::uint32_t vni) {
        const auto port = world.ports.gateways.find(vni);
        return port == world.ports.gateways.end() ? std::nullopt : std::optional(port->second);
    };
    std::map<std::uint32_t, Membership> groups;
    std::map<std::uint32_t, std::vector<std::uint32_t>> offered;

    std::vector<Flow> flows = site_flows(world.ports.tunnel);
    const auto add = [&](std::vector<Flow> more) { std::ranges::move(more, std::back_inserter(flows)); };
    for (const auto& net : world.nets) {
        const auto gateway = gateways.find(net.vni);
        if (gateway == gateways.end() || !here.contains(net.vni)) continue;
        groups.emplace(net.vni, membership(net));
        add(network_flows(net, gateway->second, port_of(net.vni)));
    }
    for (const auto& endpoint : endpoints) {
        if (!here.contains(endpoint.vni)) continue;
        add(endpoint_flows(endpoint, world.ports.tunnel, port_of(endpoint.vni), groups[endpoint.vni]));
        if (gets_offers(endpoint) && port_of(endpoint.vni)) offered[endpoint.vni].push_back(*endpoint.port);
    }
    for (auto& [vni, ports] : offered) add(offer_flows(vni, std::move(ports)));
    for (const auto& anchor : anchors)
        if (here.contains(anchor.vni)) add(anchor_flows(anchor, world.ports.tunnel, port_of(anchor.vni)));

    struct Keyed {
        std::string match;
        Flow flow;
    };
    std::vector<Keyed> keyed;
    keyed.reserve(flows.size());
    for (auto& flow : flows) keyed.push_back({match_text(flow.match), std::move(flow)});
    std::ranges::sort(keyed, [](const Keyed& a, const Keyed& b) {
        const auto one = std::tie(a.flow.table, b.flow.priority, a.match), other = std::tie(b.flow.table, a.flow.priority, b.match);
        return one != other ? one < other : outranks(a.flow, b.flow);
    });
    std::vector<Flow> out;
    out.reserve(keyed.size());
    const std::string* last = nullptr;
    for (auto& entry : keyed) {
        if (!out.empty() && out.back().table == entry.flow.table && out.back().priority == entry.flow.priority && *last == entry.match) continue;
        out.push_back(std::move(entry.flow));
        last = &entry.match;
    }
    return out;
}

}  // namespace blanket::net
