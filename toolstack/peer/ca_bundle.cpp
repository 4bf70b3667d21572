// SPDX-License-Identifier: GPL-2.0-or-later
// See ca_bundle.hpp.
#include "toolstack/peer/ca_bundle.hpp"

#include <algorithm>
#include <array>
#include <format>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "toolstack/peer/ssl_ptr.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {
namespace {

constexpr std::size_t kLongestBundle = 65536;

int no_password(char*, int, int, void*) { return 0; }  // never asks on the terminal

Result<std::string> pem_text(X509* cert) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    char* data = nullptr;
    if (!bio || PEM_write_bio_X509(bio.get(), cert) != 1) return fail(Kind::kInternal, "writing a certificate failed: {}", tls_errors());
    const long size = BIO_get_mem_data(bio.get(), &data);
    return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

// Its times do not count: the statement that follows from it is judged by the signature alone.
bool issued_by(X509* cert, X509* ca) {
    const bool good = X509_check_issued(ca, cert) == X509_V_OK && X509_verify(cert, X509_get0_pubkey(ca)) == 1;
    if (!good) tls_errors();
    return good;
}

Result<KeyPtr> private_key(std::string_view pem) {
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
    if (!key) return fail(Kind::kInvalid, "the text is not a PEM private key: {}", tls_errors());
    return key;
}

}  // namespace

Result<std::vector<X509Ptr>> x509_bundle(std::string_view pem) {
    if (pem.size() > kLongestBundle) return fail(Kind::kInvalid, "a bundle of certificates of {} bytes is too long", pem.size());
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) return fail(Kind::kInternal, "reading certificates failed: {}", tls_errors());
    std::vector<X509Ptr> out;
    ERR_clear_error();
    for (;;) {
        X509Ptr one(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
        if (!one) break;
        if (out.size() == kMostCas) return fail(Kind::kInvalid, "more than {} CAs are trusted", kMostCas);
        out.push_back(std::move(one));
    }
    const auto last = ERR_peek_last_error();
    const bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (out.empty() || !at_end) return fail(Kind::kInvalid, "the text is not a PEM certificate: {}", tls_errors());
    ERR_clear_error();
    return out;
}

Result<std::vector<std::string>> split_bundle(std::string_view bundle) {
    BLANKET_TRY(const auto cas, x509_bundle(bundle));
    std::vector<std::string> out;
    for (const auto& ca : cas) {
        BLANKET_TRY(std::string text, pem_text(ca.get()));
        out.push_back(std::move(text));
    }
    return out;
}

Result<std::vector<std::string>> fingerprints(std::string_view bundle) {
    BLANKET_TRY(const auto cas, x509_bundle(bundle));
    std::vector<std::string> out;
    for (const auto& ca : cas) out.push_back(x509_fingerprint(ca.get()));
    return out;
}

Result<std::string> with_ca(std::string_view bundle, std::string_view cert_pem) {
    BLANKET_TRY(const auto others, split_bundle(bundle));
    BLANKET_TRY(const std::string print, fingerprint(cert_pem));
    BLANKET_TRY(const auto own, split_bundle(cert_pem));
    std::string out = own.front();
    std::size_t count = 1;
    for (const auto& other : others) {
        BLANKET_TRY(const std::string its, fingerprint(other));
        if (its == print || count == kMostCas) continue;
        out += other;
        ++count;
    }
    return out;
}

Result<std::string> issuer_of(std::string_view bundle, std::string_view cert_pem) {
    BLANKET_TRY(const auto cas, x509_bundle(bundle));
    BLANKET_TRY(const auto certs, x509_bundle(cert_pem));
    for (const auto& ca : cas)
        if (issued_by(certs.front().get(), ca.get())) return x509_fingerprint(ca.get());
    return fail(Kind::kNotFound, "no CA that is trusted signed the certificate of '{}'", x509_name(certs.front().get()));
}

Result<CertAndKey> pair_of(std::string_view bundle, std::string_view key_pem) {
    BLANKET_TRY(const auto cas, x509_bundle(bundle));
    BLANKET_TRY(const KeyPtr key, private_key(key_pem));
    for (const auto& ca : cas) {
        if (X509_check_private_key(ca.get(), key.get()) != 1) continue;
        tls_errors();
        BLANKET_TRY(std::string cert, pem_text(ca.get()));
        return CertAndKey{std::move(cert), std::string(key_pem)};
    }
    tls_errors();
    return fail(Kind::kNotFound, "the CA's key belongs to no CA that is trusted");
}

Result<void> check_new_ca(std::string_view cert_pem, std::string_view print) {
    BLANKET_TRY(const auto certs, x509_bundle(cert_pem));
    X509* const ca = certs.front().get();
    const auto refuse = [](std::string_view why) -> Result<void> { return fail(Kind::kDenied, "the new CA's certificate {}", why); };
    if (certs.size() != 1 || x509_fingerprint(ca) != print) return refuse("is not the one that is named");
    EVP_PKEY* const key = X509_get0_pubkey(ca);
    std::array<char, 32> group{};
    if (key == nullptr || EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) != 1 || std::string_view(group.data()) != "prime256v1") {
        tls_errors();
        return refuse("has a key that is not ECDSA P-256");
    }
    constexpr std::uint32_t kUsage = KU_KEY_CERT_SIGN;
    if (X509_check_ca(ca) != 1 || (X509_get_key_usage(ca) & kUsage) != kUsage || X509_get_pathlen(ca) != 0) return refuse("is not a CA's");
    if (!x509_signed_by(ca, ca)) return refuse("is not signed by its own key, or not good now");
    return {};
}

Result<CaStatement> sign_ca_statement(std::string_view old_ca_key_pem, CaStatement statement) {
    BLANKET_TRY(statement.signature, sign_text(old_ca_key_pem, statement.text()));
    return parse_ca_statement(to_json(statement));  // within the bounds that others set
}

Result<void> check_ca_statement(const CaStatement& statement, std::string_view bundle) {
    const auto check = [&]() -> Result<void> {
        BLANKET_TRY(const auto cas, split_bundle(bundle));
        for (const auto& ca : cas) {
            BLANKET_TRY(const std::string print, fingerprint(ca));
            if (print != statement.from) continue;
            BLANKET_CHECK(check_signed_text(ca, statement.text(), statement.signature));
            return check_new_ca(statement.cert, statement.to);
        }
        return fail(Kind::kDenied, "it is of a CA that this site does not trust");
    };
    auto checked = check();
    if (checked) return {};
    Error error = std::move(checked).error().context("a new CA for the federation is not believed");
    error.kind = Kind::kDenied;
    return std::unexpected(std::move(error));
}

}  // namespace blanket
