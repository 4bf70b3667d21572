// SPDX-License-Identifier: GPL-2.0-or-later
// See path_mtu.hpp.
#include "net/path_mtu.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "net/relay.hpp"

namespace blanket::net {
namespace {

using Sharing = std::map<std::string, std::set<std::string>, std::less<>>;  // by network: the names of the sites that share it

// One pass over the VMs, however many networks there are.
Sharing sharing(const std::vector<VmRecord>& vms) {
    Sharing out;
    for (const auto& vm : vms) {
        if (vm.phase == Phase::kDeleting) continue;
        for (const auto& nic : vm.nics) {
            auto& names = out[nic.net];
            names.insert(vm.owner);
            if (vm.standby) names.insert(vm.standby->site);
        }
    }
    return out;
}

// Sorted by name; those that the federation has no record of are left out.
std::vector<const Site*> sites_of(const Net& net, const Sharing& sharing, const std::vector<Site>& sites) {
    std::set<std::string> names;
    if (const auto at = sharing.find(net.name); at != sharing.end()) names = at->second;
    for (const auto& anchor : net.anchors)  // what comes from outside goes from there to the VMs
        if (!anchor.ports.empty()) names.insert(anchor.site);
    std::vector<const Site*> out;
    for (const auto& name : names)
        if (const auto site = std::ranges::find(sites, name, &Site::name); site != sites.end()) out.push_back(&*site);
    return out;
}

OfferedMtu offered_by(const Net& net, const std::vector<const Site*>& shared_by, const std::vector<Site>& sites) {
    constexpr std::uint32_t kOverhead = kWireGuardOverhead + kVxlanOverhead;
    if (shared_by.size() < 2) return {net.mtu, "the network's own: its VMs are not at two sites"};
    std::uint32_t narrowest = 0;
    std::string between;
    std::size_t unknown = 0;
    for (std::size_t i = 0; i < shared_by.size(); ++i)
        for (std::size_t j = i + 1; j < shared_by.size(); ++j) {
            const auto [path, relay] = pair_mtu(*shared_by[i], *shared_by[j], sites);
            unknown += path ? 0 : 1;
            if (!path || (narrowest != 0 && *path >= narrowest)) continue;
            narrowest = *path;
            between = std::format("between {} and {}{}", shared_by[i]->name, shared_by[j]->name, relay.empty() ? "" : std::format(" by way of {}", relay));
        }
    if (narrowest == 0) return {net.mtu, "the network's own: no path between its sites is measured yet"};
    const std::string rest = unknown == 0 ? "" : std::format("; {} of its paths not measured yet", unknown);
    const std::uint32_t left = narrowest - kOverhead;
    if (left >= net.mtu) return {net.mtu, std::format("the network's own: its narrowest path, {}, carries {}{}", between, narrowest, rest)};
    return {left, std::format("the path {} carries {}, less {} of WireGuard and {} of VXLAN{}", between, narrowest, kWireGuardOverhead, kVxlanOverhead, rest)};
}

}  // namespace

std::optional<std::uint32_t> largest_passing(std::uint32_t largest, std::uint32_t hint, const std::function<bool(std::uint32_t size)>& passes) {
    if (largest < kSmallestPathMtu) return std::nullopt;
    if (passes(largest)) return largest;
    if (largest == kSmallestPathMtu || !passes(kSmallestPathMtu)) return std::nullopt;
    std::uint32_t good = kSmallestPathMtu, bad = largest;
    const auto ask = [&](std::uint32_t size) { (passes(size) ? good : bad) = size; };
    if (hint > good && hint < bad) ask(hint);
    if (hint == good && good + 1 < bad) ask(good + 1);
    while (bad - good > 1) ask(good + (bad - good) / 2);
    return good;
}

std::optional<std::uint32_t> path_mtu(const Site& a, const Site& b) {
    const auto there = a.path_mtu.find(b.name), back = b.path_mtu.find(a.name);
    if (there == a.path_mtu.end() && back == b.path_mtu.end()) return std::nullopt;
    if (there == a.path_mtu.end()) return back->second;
    return back == b.path_mtu.end() ? there->second : std::min(there->second, back->second);
}

OfferedMtu offered_mtu(const Net& net, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) { return offered_by(net, sites_of(net, sharing(vms), sites), sites); }

std::vector<Net> with_offered_mtu(std::vector<Net> nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) {
    const Sharing shared = sharing(vms);
    for (auto& net : nets) net.mtu = offered_by(net, sites_of(net, shared, sites), sites).mtu;
    return nets;
}

}  // namespace blanket::net
