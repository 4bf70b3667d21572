// SPDX-License-Identifier: GPL-2.0-or-later
// See net_trace.hpp.
#include "toolstack/daemon/net_trace.hpp"

namespace blanket {

Result<Json> trace_net(net::OvsOverlay& overlay, const std::map<std::string, std::string>& query) {
    const auto word = [&](const char* name, const char* fallback) {
        const auto at = query.find(name);
        return at == query.end() ? std::string(fallback) : at->second;
    };
    if (query.contains("public")) {
        BLANKET_TRY(const auto asked, net::parse_public_query(word("from", ""), word("public", ""), word("at", "")));
        BLANKET_TRY(const auto traced, overlay.trace(asked));
        return Json{{"trace", net::to_json(traced)}};
    }
    BLANKET_TRY(const auto asked, net::parse_trace_query(word("from", ""), word("to", ""), word("proto", "icmp"), word("port", "")));
    BLANKET_TRY(const auto traced, overlay.trace(asked));
    return Json{{"trace", net::to_json(traced)}};
}

}  // namespace blanket
