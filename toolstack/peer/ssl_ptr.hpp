// SPDX-License-Identifier: GPL-2.0-or-later
// Owned OpenSSL objects, for the .cpp files of peer/ only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "toolstack/peer/pki.hpp"

namespace blanket {

template <auto Free>
struct SslDeleter {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
using X509Ptr = std::unique_ptr<X509, SslDeleter<X509_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, SslDeleter<X509_REQ_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, SslDeleter<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, SslDeleter<BIO_free_all>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, SslDeleter<EVP_MD_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, SslDeleter<SSL_free>>;
using StorePtr = std::unique_ptr<X509_STORE, SslDeleter<X509_STORE_free>>;
using StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, SslDeleter<X509_STORE_CTX_free>>;

std::string x509_name(const X509* cert);         // its CN, empty when absent
Subject x509_subject(const X509* cert);          // what is absent is empty
std::string x509_fingerprint(const X509* cert);  // hex SHA-256 of the DER form
// `leaf` is signed by `ca`, both are valid now. (Purpose and chain length are checked by the caller's TLS settings where that matters.)
bool x509_signed_by(X509* leaf, X509* ca);
// All certificates of a text (ca_bundle.cpp); kInvalid as split_bundle().
Result<std::vector<X509Ptr>> x509_bundle(std::string_view pem);

}  // namespace blanket
