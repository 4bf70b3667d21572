// SPDX-License-Identifier: GPL-2.0-or-later
// See path_probe.hpp.
#include "toolstack/daemon/path_probe.hpp"

#include <algorithm>

#include "net/commands.hpp"
#include "net/model.hpp"
#include "net/path_mtu.hpp"

namespace blanket {
namespace {

constexpr unsigned kIpAndIcmp = 28;
constexpr int kPublishTries = 5;

// `probe`: may not be cut, and is sent whatever the kernel believes of the path: an ICMP error can be forged.
Argv ping(std::uint32_t size) { return {"ping", "-q", "-n", "-4", "-M", "probe", "-c", "3", "-i", "0.2", "-W", "1", "-s", std::format("{}", size - kIpAndIcmp)}; }

}  // namespace

bool PathProbe::passes(const Site& site, bool outside, std::uint32_t size) {
    gave_way_ = gave_way_ || give_way_();
    if (gave_way_) return false;
    Argv argv = ping(outside ? size : size - net::kWireGuardOverhead);
    if (!outside) argv.insert(argv.end(), {"-I", net::kWireGuardInterface});
    argv.push_back(outside ? site.address : wireguard_address(site.index));
    const auto output = run_(argv);
    return output && output->status == 0;
}

void PathProbe::learn_sites(const std::vector<Site>& sites) {
    std::set<std::string> there;
    const auto own = std::ranges::find(sites, here_, &Site::name);
    for (const Site& site : sites) {
        if (site.name == here_ || site.role == "witness" || site.index == 0 || site.state != "joined") continue;
        there.insert(site.name);
        const auto [at, is_new] = paths_.try_emplace(site.name);
        if (at->second.address != site.address) {  // new, or another one than before
            at->second.address = site.address;
            at->second.confirm_ms = at->second.search_ms = 0;
        }
        if (is_new && own != sites.end())  // of an earlier life
            if (const auto known = own->path_mtu.find(site.name); known != own->path_mtu.end()) at->second.mtu = known->second;
    }
    std::erase_if(paths_, [&](const auto& path) { return !there.contains(path.first); });
}

void PathProbe::round(const std::vector<Site>& sites, std::uint32_t uplink_mtu, std::int64_t now_ms) {
    learn_sites(sites);
    std::vector<const Site*> due;
    for (const Site& site : sites)
        if (const auto at = paths_.find(site.name); at != paths_.end() && at->second.confirm_ms <= now_ms) due.push_back(&site);
    std::ranges::stable_sort(due, {}, [&](const Site* site) { return paths_[site->name].confirm_ms; });  // who has waited longest
    if (due.size() > kSitesPerRound) due.resize(kSitesPerRound);
    gave_way_ = false;
    for (const Site* site : due) {
        if (gave_way_ || give_way_()) return;
        measure(*site, paths_[site->name], uplink_mtu, now_ms);
    }
}

void PathProbe::measure(const Site& site, Path& path, std::uint32_t uplink_mtu, std::int64_t now_ms) {
    const bool as_before = path.mtu != 0 && path.mtu <= uplink_mtu && now_ms < path.search_ms && passes(site, path.outside, path.mtu);
    std::optional<std::uint32_t> found;
    bool outside = true;
    for (const bool way : {true, false}) {
        if (as_before || found) break;
        outside = way;
        found = net::largest_passing(std::min(uplink_mtu, kLargestPathMtu), path.mtu, [&](std::uint32_t size) { return passes(site, way, size); });
    }
    if (gave_way_) return;  // and what was not asked has not been answered
    path.confirm_ms = now_ms + kConfirmMs;
    if (!found) return;
    path.mtu = *found;
    path.outside = outside;
    path.search_ms = now_ms + kSearchMs;
}

std::map<std::string, std::uint32_t> PathProbe::found() const {
    std::map<std::string, std::uint32_t> out;
    for (const auto& [site, path] : paths_)
        if (path.mtu != 0) out[site] = path.mtu;
    return out;
}

Result<void> change_own_record(Registry& registry, const std::string& here, const std::function<bool(Site&)>& change) {
    for (int attempt = 1;; ++attempt) {
        BLANKET_TRY(const auto stored, registry.get("sites/" + here));
        if (!stored) return {};
        BLANKET_TRY(Site site, parse_site(stored->value));
        if (!change(site)) return {};
        const auto put = registry.put("sites/" + here, to_json(site), stored->revision);
        if (put) return {};
        if (put.error().kind != Kind::kConflict || attempt == kPublishTries) return std::unexpected(put.error());
    }
}

Result<void> publish_paths(Registry& registry, const std::string& here, const std::map<std::string, std::uint32_t>& found) {
    return change_own_record(registry, here, [&](Site& site) { return std::exchange(site.path_mtu, found) != found; });
}

}  // namespace blanket
