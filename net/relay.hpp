// SPDX-License-Identifier: GPL-2.0-or-later
// Two sites that do not hear each other go by way of a third one that both hear. WireGuard's packets of the pair travel inside the pair's tunnels to that relay:
//
//   A: peer B's endpoint is 10.213.<relay>.1:61000+<B>  --tunnel A-relay-->  relay: nftables  --tunnel relay-B-->  B: peer A's endpoint is 10.213.<relay>.1:61000+<A>
//
// The relay changes the addresses of a datagram that only A and B can read. Each address in it is known from the sites' numbers, so nothing is learned from packets, no port is open
// to the world, and who may use it is who has a tunnel to the relay. Which pairs, and by whom, follows from the records alone, the same at every site. Pure; no state.
// Source: onion routing by WireGuard's own endpoints, Linux commit b673e24aad36 (5.7) and its self-test.
#pragma once

#include <map>
#include <set>

#include "net/model.hpp"

namespace blanket::net {

inline constexpr std::uint16_t kRelayPort = 61'000;  // and the site's index: above the ports that Linux takes for itself (ip_local_port_range)
inline constexpr std::size_t kRelaysOfAPair = 2;     // the best of those that could
inline constexpr std::size_t kMostRelayedPairs = 64;  // by one site; the rest of them, by their numbers, are not served
inline constexpr std::uint32_t kUnknownTripMs = 1000;  // what a leg counts that nobody has measured

// A network's name -> the sites that own a VM of it, stand by for one, take one over, or take connections from outside for it.
using Shares = std::map<std::string, std::set<std::string>, std::less<>>;
Shares shares_of(const std::vector<Net>& nets, const std::vector<VmRecord>& vms);
bool share_a_network(const std::string& a, const std::string& b, const Shares& shares);

// Both tell whom they hear, and neither hears the other. A site of a version that does not tell is taken to be reached as ever.
bool are_apart(const Site& a, const Site& b);

struct Relay {
    std::string site;
    std::uint32_t index = 0;
    std::uint32_t cost_ms = 0;  // both legs' round trips, as the relay has measured them
    bool operator==(const Relay&) const = default;
};
// Members that hear both, and that both hear; the quickest first, kRelaysOfAPair at most. None for a pair that is not apart. Both ends get the same list.
std::vector<Relay> relays_between(const Site& a, const Site& b, const std::vector<Site>& sites);
// The same, but none for a pair that shares no network.
std::vector<Relay> relays_for(const Site& a, const Site& b, const std::vector<Site>& sites, const Shares& shares);

// What this site passes on. By the sites' indexes, a < b.
struct RelayedPair {
    std::uint32_t relay = 0, a = 0, b = 0;
    bool operator==(const RelayedPair&) const = default;
    auto operator<=>(const RelayedPair&) const = default;
};
// Sorted; kMostRelayedPairs at most.
std::vector<RelayedPair> relayed_by(const std::string& here, const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites);

// A way by which this site's own WireGuard is sent to: the relay's and the other end's index.
struct RelayedWay {
    std::uint32_t relay = 0, other = 0;
    bool operator==(const RelayedWay&) const = default;
    auto operator<=>(const RelayedWay&) const = default;
};
// Sorted. Out of its tunnels this site takes WireGuard's packets by these only: a member that sends some from inside its own tunnel would become a peer whose packets go
// into that tunnel, and those again, without end.
std::vector<RelayedWay> relayed_to(const std::string& here, const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites);

// Where a site's WireGuard sends what is for the site `other`, by way of `relay`: "10.213.3.1:61002".
std::string relay_endpoint(std::uint32_t relay, std::uint32_t other);
// The relay's index, if an endpoint is of that form.
std::optional<std::uint32_t> relay_of_endpoint(std::string_view endpoint);

// The largest packet that passes between two sites outside of their tunnel: path_mtu() (path_mtu.hpp), or what the narrowest leg of their relays leaves inside its tunnel, as they
// may be at any of them; a leg that nobody has measured counts as kUplinkMtu. `by`: that leg's relay, empty: none.
struct PairMtu {
    std::optional<std::uint32_t> mtu;
    std::string by;
};
PairMtu pair_mtu(const Site& a, const Site& b, const std::vector<Site>& sites);

}  // namespace blanket::net
