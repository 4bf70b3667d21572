// SPDX-License-Identifier: GPL-2.0-or-later
// This site's WireGuard identity, and the interface's configuration text. The daemon calls identity() when a site joins, and key_rotation.cpp of the
// daemon makes another; overlay_ovs.cpp calls the rest.
#pragma once

#include "net/model.hpp"

namespace blanket::net {

struct WireGuardKey {
    std::string secret;  // base64 of 32 bytes: goes to `wg` on standard input and nowhere else
    std::string pub;     // base64: Site.wireguard_key
};

// Reads the key file, or makes it (0600, its folder 0700) at the first use. kInvalid when the file holds something else: it is never overwritten.
Result<WireGuardKey> identity(const std::string& path = "/var/lib/blanket/pki/wg.key");

// A new key, and a key in the place of the one that the file holds: whole or not at all, on the disk when it returns.
Result<WireGuardKey> make_identity();
Result<void> write_identity(const std::string& path, const WireGuardKey& key);

// What `wg syncconf` takes: key, port and all peers; peers that are absent from it go away, sessions of the others live on. A peer in `kept` (keys) is sent to where
// WireGuard sends now: somebody has chosen that (daemon/ways.hpp), or the peer itself, by an authentic packet from there.
std::string wireguard_config(const WireGuardKey& key, const Underlay& underlay, const std::set<std::string>& kept = {});

// What WireGuard counts of a peer.
struct PeerCount {
    std::string endpoint;         // where it sends to: "203.0.113.7:51820"; empty: not known yet
    std::int64_t handshake_s = 0;  // Unix time of the last one; 0: never
    std::uint64_t received = 0, sent = 0;  // bytes; of authentic packets only what was received
    bool operator==(const PeerCount&) const = default;
};
// Of `wg show INTERFACE dump`, by the peers' public keys. The first line, the interface's own with its secret key, is passed over. kInvalid: another form.
Result<std::map<std::string, PeerCount>> parse_wireguard_dump(std::string_view text);
// Of `wg show INTERFACE endpoints`: keys of the peers that have one.
std::set<std::string> parse_wireguard_endpoints(std::string_view text);

}  // namespace blanket::net
