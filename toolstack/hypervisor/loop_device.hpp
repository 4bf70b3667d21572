// SPDX-License-Identifier: GPL-2.0-or-later
// Read-only loop devices of the kernel: a file as a block device, for guests' seeds (daemon/seeds.hpp). They outlive the process. See loop(4).
#pragma once

#include <string>

#include "toolstack/base/result.hpp"

namespace blanket {

// "/dev/loopN" over this very file, a new one or the one that is there already. kIo, kNotFound.
Result<std::string> attach_loop(const std::string& file);
// A guest that still has it open keeps it until it lets go. Absent is fine.
Result<void> detach_loop(const std::string& device);

}  // namespace blanket
