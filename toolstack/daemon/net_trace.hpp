// SPDX-License-Identifier: GPL-2.0-or-later
// GET /1.0/trace: the words of a request into a trace of the overlay.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "net/overlay_ovs.hpp"
#include "net/ways.hpp"
#include "toolstack/base/json.hpp"

namespace blanket {

// `way`: by which the tunnel from here to a site goes; told of each other site that the packet passes.
using WayTo = std::function<std::optional<net::WayText>(const std::string& site)>;
Result<Json> trace_net(net::OvsOverlay& overlay, const WayTo& way, const std::map<std::string, std::string>& query);  // from, to, proto, port; or from, public, at

}  // namespace blanket
