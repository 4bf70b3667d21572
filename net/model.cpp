// SPDX-License-Identifier: GPL-2.0-or-later
// Records into checked endpoints, gateway ports and WireGuard peers; see model.hpp. The flows are in pipeline.cpp.
#include "net/model.hpp"

#include <algorithm>
#include <tuple>

#include "net/relay.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

// Tunnel addresses of the usable sites. A doubled index would let two sites speak for each other: neither is used.
std::map<std::string, std::uint32_t> tunnel_addresses(const std::vector<Site>& sites, std::vector<std::string>& warnings) {
    std::map<std::uint32_t, unsigned> uses;
    for (const auto& site : sites)
        if (site.state != kRevoked) ++uses[site.index];
    std::map<std::string, std::uint32_t> out;
    for (const auto& site : sites) {
        if (site.role == "witness" || site.index == 0 || site.state == kRevoked) continue;
        if (site.index > 254 || uses[site.index] > 1) {
            warnings.push_back(std::format("site '{}' is left out: its index {} is out of range or taken twice", site.name, site.index));
            continue;
        }
        out[site.name] = 10u << 24 | 213u << 16 | site.index << 8 | 1u;
    }
    return out;
}

std::map<std::string, Surroundings::NetFacts> usable_nets(const std::vector<Net>& nets, std::vector<std::string>& warnings) {
    std::map<std::uint32_t, unsigned> uses;
    for (const auto& net : nets) ++uses[net.vni];
    std::map<std::string, Surroundings::NetFacts> out;
    for (const auto& net : nets) {
        const auto cidr = parse_cidr(net.cidr);
        const auto gateway = parse_ipv4(net.gateway);
        if (!cidr || !gateway || net.vni == 0 || net.vni > 0xff'ffff || uses[net.vni] > 1) {
            warnings.push_back(std::format("net '{}' is left out: VNI {}, CIDR '{}' or gateway '{}' cannot be used", net.name, net.vni, net.cidr,
                                           net.gateway));
            continue;
        }
        out[net.name] = {net.vni, *gateway, *cidr};
    }
    return out;
}

}  // namespace

