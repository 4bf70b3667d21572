// SPDX-License-Identifier: GPL-2.0-or-later
// See pki.hpp. Extensions follow RFC 5280; the names are checked by whoever calls before they get here, and again here where they enter a certificate.
#include "toolstack/peer/pki.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <format>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"
#include "toolstack/peer/ssl_ptr.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {
namespace {

std::unexpected<Error> openssl_failed(std::string_view what) { return fail(Kind::kInternal, "{} failed: {}", what, tls_errors()); }

BioPtr bio_of(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

template <typename Write>
Result<std::string> to_pem(std::string_view what, const Write& write) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio || write(bio.get()) != 1) return openssl_failed(what);
    return text_of(bio.get());
}

Result<std::string> pem_of(X509* cert) {
    return to_pem("writing a certificate", [&](BIO* bio) { return PEM_write_bio_X509(bio, cert); });
}
Result<std::string> pem_of(EVP_PKEY* key) {
    return to_pem("writing a key", [&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

// Never asks on the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

Result<X509Ptr> parse_cert(std::string_view pem) {
    const BioPtr bio = bio_of(pem);
    X509Ptr cert(bio ? PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr) : nullptr);
    if (!cert) return fail(Kind::kInvalid, "the text is not a PEM certificate: {}", tls_errors());
    return cert;
}

Result<KeyPtr> parse_key(std::string_view pem) {
    const BioPtr bio = bio_of(pem);
    KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr);
    if (!key) return fail(Kind::kInvalid, "the text is not a PEM private key: {}", tls_errors());
    return key;
}

Result<KeyPtr> make_key() {
    KeyPtr key(EVP_EC_gen("P-256"));
    if (!key) return openssl_failed("making a P-256 key");
    return key;
}

bool set_part(X509_NAME* name, const char* part, std::string_view text) {
    return X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()), -1, 0) == 1;
}
bool set_name(X509_NAME* name, std::string_view common_name) { return set_part(name, "CN", common_name); }

bool add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
    using ExtensionPtr = std::unique_ptr<X509_EXTENSION, SslDeleter<X509_EXTENSION_free>>;
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    return extension && X509_add_ext(cert, extension.get(), -1) == 1;
}

constexpr std::string_view kCaOf = "blanket CA of ";
constexpr std::size_t kCaOfMost = 40;  // of the name; X.509 allows 64 in all

using CrlPtr = std::unique_ptr<X509_CRL, SslDeleter<X509_CRL_free>>;
constexpr std::size_t kMostRevoked = 1024;

std::string positive(std::string hex) {
    hex.resize(32);
    hex[0] = '1';  // positive, and always 16 bytes long
    return hex;
}

// The n-th serial number of a name.
std::string serial_of(std::string_view name, unsigned n) { return positive(sha256_hex(std::format("blanket certificate {} of {}", n, name))); }

bool set_number(ASN1_INTEGER* out, const std::string& hex) {
    BIGNUM* number = nullptr;
    BN_hex2bn(&number, hex.c_str());
    const bool good = number != nullptr && out != nullptr && BN_to_ASN1_INTEGER(number, out) != nullptr;
    BN_free(number);
    return good;
}

// Serial, version and validity: what both kinds of certificate share.
bool set_basics(X509* cert, const std::string& serial, std::chrono::seconds valid) {
    const bool good = set_number(X509_get_serialNumber(cert), serial);
    const auto seconds = valid.count();
    return good && X509_set_version(cert, X509_VERSION_3) == 1 && X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != nullptr &&
           X509_gmtime_adj(X509_getm_notAfter(cert), seconds) != nullptr;
}

Result<unsigned> random_pick() {
    static_assert(kSerialsOfName == 256);
    unsigned char pick = 0;
    if (RAND_bytes(&pick, 1) != 1) return openssl_failed("choosing a serial number");
    return pick;
}

Result<void> check_subject(const Subject& subject) {
    BLANKET_CHECK(check_name(subject.name, "site"));
    BLANKET_CHECK(parse_ipv4(subject.address));
    if (!subject.role.empty() && subject.role != kSiteRole && subject.role != kWitnessRole) return fail(Kind::kInvalid, "'{}' is no role", subject.role.substr(0, 40));
    return {};
}

std::string name_part(const X509* cert, int nid) {
    const X509_NAME* name = X509_get_subject_name(cert);
    const int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0) return {};
    const ASN1_STRING* data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(data)), static_cast<std::size_t>(ASN1_STRING_length(data))};
}

