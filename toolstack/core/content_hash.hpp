// SPDX-License-Identifier: GPL-2.0-or-later
// Identity of a base image: SHA-256 over its size and the (index, SHA-256) pairs of its 64 KiB blocks that are not all zero, in order.
// Holes cost nothing, so that a sparse image is identified at the price of its data. Pure; not thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace blanket {

inline constexpr std::size_t kBlockSize = 64 * 1024;

bool is_zero(std::span<const std::byte> data);

class ContentHasher final {
public:
    ContentHasher();
    ContentHasher(ContentHasher&&) noexcept;
    ~ContentHasher();
    // The next block; only the last one of an image may be shorter than 64 KiB. Returns true when the block is all zero.
    bool add(std::span<const std::byte> block);
    void add_zero_blocks(std::uint64_t count, std::uint64_t bytes);  // a hole of `count` blocks and `bytes` bytes
    std::string finish();  // 64 hex digits; the object is used up

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace blanket
