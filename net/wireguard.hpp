// SPDX-License-Identifier: GPL-2.0-or-later
// This site's WireGuard identity, and the interface's configuration text. The daemon calls identity() when a site joins; overlay_ovs.cpp the rest.
#pragma once

#include "net/model.hpp"

namespace blanket::net {

struct WireGuardKey {
    std::string secret;  // base64 of 32 bytes: goes to `wg` on standard input and nowhere else
    std::string pub;     // base64: Site.wireguard_key
};

// Reads the key file, or makes it (0600, its folder 0700) at the first use. kInvalid when the file holds something else: it is never overwritten.
Result<WireGuardKey> identity(const std::string& path = "/var/lib/blanket/pki/wg.key");

// What `wg syncconf` takes: key, port and all peers; peers that are absent from it go away, sessions of the others live on.
std::string wireguard_config(const WireGuardKey& key, const Underlay& underlay);

}  // namespace blanket::net
