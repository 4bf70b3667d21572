// SPDX-License-Identifier: GPL-2.0-or-later
// Creating a network: one record; every site that runs a VM of it builds it from that.
#pragma once

#include "toolstack/daemon/app.hpp"

namespace blanket {

Result<Json> create_net(App& app, const Json& body, bool dry_run);  // {name, cidr} -> the record

}  // namespace blanket
