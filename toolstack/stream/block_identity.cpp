// SPDX-License-Identifier: GPL-2.0-or-later
// See block_identity.hpp.
#include "toolstack/stream/block_identity.hpp"

#include <algorithm>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

namespace blanket::stream {
namespace {

struct FreeMac {
    void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
};

EVP_MAC_CTX* mac_context(void* context) { return static_cast<EVP_MAC_CTX*>(context); }

}  // namespace

void Identifier::Free::operator()(void* context) const { EVP_MAC_CTX_free(mac_context(context)); }

Result<IdentityKey> make_identity_key() {
    IdentityKey key{};
    if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size())) != 1) return fail(Kind::kInternal, "no random numbers for a key");
    return key;
}

Result<Identifier> Identifier::create(const IdentityKey& key) {
    const std::unique_ptr<EVP_MAC, FreeMac> mac(EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_BLAKE2BMAC, nullptr));
    Identifier made;
    if (mac) made.context_.reset(EVP_MAC_CTX_new(mac.get()));
    std::size_t size = sizeof(Identity);
    const std::array<OSSL_PARAM, 2> params{OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
    // The key stays in the context: each init without one begins a new message under it.
    if (!made.context_ || EVP_MAC_init(mac_context(made.context_.get()), reinterpret_cast<const unsigned char*>(key.data()), key.size(), params.data()) != 1)
        return fail(Kind::kInternal, "OpenSSL has no BLAKE2b with a key");
    return made;
}

Result<Identity> Identifier::of(std::span<const std::byte> content) {
    auto* const context = mac_context(context_.get());
    Identity identity{};
    std::size_t length = 0;
    if (EVP_MAC_init(context, nullptr, 0, nullptr) != 1 || EVP_MAC_update(context, reinterpret_cast<const unsigned char*>(content.data()), content.size()) != 1 ||
        EVP_MAC_final(context, reinterpret_cast<unsigned char*>(identity.data()), &length, identity.size()) != 1 || length != identity.size())
        return fail(Kind::kInternal, "OpenSSL's BLAKE2b failed");
    return identity;
}

Result<PageProof::Value> PageProof::take(Identifier& identifier) {
    BLANKET_TRY(const Identity all, identifier.of(said_));
    said_.resize(kName.size());
    Value value;
    std::copy_n(all.begin(), value.size(), value.begin());
    return value;
}

}  // namespace blanket::stream
