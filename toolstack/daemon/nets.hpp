// SPDX-License-Identifier: GPL-2.0-or-later
// Creating and changing a network: one record; every site that runs a VM of it builds it from that.
#pragma once

#include "toolstack/daemon/app.hpp"

namespace blanket {

Result<Json> create_net(App& app, const Json& body, bool dry_run);  // {name, cidr, same_addresses} -> the record

// Reads the record, lets `edit` change it (it may refuse), writes it by compare-and-swap; again when somebody was faster. Returns what was written.
Result<Net> change_net(App& app, const std::string& name, const std::function<Result<void>(Net&)>& edit);

}  // namespace blanket
