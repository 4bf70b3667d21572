// SPDX-License-Identifier: GPL-2.0-or-later
// The terminal on a machine's serial console, for `blanket-lab console SITE`.
#pragma once

#include <string>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

// Joins standard input and output to the unix socket until Ctrl-] or the end of either side; the terminal is raw meanwhile.
Result<void> attach_console(const std::string& socket_path);

}  // namespace blanket::lab
