// SPDX-License-Identifier: GPL-2.0-or-later
// See tls_context.hpp.
#include "toolstack/peer/tls_context.hpp"

#include <array>
#include <csignal>
#include <format>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "toolstack/base/file.hpp"
#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket {

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

Result<void> TlsContext::apply(ssl_ctx_st* context, bool demand) const {
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_num_tickets(context, 0);  // no resumption: each connection shows its certificate anew
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // most connections are idle most of the time
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (demand ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    SSL_CTX_set_verify_depth(context, 1);
    if (SSL_CTX_load_verify_file(context, paths_.ca_cert.c_str()) != 1)
        return fail(Kind::kDenied, "cannot use the CA certificate {}: {}", paths_.ca_cert, tls_errors());
    if (SSL_CTX_use_certificate_file(context, paths_.cert.c_str(), SSL_FILETYPE_PEM) != 1)
        return fail(Kind::kDenied, "cannot use the certificate {}: {}", paths_.cert, tls_errors());
    if (SSL_CTX_use_PrivateKey_file(context, paths_.key.c_str(), SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1)
        return fail(Kind::kDenied, "cannot use the key {}: {}", paths_.key, tls_errors());
    // The CA goes along with our certificate, so that a newcomer can compare its fingerprint with the token's.
    const BioPtr bio(BIO_new_file(paths_.ca_cert.c_str(), "r"));
    X509* ca = bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr;
    if (ca == nullptr || SSL_CTX_add0_chain_cert(context, ca) != 1) {
        X509_free(ca);
        return fail(Kind::kDenied, "cannot send the CA certificate {}: {}", paths_.ca_cert, tls_errors());
    }
    return {};
}

Result<TlsContext> TlsContext::load(const PkiPaths& paths) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes with write(2); a closed connection must be an error, not the end of the process
    TlsContext tls;
    tls.paths_ = paths;
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
