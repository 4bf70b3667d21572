// SPDX-License-Identifier: GPL-2.0-or-later
// See redirect.hpp.
#include "net/redirect.hpp"

namespace blanket::net {
namespace {
constexpr std::uint64_t number(Table table) { return static_cast<std::uint64_t>(table); }
}  // namespace

using enum Action::Op;

Flow ingress_flow(const Endpoint& endpoint, std::uint32_t tunnel) {
    Flow flow{.table = Table::kTunnelIngress, .priority = 100, .epoch = endpoint.epoch, .match = {}, .actions = {{kGoto, number(Table::kSourceGroup)}}};
    flow.match.metadata = endpoint.vni;
    flow.match.tun_src = tunnel;
    flow.match.ether_type = EtherType::kIpv4;
    flow.match.eth_src = endpoint.mac;
    flow.match.ip_src = endpoint.ip;
    return flow;
}

std::vector<Flow> redirect_flows(const Endpoint& endpoint, std::uint32_t tunnel_port) {
    if (endpoint.redirect == 0 || tunnel_port == 0) return {};
    Flow away{.table = Table::kLocal, .priority = 200, .epoch = endpoint.epoch, .hard_timeout = kRedirectSeconds, .match = {}, .actions = {}};
    away.match.metadata = endpoint.vni;
    away.match.ether_type = EtherType::kIpv4;
    away.match.eth_dst = endpoint.mac;
    away.actions = {{kForgetInPort}, {kSetTunnelId, endpoint.vni}, {kSetTunnelDst, endpoint.redirect}, {kOutput, tunnel_port}};
    Flow hear = ingress_flow(endpoint, endpoint.redirect);
    hear.hard_timeout = kRedirectSeconds;
    return {std::move(away), std::move(hear)};
}

std::vector<Flow> relay_flows(const Endpoint& endpoint) {
    if (endpoint.relay == 0) return {};
    Flow hear{.table = Table::kTunnelIngress, .priority = 50, .epoch = endpoint.epoch, .match = {}, .actions = {{kGoto, number(Table::kSourceGroup)}}};
    hear.match.metadata = endpoint.vni;
    hear.match.tun_src = endpoint.relay;
    hear.match.ether_type = EtherType::kIpv4;
    hear.match.eth_dst = endpoint.mac;
    Flow gateway{.table = Table::kTunnelIngress, .priority = 60, .match = {}, .actions = {}};
    gateway.match.metadata = endpoint.vni;
    gateway.match.eth_src = gateway_mac(endpoint.vni);
    return {std::move(hear), std::move(gateway)};
}

std::vector<Flow> hold_flows(const Endpoint& endpoint) {
    std::vector<Flow> flows;
    if (!endpoint.hold) return flows;
    if (endpoint.holding) {
        Flow wait{.table = Table::kLocal, .priority = 150, .epoch = endpoint.epoch, .match = {}, .actions = {{kOutput, *endpoint.hold}}};
        wait.match.metadata = endpoint.vni;
        wait.match.ether_type = EtherType::kIpv4;
        wait.match.eth_dst = endpoint.mac;
        flows.push_back(std::move(wait));
    }
    if (endpoint.port) {
        Flow out{.table = Table::kClassify, .priority = 100, .epoch = endpoint.epoch, .match = {}, .actions = {{kOutput, *endpoint.port}}};
        out.match.in_port = *endpoint.hold;
        out.match.ether_type = EtherType::kIpv4;
        out.match.eth_dst = endpoint.mac;
        flows.push_back(std::move(out));
    }
    return flows;
}

}  // namespace blanket::net
