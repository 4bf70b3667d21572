// SPDX-License-Identifier: GPL-2.0-or-later
// See tls_context.hpp.
#include "toolstack/peer/tls_context.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <format>
#include <openssl/err.h>

#include "toolstack/base/file.hpp"
#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket {
namespace {

using SharedRevocations = std::shared_ptr<Revocations>;

// Where a context keeps the list that its handshakes ask; it frees its reference with itself.
int revocations_slot() {
    static const int kSlot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, [](void*, void* held, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<SharedRevocations*>(held); });
    return kSlot;
}

// After OpenSSL has looked at each certificate of the chain; depth 0 is the peer's own.
int refuse_revoked(int good, X509_STORE_CTX* store) {
    if (good == 0 || X509_STORE_CTX_get_error_depth(store) != 0) return good;
    const auto* const ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto* const held = ssl == nullptr ? nullptr : static_cast<const SharedRevocations*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), revocations_slot()));
    const X509* const cert = X509_STORE_CTX_get_current_cert(store);
    if (cert == nullptr) return 0;
    if (held == nullptr || !(*held)->refuses(x509_name(cert))) return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
    return 0;
}

}  // namespace

std::string tls_errors() {
    std::string text;
    unsigned long code = 0;
    for (int shown = 0; (code = ERR_get_error()) != 0;) {
        if (++shown > 2) continue;
        std::array<char, 200> line{};
        ERR_error_string_n(code, line.data(), line.size());
        text += std::format("{}{}", text.empty() ? "" : "; ", line.data());
    }
    return text.empty() ? "no details" : text;
}

std::string peer_name(const ssl_st* ssl) {
    const X509* cert = SSL_get0_peer_certificate(ssl);
    if (cert == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
    return x509_name(cert);
}

Subject peer_subject(const ssl_st* ssl) {
    const X509* cert = SSL_get0_peer_certificate(ssl);
    if (cert == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
    return x509_subject(cert);
}

Result<void> TlsContext::apply(ssl_ctx_st* context, bool demand) const {
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_num_tickets(context, 0);  // no resumption: each connection shows its certificate anew
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // most connections are idle most of the time
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (demand ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), refuse_revoked);
    if (revocations_) {
        auto held = std::make_unique<SharedRevocations>(revocations_);
        if (SSL_CTX_get_ex_data(context, revocations_slot()) != nullptr || SSL_CTX_set_ex_data(context, revocations_slot(), held.get()) != 1)
            return fail(Kind::kInternal, "cannot give a TLS context the list of revoked sites: {}", tls_errors());
        static_cast<void>(held.release());
    }
    SSL_CTX_set_verify_depth(context, 1);
    if (SSL_CTX_load_verify_file(context, paths_.ca_cert.c_str()) != 1)
        return fail(Kind::kDenied, "cannot use the CA certificate {}: {}", paths_.ca_cert, tls_errors());
    if (SSL_CTX_use_certificate_file(context, paths_.cert.c_str(), SSL_FILETYPE_PEM) != 1)
        return fail(Kind::kDenied, "cannot use the certificate {}: {}", paths_.cert, tls_errors());
    if (SSL_CTX_use_PrivateKey_file(context, paths_.key.c_str(), SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1)
        return fail(Kind::kDenied, "cannot use the key {}: {}", paths_.key, tls_errors());
    // The CA that signed our certificate goes along with it, so that a newcomer can compare its fingerprint with the token's.
    BLANKET_TRY(const std::string bundle, read_file(paths_.ca_cert, 65536));
    BLANKET_TRY(const auto cas, x509_bundle(bundle));
    X509* const own = SSL_CTX_get0_certificate(context);
    const auto issuer = cas.size() == 1 ? cas.begin() : std::ranges::find_if(cas, [&](const X509Ptr& ca) { return x509_signed_by(own, ca.get()); });
    if (issuer == cas.end() || SSL_CTX_add1_chain_cert(context, issuer->get()) != 1) return fail(Kind::kDenied, "cannot send the CA certificate {}: {}", paths_.ca_cert, tls_errors());
    return {};
}

Result<TlsContext> TlsContext::load(const PkiPaths& paths, std::shared_ptr<Revocations> revocations) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes with write(2); a closed connection must be an error, not the end of the process
    TlsContext tls;
    tls.paths_ = paths;
    tls.revocations_ = std::move(revocations);
    BLANKET_TRY(const std::string ca, read_file(paths.ca_cert, 65536));
    BLANKET_TRY(const std::string cert, read_file(paths.cert, 65536));
    BLANKET_TRY(const std::string key, read_file(paths.key, 65536));
    BLANKET_TRY(tls.name_, certificate_name(cert));
    BLANKET_CHECK(check_identity(ca, cert, key, tls.name_));
    tls.context_ = std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_method()), [](SSL_CTX* context) { SSL_CTX_free(context); });
    if (!tls.context_) return fail(Kind::kInternal, "no TLS context: {}", tls_errors());
    BLANKET_CHECK(tls.apply(tls.context_.get(), true));
    SSL_CTX_set_mode(tls.context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls.context_.get(), 1);
    SSL_CTX_set_default_read_buffer_len(tls.context_.get(), 64 * 1024);
    return tls;
}

}  // namespace blanket
