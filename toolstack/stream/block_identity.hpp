// SPDX-License-Identifier: GPL-2.0-or-later
// The identity of a block's content: BLAKE2b of 256 bits under a secret key of this site, so that nobody can prepare two contents with one identity. What
// carries an equal identity is taken for equal without a look at its bytes, which lie on a disk that a move must not wait for.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::stream {

using Identity = std::array<std::byte, 32>;
using IdentityKey = std::array<std::byte, 32>;

Result<IdentityKey> make_identity_key();  // random

// One thread.
class Identifier final {
public:
    static Result<Identifier> create(const IdentityKey& key);
    Result<Identity> of(std::span<const std::byte> content);

private:
    struct Free {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Free> context_;
};

// Shows that one has some pages, by their identities, to one who has them too: who was told only the first bytes of an identity cannot make it. One thread.
class PageProof final {
public:
    using Value = std::array<std::byte, 16>;
    void add(const Identity& identity) { said_.insert(said_.end(), identity.begin(), identity.end()); }
    [[nodiscard]] bool empty() const { return said_.size() == kName.size(); }
    // Of the pages since the last one, in their order.
    Result<Value> take(Identifier& identifier);

private:
    static constexpr std::array<std::byte, 8> kName{std::byte{'p'}, std::byte{'r'}, std::byte{'o'}, std::byte{'o'}, std::byte{'f'}};  // never as long as a page
    std::vector<std::byte> said_ = std::vector<std::byte>(kName.begin(), kName.end());
};

}  // namespace blanket::stream
