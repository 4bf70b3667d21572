// SPDX-License-Identifier: GPL-2.0-or-later
// Reading and changing one VM's record by compare-and-swap, as every action does it.
#pragma once

#include <functional>

#include "toolstack/daemon/app.hpp"

namespace blanket {

// The present record, from the store and not from the cache. kConflict when this site does not own it.
Result<Versioned<VmRecord>> owned_vm(App& app, const std::string& uuid);

// Reads, lets `change` edit (it may refuse), writes by compare-and-swap; tries again when somebody was faster. Returns what was written.
Result<Versioned<VmRecord>> change_vm(App& app, const std::string& uuid, const std::function<Result<void>(VmRecord&)>& change);

}  // namespace blanket
