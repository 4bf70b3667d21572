// SPDX-License-Identifier: GPL-2.0-or-later
// See paths.hpp.
#include "toolstack/daemon/paths.hpp"

#include <algorithm>
#include <charconv>
#include <format>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr const char* kTunnel = "wg-blanket";

std::string command(const CommandRunner& run, const Argv& argv) {
    const auto output = run(argv);
    return output ? output->out : std::string();
}

// `wg show INTERFACE what`: a peer's key and the rest of its line.
std::map<std::string, std::string> by_peer(const std::string& text) {
    std::map<std::string, std::string> out;
    for (const std::string& line : split(text, '\n')) {
        const auto tab = line.find('\t');
        if (tab != std::string::npos) out[line.substr(0, tab)] = std::string(trim(line.substr(tab + 1)));
    }
    return out;
}

std::uint64_t count_in(std::string_view text) { return parse_number(text, 0, std::numeric_limits<std::int64_t>::max(), "count").value_or(0); }

void measure(const CommandRunner& run, const Site& site, SitePath& path) {
    const std::string summary = command(run, {"ping", "-q", "-4", "-c", "5", "-i", "0.2", "-W", "2", "-I", kTunnel, std::format("10.213.{}.1", site.index)});
    path.loss_percent = ping_loss(summary);
    path.rtt_ms = ping_average_ms(summary);
}

}  // namespace

std::optional<double> ping_loss(const std::string& summary) {
    const auto end = summary.find("% packet loss");
    if (end == std::string::npos) return std::nullopt;
    const auto begin = summary.find_last_not_of("0123456789.", end - 1) + 1;
    double value = 0;
    const auto done = std::from_chars(summary.data() + begin, summary.data() + end, value);
    return done.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<double> ping_average_ms(const std::string& summary) {
    const auto equals = summary.find("= ", summary.find("min/avg/max"));
    if (summary.find("min/avg/max") == std::string::npos || equals == std::string::npos) return std::nullopt;
    const auto slash = summary.find('/', equals);
    if (slash == std::string::npos) return std::nullopt;
    double value = 0;
    const auto done = std::from_chars(summary.data() + slash + 1, summary.data() + summary.size(), value);
    return done.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::vector<SitePath> gather_paths(const std::vector<Site>& sites, const std::string& here, std::int64_t unix_s, const CommandRunner& given) {
    const CommandRunner run = given ? given : [](const Argv& argv) { return run_any(argv, {.deadline = std::chrono::seconds(15)}); };
    static std::mutex one_at_a_time;  // a measurement sends packets: many askers do not send many
    const std::lock_guard lock(one_at_a_time);
    const auto endpoints = by_peer(command(run, {"wg", "show", kTunnel, "endpoints"}));
    const auto transfer = by_peer(command(run, {"wg", "show", kTunnel, "transfer"}));
    const auto handshakes = by_peer(command(run, {"wg", "show", kTunnel, "latest-handshakes"}));
    const auto of = [](const std::map<std::string, std::string>& all, const std::string& key) {
        const auto at = all.find(key);
        return at == all.end() ? std::string() : at->second;
    };
    const auto own = std::ranges::find(sites, here, &Site::name);
    std::vector<SitePath> paths;
    std::vector<const Site*> which;
    for (const Site& site : sites) {
        if (site.name == here || site.role == "witness" || site.index == 0) continue;
        SitePath path;
        path.site = site.name;
        if (own != sites.end())
            if (const auto mtu = own->path_mtu.find(site.name); mtu != own->path_mtu.end()) path.mtu = mtu->second;
        if (const std::string endpoint = of(endpoints, site.wireguard_key); endpoint != "(none)") path.endpoint = endpoint;
        const std::string bytes = of(transfer, site.wireguard_key);
        const auto tab = bytes.find('\t');
        path.received = count_in(std::string_view(bytes).substr(0, tab));
        if (tab != std::string::npos) path.sent = count_in(std::string_view(bytes).substr(tab + 1));
        if (const std::uint64_t at = count_in(of(handshakes, site.wireguard_key)); at != 0) path.handshake_s = std::max<std::int64_t>(0, unix_s - static_cast<std::int64_t>(at));
        paths.push_back(std::move(path));
        which.push_back(&site);
    }
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < paths.size(); ++i) threads.emplace_back([&run, &paths, &which, i] { measure(run, *which[i], paths[i]); });
    }
    return paths;
}

Json to_json(const std::vector<SitePath>& paths) {
    Json list = Json::array();
    const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
    for (const auto& path : paths)
        list.push_back({{"site", path.site}, {"way", path.way}, {"why", path.why}, {"endpoint", path.endpoint}, {"rtt_ms", or_null(path.rtt_ms)}, {"loss_percent", or_null(path.loss_percent)}, {"mtu", or_null(path.mtu)},
                        {"handshake_s", or_null(path.handshake_s)}, {"received", path.received}, {"sent", path.sent}});
    return {{"paths", std::move(list)}};
}

}  // namespace blanket