Mac gateway_mac(std::uint32_t vni) { return Mac{0x02005e} << 24 | (vni & 0xff'ffff); }

std::string gateway_name(std::uint32_t vni) { return std::format("gw{}", vni); }

Surroundings surroundings(const std::vector<Net>& nets, const std::vector<Site>& sites, std::vector<std::string>& warnings) {
    return {.nets = usable_nets(nets, warnings), .tunnels = tunnel_addresses(sites, warnings)};
}

std::vector<Endpoint> endpoints_of(const VmRecord& vm, const Surroundings& around, const World& world, std::vector<std::string>& warnings) {
    std::vector<Endpoint> out;
    if (vm.phase == Phase::kDeleting) return out;
    const auto address_of = [&](const std::string& site) {
        const auto it = around.tunnels.find(site);
        return it == around.tunnels.end() ? 0u : it->second;
    };
    Endpoint base{.uuid = vm.uuid, .name = vm.name, .epoch = vm.epoch, .port = {}, .hold = {}};
    base.local = vm.owner == world.site;
    base.owner = address_of(vm.owner);
    const bool arriving = !base.local && vm.phase == Phase::kMigrating && vm.migration && vm.migration->target == world.site;
    if (arriving) base.relay = base.owner;
    for (const auto& handover : world.handovers)
        if (handover.uuid == vm.uuid && handover.way == Handover::Way::kIn) base.relay = address_of(handover.site);
    bool closed = false;
    for (const auto& handover : world.handovers)  // never both: a site that takes a VM over does not send its frames away
        if (handover.uuid == vm.uuid && handover.away() && base.relay == 0 && handover.site != world.site) {
            base.redirect = address_of(handover.site);
            closed = base.redirect != 0 && handover.way == Handover::Way::kOut;
        }
    for (unsigned nic = 0; nic < vm.nics.size(); ++nic) {
        const Nic& card = vm.nics[nic];
        const auto net = around.nets.find(card.net);
        const auto mac = parse_mac(card.mac);
        const auto ip = parse_ipv4(card.ip);
        if (net == around.nets.end() || !mac || !ip || !inside(net->second.cidr, *ip) || *ip == net->second.gateway || *mac == gateway_mac(net->second.vni)) {
            warnings.push_back(std::format("NIC {} of VM '{}' is left out: net '{}', MAC '{}' or address '{}' cannot be used", nic, vm.name, card.net, card.mac, card.ip));
            continue;
        }
        Endpoint endpoint = base;
        endpoint.vni = net->second.vni;
        endpoint.mac = *mac;
        endpoint.ip = *ip;
        endpoint.nic = nic;
        if ((base.local && !closed) || (arriving && world.armed.contains(vm.uuid)))  // from kOut on, what the copy here might say goes nowhere
            for (const auto& port : world.ports.vms)
                if (port.uuid == vm.uuid && port.mac == *mac) endpoint.port = port.port;
        if (arriving || (base.local && base.redirect == 0))
            for (const auto& port : world.ports.holds)
                if (port.uuid == vm.uuid && port.mac == *mac) endpoint.hold = port.port;
        endpoint.holding = endpoint.hold && !world.released.contains(vm.uuid);
        out.push_back(std::move(endpoint));
    }
    return out;
}

std::vector<Endpoint> resolve(const World& world, std::vector<std::string>& warnings) {
    const Surroundings around = surroundings(world.nets, world.sites, warnings);
    std::vector<const VmRecord*> vms;
    for (const auto& vm : world.vms) vms.push_back(&vm);
    std::ranges::sort(vms, [](const VmRecord* a, const VmRecord* b) { return std::tie(a->created, a->uuid) < std::tie(b->created, b->uuid); });
    std::vector<Endpoint> out;
    std::set<std::pair<std::uint32_t, Mac>> macs;
    std::set<std::pair<std::uint32_t, std::uint32_t>> ips;
    for (const auto* vm : vms)
        for (auto& endpoint : endpoints_of(*vm, around, world, warnings)) {
            if (macs.contains({endpoint.vni, endpoint.mac}) || ips.contains({endpoint.vni, endpoint.ip})) {
                const Nic& card = vm->nics[endpoint.nic];
                warnings.push_back(std::format("NIC {} of VM '{}' is left out: {} or {} belongs to an older VM of net '{}'", endpoint.nic, vm->name, card.mac, card.ip, card.net));
                continue;
            }
            macs.insert({endpoint.vni, endpoint.mac});
            ips.insert({endpoint.vni, endpoint.ip});
            out.push_back(std::move(endpoint));
        }
    return out;
}

std::vector<GatewayPort> plan_gateways(const std::vector<Net>& nets, std::vector<std::string>& warnings) {
    const auto usable = usable_nets(nets, warnings);
    std::vector<GatewayPort> out;
    for (const auto& net : nets)
        if (const auto it = usable.find(net.name); it != usable.end())
            out.push_back({gateway_name(net.vni), net.vni, gateway_mac(net.vni), it->second.gateway, it->second.cidr.prefix,
                           net.mtu == 0 ? kGuestMtu : net.mtu});
    std::ranges::sort(out, {}, &GatewayPort::vni);
    return out;
}

Underlay plan_underlay(const std::string& site, const std::vector<Site>& sites, std::uint32_t uplink_mtu, std::vector<std::string>& warnings) {
    std::vector<std::string> quiet;  // resolve() reports the sites already
    const auto tunnels = tunnel_addresses(sites, quiet);
    Underlay out{.mtu = uplink_mtu - kWireGuardOverhead, .peers = {}};
    if (const auto own = tunnels.find(site); own != tunnels.end()) out.address = own->second;
    if (out.address == 0) return out;
    const auto self = std::ranges::find(sites, site, &Site::name);
    std::vector<Site> others;  // in the order of their indexes, which nobody chooses: who comes with another site's key does not cut that one off
    for (const auto& other : sites)
        if (tunnels.contains(other.name) && other.name != site) others.push_back(other);
    std::ranges::sort(others, {}, &Site::index);
    std::set<std::string> keys{self->wireguard_key};
    for (const auto& other : others) {
        // Its packets would be sent into its own tunnel, and those again, without end.
        if (const auto address = parse_ipv4(other.address); address && is_tunnel_address(*address)) {
            warnings.push_back(std::format("no tunnel to site '{}': its address {} is one inside of the tunnels", other.name, other.address));
            continue;
        }
        const auto key = base64_decode(other.wireguard_key);
        if (!key || key->size() != 32 || !parse_ipv4(other.address) || !keys.insert(other.wireguard_key).second) {
            warnings.push_back(std::format("no tunnel to site '{}': address '{}' is not IPv4, or its WireGuard key is bad or used twice", other.name,
                                           other.address));
            continue;
        }
        const auto [path, relay] = pair_mtu(*self, other, sites);
        const std::uint32_t carries = relay.empty() ? uplink_mtu : uplink_mtu - kWireGuardOverhead;  // at most
        out.peers.push_back({other.name, other.wireguard_key, std::format("{}:{}", other.address, kWireGuardPort),
                             format_ipv4(tunnels.at(other.name) & 0xffff'ff00u) + "/24", path ? std::min(*path, carries) - kWireGuardOverhead : 0});
    }
    std::ranges::sort(out.peers, {}, &Peer::site);
    return out;
}

std::vector<VmRecord> newest(const std::vector<VmRecord>& known, std::vector<VmRecord> fresh) {
    std::map<std::string_view, const VmRecord*> by_uuid;
    for (const auto& vm : known) by_uuid[vm.uuid] = &vm;
    for (auto& vm : fresh)
        if (const auto it = by_uuid.find(vm.uuid); it != by_uuid.end() && it->second->epoch > vm.epoch) vm = *it->second;
    return fresh;
}

}  // namespace blanket::net
