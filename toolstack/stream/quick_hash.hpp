// SPDX-License-Identifier: GPL-2.0-or-later
// A fast 64-bit hash to find candidates and to notice damage. Who finds a candidate compares its bytes: two contents with one hash cost a miss, not a mistake.
#pragma once

#include <bit>
#include <cstdint>

#include "toolstack/stream/format.hpp"

namespace blanket::stream {

// Four lanes, so that the multiplications overlap: about 10 bytes in the time of one.
inline std::uint64_t quick_hash(std::span<const std::byte> data) {
    constexpr std::uint64_t kMix = 0x9e37'79b9'7f4a'7c15u;
    const auto mix = [](std::uint64_t lane, std::uint64_t word) {
        lane = (lane ^ word) * kMix;
        return lane ^ lane >> 29;
    };
    const std::uint64_t length = data.size();
    std::uint64_t a = length, b = ~length, c = kMix, d = ~kMix;
    for (; data.size() >= 32; data = data.subspan(32)) {
        a = mix(a, load<std::uint64_t>(data.data()));
        b = mix(b, load<std::uint64_t>(data.data() + 8));
        c = mix(c, load<std::uint64_t>(data.data() + 16));
        d = mix(d, load<std::uint64_t>(data.data() + 24));
    }
    for (const std::byte byte : data) a = mix(a, std::to_integer<std::uint64_t>(byte));
    return mix(mix(mix(mix(std::rotl(a, 7), b), c), d), length);
}

}  // namespace blanket::stream
