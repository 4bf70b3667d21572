// SPDX-License-Identifier: GPL-2.0-or-later
// The MTU of the path between two sites: how the largest packet that passes is found (daemon/path_probe.cpp sends them), and what all that the sites have found
// leaves for guests. Pure.
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

// By what the two have found of the path between them: the smaller one; nothing where neither has found anything. So a site bounds the paths to itself only.
std::optional<std::uint32_t> path_mtu(const Site& a, const Site& b);

struct OfferedMtu {
    std::uint32_t mtu = 0;
    std::string why;  // for people: what bounds it
};
// What guests are told by DHCP: the network's own MTU, or what the narrowest path between two sites that share the network leaves of a packet. A site shares it
// that owns a VM of it or stands by for one, or takes connections from outside for it. At least what kSmallestPathMtu leaves. Two sites that only a relay joins have what its
// tunnels leave (relay.hpp). The same at every site, as it follows from the records alone.
OfferedMtu offered_mtu(const Net& net, const std::vector<VmRecord>& vms, const std::vector<Site>& sites);
// The networks, each with the MTU that is offered in it.
std::vector<Net> with_offered_mtu(std::vector<Net> nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites);

}  // namespace blanket::net
