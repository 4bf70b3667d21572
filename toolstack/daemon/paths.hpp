// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket path list`: what lies between this site and each other one, as WireGuard counts it, as a few pings measure it at that moment, and the MTU that
// path_probe.hpp has found.
// Blocks for some seconds, all sites at once. Any thread; one measurement at a time, for it sends packets.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {

struct SitePath {
    std::string site;
    std::string way, why;                      // "direct", "punched", "via hub", "-": nothing is heard; and why not a better one (net/ways.hpp). The caller's to fill in
    std::string endpoint;                      // where WireGuard sends to: "203.0.113.7:51820"; empty: no peer
    std::optional<double> rtt_ms;              // through the tunnel, the average of the pings
    std::optional<double> loss_percent;        // of the pings through the tunnel
    std::optional<unsigned> mtu;               // the largest IPv4 packet that passes, outside of the tunnel; empty: not found yet
    std::optional<std::int64_t> handshake_s;   // since WireGuard's last one; empty: never
    std::uint64_t received = 0, sent = 0;      // bytes in the tunnel since it was made
};

using CommandRunner = std::function<Result<Output>(const Argv&)>;

// `here`: this site's name. Witnesses have no tunnel and are left out.
std::vector<SitePath> gather_paths(const std::vector<Site>& sites, const std::string& here, std::int64_t unix_s, const CommandRunner& run = {});
Json to_json(const std::vector<SitePath>& paths);  // {"paths":[{site,way,why,endpoint,rtt_ms,loss_percent,mtu,handshake_s,received,sent}]}; null where not known

// Pure; of `ping -q`: the summary's loss and average.
std::optional<double> ping_loss(const std::string& summary);
std::optional<double> ping_average_ms(const std::string& summary);

}  // namespace blanket
