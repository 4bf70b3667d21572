// SPDX-License-Identifier: GPL-2.0-or-later
// The MTU of the path between two sites: how the largest packet that passes is found. Pure; daemon/path_probe.cpp sends the packets.
// Source: RFC 8899 (packets that are answered count; no ICMP error is believed).
#pragma once

#include <functional>
#include <optional>

#include "toolstack/core/records.hpp"

namespace blanket::net {

inline constexpr unsigned kMostProbes = 20;  // of one search

// The largest size, in bytes of an IPv4 packet from kSmallestPathMtu to `largest`, that `passes`; nothing when not even the smallest does. Asks kMostProbes times
// at most, whatever the answers are. `hint` (0: none): what was found the last time; if it still is that, 4 questions are enough.
std::optional<std::uint32_t> largest_passing(std::uint32_t largest, std::uint32_t hint, const std::function<bool(std::uint32_t size)>& passes);

}  // namespace blanket::net
