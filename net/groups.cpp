// SPDX-License-Identifier: GPL-2.0-or-later
// See groups.hpp.
#include "net/groups.hpp"

#include <algorithm>

namespace blanket::net {
namespace {

static_assert(kMaxGroups <= 31);

Match in_net(std::uint32_t vni) {
    Match match;
    match.metadata = vni;
    match.ether_type = EtherType::kIpv4;
    return match;
}

Flow entry(Table table, std::uint16_t priority, Match match, std::vector<Action> actions) {
    return {.table = table, .priority = priority, .match = std::move(match), .actions = std::move(actions)};
}

Action on_to(Table table) { return {Action::Op::kGoto, static_cast<std::uint64_t>(table)}; }

std::uint32_t bit_of(const Net& net, const std::string& group) {
    const auto at = std::ranges::find(net.groups, group, &SecurityGroup::name);
    return at == net.groups.end() ? 0 : 1u << (at - net.groups.begin());
}

void add_rule(std::vector<Flow>& flows, const Net& net, std::uint32_t group, const SecurityRule& rule) {
    Match match = in_net(net.vni);
    (rule.ingress ? match.target_groups : match.source_groups) = group;
    if (!rule.remote_group.empty()) {
        const std::uint32_t remote = bit_of(net, rule.remote_group);
        if (remote == 0) return;  // a group that is gone lets nobody through
        (rule.ingress ? match.source_groups : match.target_groups) = remote;
    } else if (!rule.remote.empty()) {
        const auto remote = parse_remote(rule.remote);
        if (!remote) return;
        if (remote->prefix != 0) {
            (rule.ingress ? match.ip_src : match.ip_dst) = remote->base;
            (rule.ingress ? match.ip_src_prefix : match.ip_dst_prefix) = remote->prefix;
        }
    }
    if (rule.proto != RuleProto::kAny) match.ip_proto = static_cast<IpProto>(rule.proto);
    match.tcp_ack = rule.established;
    const Table table = rule.ingress ? Table::kIngress : Table::kEgress;
    const Action pass = on_to(rule.ingress ? Table::kRemote : Table::kIngress);
    if (rule.first_port == 0) {
        flows.push_back(entry(table, 100, match, {pass}));
        return;
    }
    for (const auto& [value, mask] : port_masks(rule.first_port, rule.last_port)) {
        match.l4_dst = value;
        match.l4_dst_mask = mask;
        flows.push_back(entry(table, 100, match, {pass}));
    }
}

}  // namespace

std::vector<std::pair<std::uint16_t, std::uint16_t>> port_masks(std::uint16_t first, std::uint16_t last) {
    std::vector<std::pair<std::uint16_t, std::uint16_t>> out;
    for (std::uint32_t at = first; at <= last;) {
        std::uint32_t size = 1;  // the largest block that begins here and ends in the range
        while (at % (size * 2) == 0 && at + size * 2 - 1 <= last && size < 0x8000) size *= 2;
        out.emplace_back(static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(0x1'0000 - size));
        at += size;
    }
    return out;
}

Membership membership(const Net& net) {
    Membership out{.groups = !net.groups.empty(), .of_vm = {}};
    for (std::size_t i = 0; i < std::min(net.groups.size(), kMaxGroups); ++i) {
        if (net.groups[i].everybody) out.of_everybody |= 1u << i | kInSomeGroup;
        for (const auto& uuid : net.groups[i].vms) out.of_vm[uuid] |= 1u << i | kInSomeGroup;
    }
    return out;
}

std::vector<Flow> member_flows(const Endpoint& endpoint, const Membership& groups) {
    std::vector<Flow> flows;
    if (!groups.groups) return flows;
    const auto own = groups.of_vm.find(endpoint.uuid);
    const std::uint32_t bits = groups.of_everybody | (own == groups.of_vm.end() ? 0 : own->second);
    if (bits != 0) {
        Match from = in_net(endpoint.vni);
        from.ip_src = endpoint.ip;
        flows.push_back(entry(Table::kSourceGroup, 100, from, {{Action::Op::kSourceGroups, bits}, on_to(Table::kTargetGroup)}));
    }
    Match to = in_net(endpoint.vni);  // rules name addresses, delivery goes by MAC: they must be the same VM's
    to.eth_dst = endpoint.mac;
    to.ip_dst = endpoint.ip;
    std::vector<Action> actions{on_to(Table::kEgress)};
    if (bits != 0) actions.insert(actions.begin(), {Action::Op::kTargetGroups, bits});
    flows.push_back(entry(Table::kTargetGroup, 100, to, std::move(actions)));
    return flows;
}

std::vector<Flow> rule_flows(const Net& net) {
    std::vector<Flow> flows;
    if (net.groups.empty()) return flows;
    flows.push_back(entry(Table::kTargetGroup, 50, in_net(net.vni), {}));
    for (std::size_t i = 0; i < std::min(net.groups.size(), kMaxGroups); ++i)
        for (const auto& rule : net.groups[i].rules) add_rule(flows, net, 1u << i, rule);
    Match from = in_net(net.vni), to = in_net(net.vni);
    from.source_groups = to.target_groups = kInSomeGroup;
    flows.push_back(entry(Table::kEgress, 50, from, {}));
    flows.push_back(entry(Table::kIngress, 50, to, {}));
    return flows;
}

std::vector<Flow> group_flows(const Net& net, const std::vector<Endpoint>& endpoints) {
    std::vector<Flow> flows = rule_flows(net);
    const Membership groups = membership(net);
    for (const auto& endpoint : endpoints)
        if (endpoint.vni == net.vni) std::ranges::move(member_flows(endpoint, groups), std::back_inserter(flows));
    return flows;
}

}  // namespace blanket::net
