// SPDX-License-Identifier: GPL-2.0-or-later
// The text of a join token: blanket1.<base64url of {"v":1,"ca_sha256","endpoints":["host:port"],"id","secret"}>. Pure. Used by daemon/ and the witness.
// The secret is in the token only; the registry keeps its SHA-256.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket {

struct JoinToken {
    std::string ca_sha256;               // 64 hex digits
    std::vector<std::string> endpoints;  // 1..8 "host:port" of blanketd at the site that signs
    std::string id;                      // 16 hex digits
    std::string secret;                  // 64 hex digits
    bool operator==(const JoinToken&) const = default;
};

std::string format_token(const JoinToken& token);
// kInvalid with a hint for anything truncated, changed or of another version (the text carries a checksum).
Result<JoinToken> parse_token_text(std::string_view text);

struct HostPort {
    std::string host;
    std::uint16_t port = 0;
};
Result<HostPort> parse_host_port(std::string_view text);

}  // namespace blanket
