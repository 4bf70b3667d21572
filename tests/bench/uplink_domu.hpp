// SPDX-License-Identifier: GPL-2.0-or-later
// The third kind of guest for bench-uplink: a PV guest of the blanket, inside a provider's Xen; its disk and card are the blanket's backends over the provider's.
#pragma once

#include <string>

#include "toolstack/base/result.hpp"

namespace blanket::rig {

// Boots the appliance inside a provider's Xen (four to five minutes under emulation) and runs the probe with `words` in a guest of it; what that said on its console.
// In a network namespace of its own.
Result<std::string> run_in_domu(const std::string& appliance, const std::string& words);

}  // namespace blanket::rig
