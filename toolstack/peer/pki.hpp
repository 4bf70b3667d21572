// SPDX-License-Identifier: GPL-2.0-or-later
// The federation's certificates (X.509, ECDSA P-256): one CA held by the founder, one certificate per site or witness. Used by daemon/federation and
// the witness; the paths also by etcd's configuration and tls_context. Pure except load/store. Thread safe (no shared state).
#pragma once

#include <chrono>
#include <string>
#include <string_view>

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
};

// All certificates are valid from one hour ago, so that a clock behind ours accepts them.
Result<CertAndKey> make_ca(std::string_view federation, std::chrono::hours valid = std::chrono::hours(24 * 3650));
Result<CsrAndKey> make_csr(const Subject& subject);
// Signs the request's public key for `subject` (nothing else in the request is believed). kInvalid when the request's own signature is wrong or the key is not P-256.
Result<std::string> sign_csr(const CertAndKey& ca, std::string_view csr, const Subject& subject, std::chrono::hours valid = std::chrono::hours(24 * 365));
// Hex SHA-256 of the DER form of the first certificate in the text.
Result<std::string> fingerprint(std::string_view cert_pem);
// The CN of the first certificate.
Result<std::string> certificate_name(std::string_view cert_pem);
// Checks that `cert` is signed by `ca`, names `name` and belongs to `key`; kDenied otherwise.
Result<void> check_identity(std::string_view ca_pem, std::string_view cert_pem, std::string_view key_pem, std::string_view name);

}  // namespace blanket
