// SPDX-License-Identifier: GPL-2.0-or-later
// Compression: of one block by itself (the disk's blocks, base images), and of a stream whose parts remember each other (memory). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::stream {

inline constexpr std::size_t kMaxBlock = 1u << 20;  // bytes of plain data in one block

enum class Coding : std::uint8_t { kRaw = 0, kZero = 1, kZstd = 2 };
Result<Coding> parse_coding(std::uint8_t value);

// Plain data of at most kMaxBlock bytes <-> coded form. Compression is used where it saves at least an eighth.
struct Coded {
    Coding coding = Coding::kRaw;
    std::vector<std::byte> data;
};
Coded encode(std::span<const std::byte> plain);
// `length` is what the peer says the plain data has; anything that does not expand to exactly that is kInvalid.
Result<std::vector<std::byte>> decode(Coding coding, std::span<const std::byte> data, std::size_t length);

// One zstd frame in parts: each part can be expanded as soon as it is there, and refers to what was in the last 512 KiB before it.
class Compressor final {
public:
    static Result<Compressor> create();
    // The frame's next flushed part; returns its length. `out` has room_for() the plain bytes.
    Result<std::size_t> add(std::span<const std::byte> plain, std::span<std::byte> out);
    static std::size_t room_for(std::size_t plain);

private:
    struct Free {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Free> context_;
};

class Expander final {
public:
    static Result<Expander> create();
    // The frame's next flushed part must expand to exactly `out`, else kInvalid; after an error the object is used up. Allocates at most the window.
    Result<void> add(std::span<const std::byte> part, std::span<std::byte> out);

private:
    struct Free {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Free> context_;
};

}  // namespace blanket::stream
