// SPDX-License-Identifier: GPL-2.0-or-later
// The REST routes (toolstack/README.md lists them) bound to the actions. Requests about a VM of another site are sent on to it.
#pragma once

#include "net/ways.hpp"
#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {

struct ApiHooks {
    std::function<Json()> doctor;             // {"checks":[..]}
    std::function<void()> look_at_all;        // recovery looks at every VM soon
    std::function<Result<Json>(const std::map<std::string, std::string>& query)> trace;  // {"trace":{..}}
    std::function<Result<void>()> federated;  // the site became part of a federation: open the listeners. An error: they are not open yet, and are tried again
    std::function<std::optional<net::WayText>(const std::string& site)> way = [](const std::string&) { return std::nullopt; };  // by which the tunnel to it goes
    std::function<Result<Json>()> rotate_key; // {key}: this site's new WireGuard key
};
void bind_routes(RestServer& server, App& app, Federation& federation, ApiHooks hooks);

}  // namespace blanket
