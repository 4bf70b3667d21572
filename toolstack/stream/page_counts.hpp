// SPDX-License-Identifier: GPL-2.0-or-later
// What became of the pages of a move: how many of each class, and what they cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace blanket::stream {

struct ClassCount {
    std::uint64_t pages = 0;
    std::uint64_t wire_bytes = 0;  // coded; of a batch that was compressed as one, each class's share by its part before that
};

struct PageCounts {
    ClassCount zero, same, delta, reference, store, store_delta, raw;  // reference: to a base image; store: to the target's content store; store_delta: a difference from a page there
};

// One walk of the save over the frames, upwards: a pre-copy round, or what was left when the guest stood still. A round whose frames all lie above those of the
// one before belongs to that one's walk.
struct PassCount {
    std::uint64_t entries = 0;                // frames announced; some types carry no page
    std::uint64_t bytes = 0, wire_bytes = 0;  // all that came during it, before and after coding
    PageCounts pages;
};

inline constexpr std::size_t kMaxPasses = 64;  // what comes after that counts into the last one

}  // namespace blanket::stream
