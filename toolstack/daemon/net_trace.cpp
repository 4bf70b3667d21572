// SPDX-License-Identifier: GPL-2.0-or-later
// See net_trace.hpp.
#include "toolstack/daemon/net_trace.hpp"

#include <set>

namespace blanket {

namespace {

Json with_ways(const net::Trace& traced, const WayTo& way) {
    Json out = net::to_json(traced);
    out["paths"] = Json::array();
    std::set<std::string> sites;
    for (const auto& hop : traced.hops)
        if (sites.insert(hop.site).second)
            if (const auto known = way(hop.site)) out["paths"].push_back({{"site", hop.site}, {"way", known->way}, {"why", known->why}});
    return Json{{"trace", std::move(out)}};
}

}  // namespace

Result<Json> trace_net(net::OvsOverlay& overlay, const WayTo& way, const std::map<std::string, std::string>& query) {
    const auto word = [&](const char* name, const char* fallback) {
        const auto at = query.find(name);
        return at == query.end() ? std::string(fallback) : at->second;
    };
    if (query.contains("public")) {
        BLANKET_TRY(const auto asked, net::parse_public_query(word("from", ""), word("public", ""), word("at", "")));
        BLANKET_TRY(const auto traced, overlay.trace(asked));
        return with_ways(traced, way);
    }
    BLANKET_TRY(const auto asked, net::parse_trace_query(word("from", ""), word("to", ""), word("proto", "icmp"), word("port", "")));
    BLANKET_TRY(const auto traced, overlay.trace(asked));
    return with_ways(traced, way);
}

}  // namespace blanket
