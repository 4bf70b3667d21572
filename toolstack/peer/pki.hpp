// SPDX-License-Identifier: GPL-2.0-or-later
// The federation's certificates (X.509, ECDSA P-256): one CA held by the founder, one certificate per site or witness. Used by daemon/federation and
// the witness; the paths also by etcd's configuration and tls_context. Pure except load/store. Thread safe (no shared state).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket {

// Where one site keeps its identity; all below /var/lib/blanket/pki (0700). Keys are 0600.
struct PkiPaths {
    std::string ca_cert, ca_key, cert, key;
    static PkiPaths in(const std::string& dir) { return {dir + "/ca.crt", dir + "/ca.key", dir + "/site.crt", dir + "/site.key"}; }
};

// PEM texts; `key` is a secret.
struct CertAndKey {
    std::string cert, key;
};
struct CsrAndKey {
    std::string csr, key;
};

struct Subject {
    std::string name;     // site name: CN and SAN DNS
    std::string address;  // uplink IPv4: SAN IP (127.0.0.1 is added, for the site's own etcd clients)
    std::string role = {};  // kSiteRole | kWitnessRole: OU. Certificates from before there were roles have none
};
inline constexpr const char* kSiteRole = "site";
inline constexpr const char* kWitnessRole = "witness";  // votes, and nothing else: it may not do what a site may

// All certificates are valid from one hour ago, so that a clock behind ours accepts them.
Result<CertAndKey> make_ca(std::string_view federation, std::chrono::hours valid = std::chrono::hours(24 * 3650));
Result<CsrAndKey> make_csr(const Subject& subject);
// Hex SHA-256 of the request's public key, for which the request's own signature shows that whoever made it has the private one; kInvalid as sign_csr().
Result<std::string> request_key(std::string_view csr);
// Signs the request's public key for `subject` (nothing else in the request is believed). kInvalid when the request's own signature is wrong or the key is not P-256.
Result<std::string> sign_csr(const CertAndKey& ca, std::string_view csr, const Subject& subject, std::chrono::seconds valid = std::chrono::hours(24 * 365));
// A certificate's serial number is one of this many that follow from its name: whoever knows the name of a revoked site knows the numbers of all certificates
// that it has, had, or hides. (etcd's list of revoked certificates names numbers.)
inline constexpr unsigned kSerialsOfName = 256;
// A certificate revocation list (PEM) with all serial numbers of these names. Signed by a key made for it, which nobody trusts: it is for this host's etcd, which
// believes the file. kInvalid for more than 1024 names.
Result<std::string> make_crl(const std::vector<std::string>& names);
// ECDSA over SHA-256, base64, by the key that goes with a certificate.
Result<std::string> sign_text(std::string_view key_pem, std::string_view text);
Result<void> check_signed_text(std::string_view cert_pem, std::string_view text, std::string_view signature);  // kDenied
// `cert` was signed by a CA of the bundle `ca`, however long ago, and names `name`; kDenied otherwise. For what a site said while its certificate was valid.
Result<void> check_issued(std::string_view ca_pem, std::string_view cert_pem, std::string_view name);
// Hex SHA-256 of the DER form of the first certificate in the text.
Result<std::string> fingerprint(std::string_view cert_pem);
// The name that make_ca() was given, from the CA's certificate; empty when it is none of ours, or the name was too long for it.
std::string ca_maker(std::string_view ca_pem);
// What the first certificate says; address: the first one in its SAN.
Result<Subject> certificate_subject(std::string_view cert_pem);
// The CN of the first certificate.
Result<std::string> certificate_name(std::string_view cert_pem);
struct Validity {
    std::int64_t from = 0, until = 0;  // Unix seconds
    // Half of its life is over: time enough for many attempts.
    [[nodiscard]] bool renewal_due(std::int64_t now) const { return now >= from + (until - from) / 2; }
};
Result<Validity> validity(std::string_view cert_pem);
// A request for the key that there is, so that only the certificate changes, in one file.
Result<std::string> make_csr(const Subject& subject, std::string_view key_pem);
// Checks that `cert` is signed by a CA of the bundle `ca`, names `name` and belongs to `key`; kDenied otherwise.
Result<void> check_identity(std::string_view ca_pem, std::string_view cert_pem, std::string_view key_pem, std::string_view name);

}  // namespace blanket
