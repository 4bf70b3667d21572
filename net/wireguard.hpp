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

// What `wg syncconf` takes: key, port and all peers; peers that are absent from it go away, sessions of the others live on.
std::string wireguard_config(const WireGuardKey& key, const Underlay& underlay);

}  // namespace blanket::net
