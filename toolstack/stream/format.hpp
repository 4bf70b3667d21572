// SPDX-License-Identifier: GPL-2.0-or-later
// The coded form of a memory stream: the one place where its rules stand. Used by encoder.cpp and decoder.cpp.
//
// The plain stream is what libxl's live save puts out (Xen's docs/specs/libxl-migration-stream and libxc-migration-stream, image version 3). The decoder
// gives it back byte for byte. Only the encoder understands it; where it does not, bytes travel as they are.
//
//   batch   = plain u32, tokens u32, residue u32, coding u8, coded           numbers of fixed size are little-endian
//             plain: how many bytes of the stream the batch stands for, 1 to kMaxPlain
//             coded: `residue` bytes, then `tokens` bytes of tokens, which take from the residue, front to back. Coding::kRaw: as they are. Coding::kZstd: the
//             next flushed part of one zstd frame (window <= 512 KiB) that goes through all batches of this coding.
//   token   = number (n << 3 | kind), what the kind adds; n is at least 1
//   number  = base 128, the low seven bits first, at most ten bytes; a signed one is folded: 0, -1, 1, -2, ...
//
//   kind              adds                      stands for
//   0 kBytes                                    n bytes of the residue
//   1 kEntries        (step, repeats - 1)...    n entries of a PAGE_DATA record, 8 bytes each: an entry turned left by four bits (so that its type comes
//                                               last) is the one before it, plus 16, plus the signed step, until they are n
//   2 kPlainEntries                             n entries, 8 bytes each, from the residue
//   3 kZero                                     n pages of zeros
//   4 kSame                                     n pages as both ends hold them
//   5 kDelta          (skip, words)...          one page, n runs: after `skip` words as both ends hold them come words whose difference (XOR) is in the residue
//   6 kReference      image, step               n pages: blocks of a base image, from the one behind the last reference to an image plus the signed step on. The
//                                               number behind the images' stands for the content store: pages that the target offered, counted apart from blocks.
//                                               The number behind that stands for one page that differs from an offered one: n runs follow, as of kDelta
//   7 kRaw                                      n pages from the residue
//
// An entry (bits 63-60 the page's type, 51-0 its frame number) announces a page unless its type carries no data; pages follow in the order of their entries,
// kMaxEntries at most are outstanding. What both ends hold of a frame is page_cache.hpp's matter: a policy that both compute from what was sent.
// kSame and kDelta were compared with the bytes held; kReference was told by a keyed cryptographic hash (block_identity.hpp) of an image whose SHA-256 both ends know.
// A batch that refers to the content store ends its residue with a proof of 16 bytes (PageProof, over the whole identities of the pages referred to, in order, under the key of the
// offer): the target makes it of the pages that it read before any of the batch goes on. So it shows that both have the same pages, and that the source has them at all.
//
// Version rule: `kVersion` is said when memory begins (migrate/protocol.hpp); another one is refused.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::stream {

inline constexpr std::uint64_t kVersion = 3;
inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kWords = kPage / 8;
inline constexpr std::size_t kMaxStep = 1u << 20;             // bytes given to the encoder at once
inline constexpr std::size_t kMaxPlain = kMaxStep + kPage;    // and the page that was not whole before
inline constexpr std::size_t kMaxTokens = kMaxPlain + kPage;  // a token is never longer than what it stands for
inline constexpr std::size_t kMaxResidue = kMaxPlain;
inline constexpr std::size_t kHead = 4 + 4 + 4 + 1;
inline constexpr std::size_t kMaxEntries = 4096;              // of one PAGE_DATA record; libxc makes 1024
inline constexpr std::size_t kMaxImages = 16;

enum class Token : std::uint8_t { kBytes, kEntries, kPlainEntries, kZero, kSame, kDelta, kReference, kRaw };

using PageBytes = std::span<const std::byte, kPage>;

// Of a PAGE_DATA record's entry. BROKEN, XALLOC and XTAB carry no page.
inline std::uint64_t frame_of(std::uint64_t entry) { return entry & 0x000f'ffff'ffff'ffffu; }
inline bool announces_page(std::uint64_t entry) { return entry >> 60 < 0xd; }

template <typename T>
T load(const std::byte* from) {  // little-endian, as this machine is
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline constexpr std::uint64_t fold(std::uint64_t step) { return step << 1 ^ (0 - (step >> 63)); }
inline constexpr std::uint64_t unfold(std::uint64_t number) { return number >> 1 ^ (0 - (number & 1)); }

inline void put_number(std::vector<std::byte>& out, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
    out.push_back(static_cast<std::byte>(value));
}

inline Result<std::uint64_t> take_number(std::span<const std::byte>& in) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < in.size() && i < 10; ++i) {
        const auto part = std::to_integer<std::uint64_t>(in[i]);
        if (i == 9 && part > 1) break;
        value |= (part & 0x7f) << (7 * i);
        if (part >= 0x80) continue;
        in = in.subspan(i + 1);
        return value;
    }
    return fail(Kind::kInvalid, "a number of the memory stream does not end");
}

}  // namespace blanket::stream