// The first of the SAN; we sign the uplink's before 127.0.0.1.
std::string first_address(const X509* cert) {
    using NamesPtr = std::unique_ptr<GENERAL_NAMES, SslDeleter<GENERAL_NAMES_free>>;
    const NamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(cert, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        int type = 0;
        const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
        if (type != GEN_IPADD) continue;
        const auto* const octets = static_cast<const ASN1_STRING*>(value);
        if (ASN1_STRING_length(octets) != 4) continue;
        const unsigned char* const ip = ASN1_STRING_get0_data(octets);
        return std::format("{}.{}.{}.{}", ip[0], ip[1], ip[2], ip[3]);
    }
    return {};
}

}  // namespace

std::string x509_name(const X509* cert) { return name_part(cert, NID_commonName); }

Subject x509_subject(const X509* cert) { return {x509_name(cert), first_address(cert), name_part(cert, NID_organizationalUnitName)}; }

std::string x509_fingerprint(const X509* cert) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (X509_digest(cert, EVP_sha256(), digest.data(), &size) != 1) return {};
    return to_hex(std::span(digest).first(size));
}

bool x509_signed_by(X509* leaf, X509* ca) {
    const StorePtr store(X509_STORE_new());
    const StoreCtxPtr context(X509_STORE_CTX_new());
    const bool good = store && context && X509_STORE_add_cert(store.get(), ca) == 1 &&
                      X509_STORE_CTX_init(context.get(), store.get(), leaf, nullptr) == 1 && X509_verify_cert(context.get()) == 1;
    if (!good) tls_errors();
    return good;
}

