// SPDX-License-Identifier: GPL-2.0-or-later
// See relay.hpp.
#include "net/relay.hpp"

#include <algorithm>
#include <tuple>

#include "net/path_mtu.hpp"

namespace blanket::net {
namespace {

std::uint32_t trip_ms(const Site& relay, const Site& end) {
    const auto heard = relay.heard.find(end.name);
    return heard == relay.heard.end() || heard->second.rtt_ms == 0 ? kUnknownTripMs : heard->second.rtt_ms;
}

bool hear_each_other(const Site& a, const Site& b) { return a.heard.contains(b.name) && b.heard.contains(a.name); }

}  // namespace

Shares shares_of(const std::vector<Net>& nets, const std::vector<VmRecord>& vms) {
    Shares out;
    for (const auto& vm : vms) {
        if (vm.phase == Phase::kDeleting) continue;
        for (const auto& nic : vm.nics) {
            auto& names = out[nic.net];
            names.insert(vm.owner);
            if (vm.standby) names.insert(vm.standby->site);
            if (vm.migration) names.insert(vm.migration->target);
        }
    }
    for (const auto& net : nets)
        for (const auto& anchor : net.anchors)
            if (!anchor.ports.empty()) out[net.name].insert(anchor.site);
    return out;
}

bool share_a_network(const std::string& a, const std::string& b, const Shares& shares) {
    return std::ranges::any_of(shares, [&](const auto& net) { return net.second.contains(a) && net.second.contains(b); });
}

bool are_apart(const Site& a, const Site& b) {
    return a.name != b.name && !a.heard.empty() && !b.heard.empty() && !a.heard.contains(b.name) && !b.heard.contains(a.name);
}

std::vector<Relay> relays_between(const Site& a, const Site& b, const std::vector<Site>& sites) {
    std::vector<Relay> out;
    if (!are_apart(a, b)) return out;
    std::vector<std::string> quiet;
    const auto usable = surroundings({}, sites, quiet).tunnels;
    if (!usable.contains(a.name) || !usable.contains(b.name)) return out;
    for (const auto& site : sites)
        if (usable.contains(site.name) && hear_each_other(site, a) && hear_each_other(site, b)) out.push_back({site.name, site.index, trip_ms(site, a) + trip_ms(site, b)});
    std::ranges::sort(out, {}, [](const Relay& relay) { return std::tuple(relay.cost_ms, relay.index); });
    if (out.size() > kRelaysOfAPair) out.resize(kRelaysOfAPair);
    return out;
}

std::vector<Relay> relays_for(const Site& a, const Site& b, const std::vector<Site>& sites, const Shares& shares) {
    if (!are_apart(a, b) || !share_a_network(a.name, b.name, shares)) return {};
    return relays_between(a, b, sites);
}

std::vector<RelayedPair> relayed_by(const std::string& here, const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) {
    std::vector<RelayedPair> out;
    const auto self = std::ranges::find(sites, here, &Site::name);
    if (self == sites.end()) return out;
    std::vector<const Site*> heard;
    for (const auto& site : sites)
        if (hear_each_other(*self, site)) heard.push_back(&site);
    std::optional<Shares> shares;  // made for the first pair that is apart: mostly there is none
    for (std::size_t i = 0; i < heard.size(); ++i)
        for (std::size_t j = i + 1; j < heard.size(); ++j) {
            if (!are_apart(*heard[i], *heard[j])) continue;
            if (!shares) shares = shares_of(nets, vms);
            if (std::ranges::contains(relays_for(*heard[i], *heard[j], sites, *shares), here, &Relay::site))
                out.push_back({self->index, std::min(heard[i]->index, heard[j]->index), std::max(heard[i]->index, heard[j]->index)});
        }
    std::ranges::sort(out);
    if (out.size() > kMostRelayedPairs) out.resize(kMostRelayedPairs);
    return out;
}

std::vector<RelayedWay> relayed_to(const std::string& here, const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) {
    std::vector<RelayedWay> out;
    const auto self = std::ranges::find(sites, here, &Site::name);
    if (self == sites.end()) return out;
    std::optional<Shares> shares;
    for (const auto& other : sites) {
        if (!are_apart(*self, other)) continue;
        if (!shares) shares = shares_of(nets, vms);
        for (const auto& relay : relays_for(*self, other, sites, *shares)) out.push_back({relay.index, other.index});
    }
    std::ranges::sort(out);
    return out;
}

std::string relay_endpoint(std::uint32_t relay, std::uint32_t other) { return std::format("{}:{}", wireguard_address(relay), kRelayPort + other); }

std::optional<std::uint32_t> relay_of_endpoint(std::string_view endpoint) {
    const auto parsed = parse_ipv4_port(endpoint);
    if (!parsed || !is_tunnel_address(parsed->ip) || (parsed->ip & 255) != 1 || parsed->port <= kRelayPort || parsed->port > kRelayPort + 254) return std::nullopt;
    return parsed->ip >> 8 & 255;
}

PairMtu pair_mtu(const Site& a, const Site& b, const std::vector<Site>& sites) {
    const auto clamped = [](std::uint32_t mtu) { return std::max(mtu, kSmallestPathMtu); };  // a site cannot bound more than IPv6 asks of every link
    const auto relays = relays_between(a, b, sites);
    if (relays.empty()) {
        const auto path = path_mtu(a, b);
        return {path ? std::optional(clamped(*path)) : std::nullopt, {}};
    }
    PairMtu out;
    for (const auto& one : relays) {
        const auto relay = std::ranges::find(sites, one.site, &Site::name);
        const auto narrower = std::min(path_mtu(a, *relay).value_or(kUplinkMtu), path_mtu(*relay, b).value_or(kUplinkMtu));
        const std::uint32_t left = clamped(narrower) - kWireGuardOverhead;
        if (!out.mtu || left < *out.mtu) out = {left, relay->name};
    }
    return out;
}

}  // namespace blanket::net
