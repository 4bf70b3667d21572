// SPDX-License-Identifier: GPL-2.0-or-later
// The routes of security groups, /1.0/nets/NET/groups: each is one checked edit of the network's record.
#pragma once

#include "toolstack/daemon/app.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {

void bind_groups(RestServer& server, App& app);

}  // namespace blanket