Result<CertAndKey> make_ca(std::string_view federation, std::chrono::hours valid) {
    BLANKET_TRY(const KeyPtr key, make_key());
    const X509Ptr cert(X509_new());
    const std::string name = std::format("{}{}", kCaOf, federation.substr(0, kCaOfMost));
    if (!cert || !set_basics(cert.get(), positive(random_hex(16)), valid) || !set_name(X509_get_subject_name(cert.get()), name) ||
        X509_set_issuer_name(cert.get(), X509_get_subject_name(cert.get())) != 1 || X509_set_pubkey(cert.get(), key.get()) != 1 ||
        !add_extension(cert.get(), cert.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(cert.get(), cert.get(), NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(cert.get(), cert.get(), NID_subject_key_identifier, "hash") || X509_sign(cert.get(), key.get(), EVP_sha256()) == 0)
        return openssl_failed("making the CA's certificate");
    CertAndKey pair;
    BLANKET_TRY(pair.cert, pem_of(cert.get()));
    BLANKET_TRY(pair.key, pem_of(key.get()));
    return pair;
}

Result<std::string> make_csr(const Subject& subject, std::string_view key_pem) {
    BLANKET_CHECK(check_subject(subject));
    BLANKET_TRY(const KeyPtr key, parse_key(key_pem));
    const X509ReqPtr request(X509_REQ_new());
    if (!request || !set_name(X509_REQ_get_subject_name(request.get()), subject.name) || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
        X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0)
        return openssl_failed("making a certificate request");
    return to_pem("writing a certificate request", [&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

Result<CsrAndKey> make_csr(const Subject& subject) {
    BLANKET_TRY(const KeyPtr key, make_key());
    CsrAndKey pair;
    BLANKET_TRY(pair.key, pem_of(key.get()));
    BLANKET_TRY(pair.csr, make_csr(subject, pair.key));
    return pair;
}

namespace {

// Checked: P-256, and signed by its own key.
Result<X509ReqPtr> parse_request(std::string_view csr) {
    if (csr.size() > 16384) return fail(Kind::kInvalid, "a certificate request of {} bytes is too long", csr.size());
    const BioPtr bio = bio_of(csr);
    X509ReqPtr request(bio ? PEM_read_bio_X509_REQ(bio.get(), nullptr, no_passphrase, nullptr) : nullptr);
    if (!request) return fail(Kind::kInvalid, "the text is not a PEM certificate request: {}", tls_errors());
    EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
    std::array<char, 32> group{};
    if (key == nullptr || EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) != 1 || std::string_view(group.data()) != "prime256v1")
        return fail(Kind::kInvalid, "the certificate request's key is not ECDSA P-256: {}", tls_errors());
    if (X509_REQ_verify(request.get(), key) != 1) return fail(Kind::kInvalid, "the certificate request's signature is wrong: {}", tls_errors());
    return request;
}

}  // namespace

Result<std::string> request_key(std::string_view csr) {
    BLANKET_TRY(const X509ReqPtr request, parse_request(csr));
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(X509_REQ_get0_pubkey(request.get()), &der);
    if (size <= 0) return openssl_failed("reading a public key");
    std::string id = sha256_hex(std::string_view(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)));
    OPENSSL_free(der);
    return id;
}

Result<std::string> sign_csr(const CertAndKey& ca, std::string_view csr, const Subject& subject, std::chrono::seconds valid) {
    BLANKET_CHECK(check_subject(subject));
    BLANKET_TRY(const X509Ptr ca_cert, parse_cert(ca.cert));
    BLANKET_TRY(const KeyPtr ca_key, parse_key(ca.key));
    BLANKET_TRY(const X509ReqPtr request, parse_request(csr));
    EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
    const X509Ptr cert(X509_new());
    BLANKET_TRY(const unsigned pick, random_pick());
    const std::string names = std::format("DNS:{},IP:{},IP:127.0.0.1", subject.name, subject.address);
    if (!cert || !set_basics(cert.get(), serial_of(subject.name, pick), valid) || !set_name(X509_get_subject_name(cert.get()), subject.name) ||
        (!subject.role.empty() && !set_part(X509_get_subject_name(cert.get()), "OU", subject.role)) ||
        X509_set_issuer_name(cert.get(), X509_get_subject_name(ca_cert.get())) != 1 || X509_set_pubkey(cert.get(), key) != 1 ||
        !add_extension(cert.get(), ca_cert.get(), NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(cert.get(), ca_cert.get(), NID_key_usage, "critical,digitalSignature") ||
        !add_extension(cert.get(), ca_cert.get(), NID_ext_key_usage, "clientAuth,serverAuth") ||
        !add_extension(cert.get(), ca_cert.get(), NID_subject_alt_name, names) ||
        !add_extension(cert.get(), ca_cert.get(), NID_authority_key_identifier, "keyid") || X509_sign(cert.get(), ca_key.get(), EVP_sha256()) == 0)
        return openssl_failed("signing a certificate");
    return pem_of(cert.get());
}

Result<Validity> validity(std::string_view cert_pem) {
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    const auto unix_of = [](const ASN1_TIME* time) -> Result<std::int64_t> {
        std::tm parts{};
        if (ASN1_TIME_to_tm(time, &parts) != 1) return openssl_failed("reading a certificate's time");
        return static_cast<std::int64_t>(::timegm(&parts));
    };
    Validity out;
    BLANKET_TRY(out.from, unix_of(X509_get0_notBefore(cert.get())));
    BLANKET_TRY(out.until, unix_of(X509_get0_notAfter(cert.get())));
    return out;
}

Result<std::string> fingerprint(std::string_view cert_pem) {
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    return x509_fingerprint(cert.get());
}

Result<Subject> certificate_subject(std::string_view cert_pem) {
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    return x509_subject(cert.get());
}

Result<std::string> certificate_name(std::string_view cert_pem) {
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    return x509_name(cert.get());
}

std::string ca_maker(std::string_view ca_pem) {
    const std::string name = certificate_name(ca_pem).value_or(std::string());
    const bool whole = name.starts_with(kCaOf) && name.size() < kCaOf.size() + kCaOfMost;
    return whole ? name.substr(kCaOf.size()) : std::string();
}

Result<void> check_identity(std::string_view ca_pem, std::string_view cert_pem, std::string_view key_pem, std::string_view name) {
    BLANKET_TRY(const auto cas, x509_bundle(ca_pem));
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    BLANKET_TRY(const KeyPtr key, parse_key(key_pem));
    if (X509_cmp_current_time(X509_get0_notAfter(cert.get())) < 0) return fail(Kind::kDenied, "the certificate of '{}' has expired", x509_name(cert.get()));
    if (std::ranges::none_of(cas, [&](const X509Ptr& ca) { return x509_signed_by(cert.get(), ca.get()); }))
        return fail(Kind::kDenied, "the certificate of '{}' is not signed by this CA or not valid now", x509_name(cert.get()));
    if (X509_check_private_key(cert.get(), key.get()) != 1) return fail(Kind::kDenied, "the certificate and the private key do not belong together: {}", tls_errors());
    if (x509_name(cert.get()) != name) return fail(Kind::kDenied, "the certificate names '{}', not '{}'", x509_name(cert.get()), name);
    return {};
}

Result<std::string> make_crl(const std::vector<std::string>& names) {
    if (names.size() > kMostRevoked) return fail(Kind::kInvalid, "{} revoked sites are more than {}", names.size(), kMostRevoked);
    BLANKET_TRY(const KeyPtr key, make_key());
    const CrlPtr crl(X509_CRL_new());
    using TimePtr = std::unique_ptr<ASN1_TIME, SslDeleter<ASN1_TIME_free>>;
    const TimePtr now(X509_gmtime_adj(nullptr, -3600)), end(X509_gmtime_adj(nullptr, 10L * 365 * 24 * 3600));
    using NamePtr = std::unique_ptr<X509_NAME, SslDeleter<X509_NAME_free>>;
    const NamePtr issuer(X509_NAME_new());
    if (!crl || !now || !end || !issuer || X509_CRL_set_version(crl.get(), 1) != 1 || !set_name(issuer.get(), "blanket: revoked sites") ||
        X509_CRL_set_issuer_name(crl.get(), issuer.get()) != 1 || X509_CRL_set1_lastUpdate(crl.get(), now.get()) != 1 || X509_CRL_set1_nextUpdate(crl.get(), end.get()) != 1)
        return openssl_failed("making a revocation list");
    using NumberPtr = std::unique_ptr<ASN1_INTEGER, SslDeleter<ASN1_INTEGER_free>>;
    const NumberPtr number(ASN1_INTEGER_new());
    for (const auto& name : names)
        for (unsigned n = 0; n < kSerialsOfName; ++n) {
            X509_REVOKED* const entry = X509_REVOKED_new();
            if (entry == nullptr || !set_number(number.get(), serial_of(name, n)) || X509_REVOKED_set_serialNumber(entry, number.get()) != 1 ||
                X509_REVOKED_set_revocationDate(entry, now.get()) != 1 || X509_CRL_add0_revoked(crl.get(), entry) != 1) {
                X509_REVOKED_free(entry);
                return openssl_failed("making a revocation list");
            }
        }
    if (X509_CRL_sort(crl.get()) != 1 || X509_CRL_sign(crl.get(), key.get(), EVP_sha256()) == 0) return openssl_failed("signing a revocation list");
    return to_pem("writing a revocation list", [&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, crl.get()); });
}

Result<std::string> sign_text(std::string_view key_pem, std::string_view text) {
    BLANKET_TRY(const KeyPtr key, parse_key(key_pem));
    const DigestPtr context(EVP_MD_CTX_new());
    std::array<unsigned char, 256> signature{};  // of P-256: 72 bytes at most
    std::size_t size = signature.size();
    if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
        EVP_DigestSign(context.get(), signature.data(), &size, reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1)
        return openssl_failed("signing");
    return base64_encode(std::string_view(reinterpret_cast<const char*>(signature.data()), size));
}

Result<void> check_signed_text(std::string_view cert_pem, std::string_view text, std::string_view signature) {
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    BLANKET_TRY(const std::string raw, base64_decode(signature));
    const DigestPtr context(EVP_MD_CTX_new());
    if (!context || EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, X509_get0_pubkey(cert.get())) != 1) return openssl_failed("checking a signature");
    if (EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(raw.data()), raw.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1)
        return {};
    tls_errors();
    return fail(Kind::kDenied, "the signature of '{}' is wrong", x509_name(cert.get()));
}

Result<void> check_issued(std::string_view ca_pem, std::string_view cert_pem, std::string_view name) {
    BLANKET_TRY(const auto cas, x509_bundle(ca_pem));
    BLANKET_TRY(const X509Ptr cert, parse_cert(cert_pem));
    const StorePtr store(X509_STORE_new());
    const StoreCtxPtr context(X509_STORE_CTX_new());
    const bool good = store && context && std::ranges::all_of(cas, [&](const X509Ptr& ca) { return X509_STORE_add_cert(store.get(), ca.get()) == 1; }) && X509_STORE_set_flags(store.get(), X509_V_FLAG_NO_CHECK_TIME) == 1 &&
                      X509_STORE_CTX_init(context.get(), store.get(), cert.get(), nullptr) == 1 && X509_verify_cert(context.get()) == 1;
    if (!good) {
        tls_errors();
        return fail(Kind::kDenied, "the certificate of '{}' is not signed by this federation's CA", x509_name(cert.get()));
    }
    if (x509_name(cert.get()) != name || X509_check_ca(cert.get()) != 0) return fail(Kind::kDenied, "the certificate names '{}', not site '{}'", x509_name(cert.get()), name);
    return {};
}

}  // namespace blanket
