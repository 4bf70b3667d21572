// SPDX-License-Identifier: GPL-2.0-or-later
// The flows of the overlay, table by table; the drawing is in README.md. Part of model.hpp.
#include <algorithm>

#include "net/anchors.hpp"
#include "net/groups.hpp"
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
void add_gateway(std::vector<Flow>& flows, const GatewayPort& gateway, std::uint32_t port, const std::vector<Endpoint>& endpoints) {
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

    std::vector<Action> everybody;
    for (const auto& endpoint : endpoints) {
        if (endpoint.vni != vni || !endpoint.port || !endpoint.local) continue;
        everybody.push_back({kOutput, *endpoint.port});
        Match one = ipv4(vni);
        one.eth_dst = endpoint.mac;
        one.ip_dst = endpoint.ip;
        flows.push_back(make(Table::kGateway, 100, one, {{kOutput, *endpoint.port}}, endpoint.epoch));
    }
    if (everybody.empty()) return;
    std::ranges::sort(everybody, {}, &Action::value);
    Match offer = udp(vni, kDhcpServer, kDhcpClient);
    offer.eth_dst = kBroadcastMac;
    flows.push_back(make(Table::kGateway, 100, offer, std::move(everybody)));
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

void add_endpoint(std::vector<Flow>& flows, const Endpoint& endpoint, std::uint32_t tunnel) {
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

// The networks that have business at this site: a VM here, coming or just gone, or an anchor. Of the others it keeps no entry, however many VMs they have.
std::set<std::uint32_t> nets_here(const std::vector<Endpoint>& endpoints, const std::vector<AnchorPoint>& anchors) {
    std::set<std::uint32_t> out;
    for (const auto& endpoint : endpoints)
        if (endpoint.local || endpoint.port || endpoint.hold || endpoint.relay != 0 || endpoint.redirect != 0) out.insert(endpoint.vni);
    for (const auto& anchor : anchors)
        if (anchor.local) out.insert(anchor.vni);
    return out;
}

}  // namespace

std::vector<Flow> plan_flows(const World& world, std::vector<std::string>& warnings) {
    const auto endpoints = resolve(world, warnings);
    std::vector<std::string> quiet;
    const auto gateways = plan_gateways(world.nets, quiet);
    std::vector<Flow> flows;
    add_always(flows, world.ports.tunnel);
    const auto anchors = plan_anchors(world, endpoints, warnings);
    const auto here = nets_here(endpoints, anchors);
    for (const auto& gateway : gateways) {
        if (!here.contains(gateway.vni)) continue;
        add_net(flows, gateway);
        if (const auto port = world.ports.gateways.find(gateway.vni); port != world.ports.gateways.end())
            add_gateway(flows, gateway, port->second, endpoints);
    }
    for (const auto& endpoint : endpoints)
        if (here.contains(endpoint.vni)) add_endpoint(flows, endpoint, world.ports.tunnel);
    for (const auto& anchor : anchors) {
        if (!here.contains(anchor.vni)) continue;
        const auto port = world.ports.gateways.find(anchor.vni);
        for (auto& flow : anchor_flows(anchor, world.ports.tunnel, port == world.ports.gateways.end() ? std::nullopt : std::optional(port->second))) flows.push_back(std::move(flow));
    }
    for (const auto& net : world.nets)
        if (here.contains(net.vni) && std::ranges::find(gateways, net.vni, &GatewayPort::vni) != gateways.end())
            for (auto& flow : group_flows(net, endpoints)) flows.push_back(std::move(flow));

    struct Keyed {
        std::string match;
        Flow flow;
    };
    std::vector<Keyed> keyed;
    keyed.reserve(flows.size());
    for (auto& flow : flows) keyed.push_back({match_text(flow.match), std::move(flow)});
    // The higher epoch comes first among equals, and the entry without a time limit before the one with.
    std::ranges::sort(keyed, [](const Keyed& a, const Keyed& b) {
        return std::tie(a.flow.table, b.flow.priority, a.match, b.flow.epoch, a.flow.hard_timeout) < std::tie(b.flow.table, a.flow.priority, b.match, a.flow.epoch, b.flow.hard_timeout);
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
