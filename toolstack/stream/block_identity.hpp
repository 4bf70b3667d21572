// SPDX-License-Identifier: GPL-2.0-or-later
// The identity of a block's content: BLAKE2b of 256 bits under a secret key of this site, so that nobody can prepare two contents with one identity. What
// carries an equal identity is taken for equal without a look at its bytes, which lie on a disk that a move must not wait for.
#pragma once

#include <array>
#include <memory>

#include "toolstack/stream/format.hpp"

namespace blanket::stream {

using Identity = std::array<std::byte, 32>;
using IdentityKey = std::array<std::byte, 32>;

Result<IdentityKey> make_identity_key();  // random

// One thread.
class Identifier final {
public:
    static Result<Identifier> create(const IdentityKey& key);
    Result<Identity> of(PageBytes block);

private:
    struct Free {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Free> context_;
};

}  // namespace blanket::stream
