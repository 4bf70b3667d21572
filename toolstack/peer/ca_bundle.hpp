// SPDX-License-Identifier: GPL-2.0-or-later
// pki/ca.crt as a bundle: the CAs that a member trusts, two while one takes the other's place. And the signature of what is said about that. Pure, thread safe. Used by
// daemon/ca_*, renewal, admission.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "toolstack/core/ca_rollover.hpp"
#include "toolstack/peer/pki.hpp"

namespace blanket {

inline constexpr std::size_t kMostCas = 4;  // of one bundle

// The certificates of a bundle, each as a PEM text of its own; kInvalid: there is none, more than kMostCas, or text that is no certificate among them.
Result<std::vector<std::string>> split_bundle(std::string_view bundle);
Result<std::vector<std::string>> fingerprints(std::string_view bundle);
// The bundle with that CA before the others; those that do not fit any more go, and so does a second copy.
Result<std::string> with_ca(std::string_view bundle, std::string_view cert_pem);
// The fingerprint of the CA that signed the certificate, however long ago; kNotFound: none of the bundle.
Result<std::string> issuer_of(std::string_view bundle, std::string_view cert_pem);
// The CA whose key that is, with the key; kNotFound: none of the bundle.
Result<CertAndKey> pair_of(std::string_view bundle, std::string_view key_pem);

// A certificate that make_ca() could have made, good now, and of that fingerprint; kDenied otherwise.
Result<void> check_new_ca(std::string_view cert_pem, std::string_view print);
Result<CaStatement> sign_ca_statement(std::string_view old_ca_key_pem, CaStatement statement);
// Signed by the key of the CA that it names as the old one, which the bundle has; and the new one is a CA. kDenied otherwise.
Result<void> check_ca_statement(const CaStatement& statement, std::string_view bundle);

}  // namespace blanket
