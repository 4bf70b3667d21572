// SPDX-License-Identifier: GPL-2.0-or-later
// TLS 1.3 with mutual verification against the federation's CA. The peer's name is its certificate's CN (which the CA also puts into the SAN).
// A peer whose name is revoked is refused in the handshake (alert 44, certificate_revoked), by either role. A value that is cheap to copy. raw() keeps working after the files change; apply() reads them anew. Thread safe. Used by channel, rest_server, rest_client.
#pragma once

#include <memory>
#include <string>

#include "toolstack/peer/pki.hpp"
#include "toolstack/peer/revocations.hpp"

// OpenSSL's types, so that its headers stay out of ours.
struct ssl_ctx_st;
struct ssl_st;

namespace blanket {

class TlsContext final {
public:
    // Loads CA, certificate and key from the files; kDenied when they do not belong together.
    static Result<TlsContext> load(const PkiPaths& paths, std::shared_ptr<Revocations> revocations = nullptr);

    [[nodiscard]] const std::string& name() const { return name_; }  // our own certificate's name
    [[nodiscard]] const PkiPaths& paths() const { return paths_; }
    [[nodiscard]] bool refuses(std::string_view site) const { return revocations_ && revocations_->refuses(site); }
    // See Revocations::enrol.
    [[nodiscard]] bool enrol(const std::string& site, const std::weak_ptr<Cuttable>& connection) const { return !revocations_ || revocations_->enrol(site, connection); }

    // Puts the settings into a context made by somebody else (httplib). `demand` = a server refuses a client without certificate.
    [[nodiscard]] Result<void> apply(ssl_ctx_st* context, bool demand) const;
    [[nodiscard]] ssl_ctx_st* raw() const { return context_.get(); }  // for both roles; the client's certificate is demanded

private:
    std::string name_;
    PkiPaths paths_;
    std::shared_ptr<Revocations> revocations_;
    std::shared_ptr<ssl_ctx_st> context_;
};

// The verified peer's name after the handshake, empty without a certificate.
std::string peer_name(const ssl_st* ssl);
Subject peer_subject(const ssl_st* ssl);  // all of it, as empty
// The oldest texts of OpenSSL's error queue of this thread, which is emptied.
std::string tls_errors();

}  // namespace blanket
