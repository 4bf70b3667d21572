// SPDX-License-Identifier: GPL-2.0-or-later
// Client of blanketd's REST API: over the unix socket, by mTLS to another site, or (for joining) without a certificate of our own and with the CA pinned
// by its fingerprint. Used by daemon/ and the witness. One connection per call; thread safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {

struct RestReply {
    int status = 0;
    Json body;
};

class RestClient final {
public:
    static RestClient unix_socket(const std::string& path);
    // The server's certificate must be `expected_site`'s (empty: any site of the federation).
    static RestClient site(const TlsContext& tls, const std::string& host, std::uint16_t port, const std::string& expected_site);
    // The server sends its chain; the CA in it must have this fingerprint (hex SHA-256) and must have signed the server's certificate.
    static RestClient pinned(const std::string& ca_sha256, const std::string& host, std::uint16_t port);
    // Nobody shows or checks a certificate: for answers that carry a signature of their own, from servers whose CA this site does not know yet.
    static RestClient unverified(const std::string& host, std::uint16_t port);

    // Any HTTP answer is a reply. kUnavailable: nobody answers; kDenied: TLS refused; kTimeout. `path` may carry a query.
    [[nodiscard]] Result<RestReply> call(const std::string& method, const std::string& path, const Json* body, std::chrono::seconds deadline) const;
    // The same; a status >= 400 becomes the Error that the body carries. Returns the body.
    [[nodiscard]] Result<Json> call_ok(const std::string& method, const std::string& path, const Json* body, std::chrono::seconds deadline) const;

private:
    enum class Mode : std::uint8_t { kUnix, kSite, kPinned, kUnverified };
    Mode mode_ = Mode::kUnix;
    std::string host_, expected_site_, pin_;
    std::uint16_t port_ = 0;
    TlsContext tls_;
};

}  // namespace blanket
