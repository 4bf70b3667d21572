// SPDX-License-Identifier: GPL-2.0-or-later
// Deadlines of the lab, scaled by one number for slow machines: BLANKET_TIME_FACTOR (0.1..100, default 1). Used by everything in tests/ that waits.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

double time_factor();
std::chrono::milliseconds scaled(std::chrono::milliseconds time);

// Calls `probe` every `pause` until it gives true. An error of the probe ends the wait at once; kTimeout names `what`.
Result<void> wait_until(const std::string& what, std::chrono::milliseconds deadline, std::chrono::milliseconds pause, const std::function<Result<bool>()>& probe);

}  // namespace blanket::lab
