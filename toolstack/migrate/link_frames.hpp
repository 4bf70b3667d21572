// SPDX-License-Identifier: GPL-2.0-or-later
// The frames of a ResumableLink (resumable_link.hpp says what they mean): types, sizes, numbers. Pure. Used by the link and its two queues.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace blanket::migrate {

inline constexpr std::uint32_t kFirstLinkType = 0xffff0000u, kLinkAck = 0xffff0001u, kLinkBye = 0xffff0002u, kLinkPart = 0xffff0003u;
inline constexpr std::size_t kLinkNumber = 8;                            // bytes of a frame's number
inline constexpr std::size_t kMostMessage = (8u << 20) - kLinkNumber;    // what a channel's frame holds
// Of a link of several connections only.
inline constexpr unsigned kMostStreams = 16;                             // connections
inline constexpr std::size_t kLinkPiece = 64u << 10;                     // bytes of a message in one frame: so that all connections carry its end
inline constexpr std::size_t kMostFrame = kLinkNumber + kLinkPiece;      // a frame's payload
inline constexpr std::uint64_t kLinkWindow = 32u << 20;                  // bytes of frames that are not acknowledged: what the receiver holds, should the first one be missing
inline constexpr std::uint64_t kMostAhead = 16384;                       // and so many frames

inline void put_link_number(std::byte* out, std::uint64_t value) {
    for (unsigned i = 0; i < kLinkNumber; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
}

inline std::uint64_t link_number(std::span<const std::byte> payload) {  // of at least 8 bytes
    std::uint64_t value = 0;
    for (unsigned i = 0; i < kLinkNumber; ++i) value |= std::to_integer<std::uint64_t>(payload[i]) << (8 * i);
    return value;
}

}  // namespace blanket::migrate
