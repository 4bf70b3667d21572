// SPDX-License-Identifier: GPL-2.0-or-later
// GET /1.0/trace: the words of a request into a trace of the overlay.
#pragma once

#include <map>
#include <string>

#include "net/overlay_ovs.hpp"
#include "toolstack/base/json.hpp"

namespace blanket {

Result<Json> trace_net(net::OvsOverlay& overlay, const std::map<std::string, std::string>& query);  // from, to, proto, port; or from, public, at

}  // namespace blanket
