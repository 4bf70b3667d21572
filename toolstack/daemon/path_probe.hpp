// SPDX-License-Identifier: GPL-2.0-or-later
// What the paths to the other sites carry: pings that may not be cut to pieces, each round to a few sites, and what was found in this site's record, where every
// site reads it. The first way is outside of the tunnel, to the site's address; where no pings are answered there, through the tunnel, whose own packets may be cut:
// then it is what arrives at all. A site that answers wrongly harms the path to itself, within kSmallestPathMtu and the uplink's MTU.
// One thread calls.
#pragma once

#include <map>
#include <set>

#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/paths.hpp"

namespace blanket {

class PathProbe final {
public:
    static constexpr std::int64_t kConfirmMs = 120'000;  // after that what was found is asked for again: one process, three packets
    static constexpr std::int64_t kSearchMs = 600'000;   // and after that it is searched for anew: it may have grown
    static constexpr std::size_t kSitesPerRound = 4;

    // `give_way`: asked before each process; true ends the round, without a result for the site under way.
    PathProbe(std::string here, CommandRunner run, std::function<bool()> give_way) : here_(std::move(here)), run_(std::move(run)), give_way_(std::move(give_way)) {}

    // Blocks while it waits for answers: at most net::kMostProbes times 1.5 s for each way of each of the sites. `uplink_mtu`: of this host's own interface.
    void round(const std::vector<Site>& sites, std::uint32_t uplink_mtu, std::int64_t now_ms);
    // By site. Where nothing is answered any more, what was found last.
    [[nodiscard]] std::map<std::string, std::uint32_t> found() const;

private:
    struct Path {
        std::string address;
        std::uint32_t mtu = 0;  // 0: not found yet
        bool outside = true;    // of the tunnel
        std::int64_t confirm_ms = 0, search_ms = 0;
    };
    void learn_sites(const std::vector<Site>& sites);
    void measure(const Site& site, Path& path, std::uint32_t uplink_mtu, std::int64_t now_ms);
    bool passes(const Site& site, bool outside, std::uint32_t size);

    const std::string here_;
    const CommandRunner run_;
    const std::function<bool()> give_way_;
    bool gave_way_ = false;  // in this round, even if only for a moment
    std::map<std::string, Path> paths_;
};

// The record of site `here`, by compare-and-swap. `change` says whether it has changed anything; without a record nothing is written.
Result<void> change_own_record(Registry& registry, const std::string& here, const std::function<bool(Site&)>& change);

// Into the record of site `here`, by compare-and-swap, if that has something else. Without a record nothing is written.
Result<void> publish_paths(Registry& registry, const std::string& here, const std::map<std::string, std::uint32_t>& found);

}  // namespace blanket
