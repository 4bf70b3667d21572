// SPDX-License-Identifier: GPL-2.0-or-later
// `--reboot`: the last step of a verb whose work is done by then. In verb_update.cpp.
#pragma once

#include <functional>
#include <string>

#include "toolstack/cli/run.hpp"

namespace blanket::cli {

// Restarts the machine, unless `check` says why not now (VMs run here). What was done before, `done`, stands, and the error says so.
Result<void> restart_if_free(Context& context, const std::string& done, const std::function<Result<void>()>& check, const std::function<Result<void>()>& restart);

}  // namespace blanket::cli
