// SPDX-License-Identifier: GPL-2.0-or-later
// systemd's notification protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. No library needed.
#pragma once

#include <chrono>
#include <string_view>

namespace blanket {

void notify_systemd(std::string_view state);  // "READY=1", "WATCHDOG=1", "STATUS=..."; without a supervisor it does nothing
std::chrono::milliseconds watchdog_interval();  // half of $WATCHDOG_USEC; 0 = no watchdog

}  // namespace blanket
