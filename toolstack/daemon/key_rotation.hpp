// SPDX-License-Identifier: GPL-2.0-or-later
// Another WireGuard key for this site, while its tunnels carry traffic: the API's "rotate-key".
#pragma once

#include <functional>
#include <string>

#include "toolstack/base/json.hpp"

namespace blanket {

struct KeyRotation {
    std::string path;                                             // of the key file
    std::function<Result<void>()> apply;                          // the interface takes the key that the file holds
    std::function<Result<void>(const std::string& pub)> publish;  // this site's record names it, and the other sites take it from there
};

// The interface goes first: what the others send by the old key is still read, and what this site sends waits (128 packets per peer) until they know the new one, a round
// trip of the registry later. When the registry does not take it, the old key is back everywhere. Answers {key}, the public one. Not to be called by two threads at once.
Result<Json> rotate_wireguard_key(const KeyRotation& how);

}  // namespace blanket
