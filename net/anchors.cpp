// SPDX-License-Identifier: GPL-2.0-or-later
// See anchors.hpp.
#include "net/anchors.hpp"

#include <algorithm>

#include "net/redirect.hpp"

namespace blanket::net {
namespace {

using enum Action::Op;

constexpr std::uint8_t kUnreachable = 3;  // ICMP: also "fragmentation needed"

Action on(Table table) { return {kGoto, static_cast<std::uint64_t>(table)}; }

// Another net with addresses of this one.
const Net* twin_of(const World& world, const Net& net) {
    const auto own = parse_cidr(net.cidr);
    for (const auto& other : world.nets)
        if (const auto cidr = parse_cidr(other.cidr); other.name != net.name && own && cidr && overlap(*own, *cidr)) return &other;
    return nullptr;
}

// What goes from the anchor to the VM's port, or comes back from it, and ICMP's errors about it.
Match between(const AnchorPoint& anchor, const AnchorPort& port, bool back, bool error) {
    Match match;
    match.ether_type = EtherType::kIpv4;
    match.ip_proto = error ? IpProto::kIcmp : port.proto;
    (back ? match.ip_src : match.ip_dst) = port.ip;
    (back ? match.ip_dst : match.ip_src) = anchor.ip;
    if (error) match.icmp_type = kUnreachable;
    else (back ? match.l4_src : match.l4_dst) = port.to;
    return match;
}

}  // namespace

Mac anchor_mac(std::uint32_t site_index) { return Mac{0x02005f} << 24 | (site_index & 0xff'ffff); }

AnchorClaims anchor_claims(const std::vector<Net>& nets) {
    AnchorClaims claims;
    for (const auto& net : nets)
        for (const auto& anchor : net.anchors)
            for (const auto& port : anchor.ports) ++claims[{anchor.site, port.proto, port.port}];
    return claims;
}

std::vector<AnchorPoint> anchors_of(const Net& net, const World& world, const Surroundings& around, const AnchorClaims& claims, const std::vector<Endpoint>& endpoints, std::vector<std::string>& warnings) {
    std::vector<AnchorPoint> out;
    if (net.anchors.empty() || !around.nets.contains(net.name)) return out;
    if (const Net* twin = twin_of(world, net); twin != nullptr) {
        warnings.push_back(std::format("nothing of network '{}' is public: network '{}' has addresses of it too, and a host has one routing table", net.name, twin->name));
        return out;
    }
    for (const auto& anchor : net.anchors) {
        const auto site = std::ranges::find(world.sites, anchor.site, &Site::name);
        const auto tunnel = around.tunnels.find(anchor.site);
        const std::uint32_t owner = tunnel == around.tunnels.end() ? 0 : tunnel->second;
        const auto ip = parse_ipv4(anchor.ip);
        const bool local = anchor.site == world.site;
        if (site == world.sites.end() || !ip || (owner == 0 && !local)) {
            warnings.push_back(std::format("the anchor of network '{}' at site '{}' is left out: no tunnel leads there", net.name, anchor.site));
            continue;
        }
        AnchorPoint point{.vni = net.vni, .net = net.name, .site = anchor.site, .mac = anchor_mac(site->index), .ip = *ip, .local = local, .owner = owner, .groups = !net.groups.empty(), .ports = {}};
        if (std::ranges::any_of(endpoints, [&](const Endpoint& one) { return one.vni == net.vni && (one.ip == point.ip || one.mac == point.mac); })) {
            warnings.push_back(std::format("the anchor of network '{}' at site '{}' is left out: a VM has its address {} or MAC {}", net.name, anchor.site, anchor.ip, format_mac(point.mac)));
            continue;
        }
        for (const auto& port : anchor.ports) {
            if (claims.at({anchor.site, port.proto, port.port}) > 1) {
                warnings.push_back(std::format("public port {} at site '{}' is left out: two networks claim it; blanket net unexpose one of them", to_text(port), anchor.site));
                continue;
            }
            const auto endpoint = std::ranges::find_if(endpoints, [&](const Endpoint& one) { return one.vni == net.vni && one.uuid == port.vm; });
            if (endpoint == endpoints.end()) continue;
            point.ports.push_back({port.vm, endpoint->name, endpoint->mac, endpoint->ip, static_cast<IpProto>(port.proto), port.port, port.to});
        }
        out.push_back(std::move(point));
    }
    std::ranges::sort(out, {}, &AnchorPoint::site);
    return out;
}

std::vector<AnchorPoint> plan_anchors(const World& world, const std::vector<Endpoint>& endpoints, std::vector<std::string>& warnings) {
    std::vector<AnchorPoint> out;
    if (std::ranges::all_of(world.nets, [](const Net& net) { return net.anchors.empty(); })) return out;
    std::vector<std::string> quiet;  // resolve() reports the nets and sites already
    const Surroundings around = surroundings(world.nets, world.sites, quiet);
    const AnchorClaims claims = anchor_claims(world.nets);
    for (const auto& net : world.nets) std::ranges::move(anchors_of(net, world, around, claims, endpoints, warnings), std::back_inserter(out));
    std::ranges::sort(out, [](const AnchorPoint& a, const AnchorPoint& b) { return std::tie(a.vni, a.site) < std::tie(b.vni, b.site); });
    return out;
}

std::vector<Flow> anchor_flows(const AnchorPoint& anchor, std::uint32_t tunnel, std::optional<std::uint32_t> gateway) {
    std::vector<Flow> flows;
    const auto add = [&](Table table, std::uint16_t priority, Match match, std::vector<Action> actions) {
        flows.push_back({.table = table, .priority = priority, .match = std::move(match), .actions = std::move(actions)});
    };
    Match ask;
    ask.metadata = anchor.vni;
    ask.ether_type = EtherType::kArp;
    ask.arp_op = 1;
    ask.arp_tpa = anchor.ip;
    add(Table::kArp, 100, ask, {{kArpReply, anchor.mac, anchor.ip}});
    if (anchor.groups) {  // no VM, so in no group; the VM's own groups say what passes
        Match to;
        to.metadata = anchor.vni;
        to.ether_type = EtherType::kIpv4;
        to.eth_dst = anchor.mac;
        to.ip_dst = anchor.ip;
        add(Table::kTargetGroup, 100, to, {on(Table::kEgress)});
    }
    if (!anchor.local) {
        Endpoint speaker{.vni = anchor.vni, .mac = anchor.mac, .ip = anchor.ip, .uuid = {}, .name = {}, .port = {}, .hold = {}};
        if (tunnel != 0) flows.push_back(ingress_flow(speaker, anchor.owner));
    }
    for (const auto& port : anchor.ports)
        for (const bool error : {false, true}) {
            if (anchor.local && gateway) {
                Match in = between(anchor, port, false, error);
                in.in_port = *gateway;
                in.eth_src = gateway_mac(anchor.vni);
                in.eth_dst = port.mac;
                add(Table::kClassify, 110, in, {{kSetMetadata, anchor.vni}, {kSetEthSrc, anchor.mac}, on(Table::kSourceGroup)});
            }
            Match back = between(anchor, port, true, error);
            back.metadata = anchor.vni;
            back.eth_dst = anchor.mac;
            if (anchor.local && gateway) add(Table::kLocal, 100, back, {{kSetEthDst, gateway_mac(anchor.vni)}, {kOutput, *gateway}});
            if (!anchor.local && tunnel != 0) add(Table::kRemote, 100, back, {{kSetTunnelId, anchor.vni}, {kSetTunnelDst, anchor.owner}, {kOutput, tunnel}});
        }
    return flows;
}

}  // namespace blanket::net
