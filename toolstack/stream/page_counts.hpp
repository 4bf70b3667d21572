// SPDX-License-Identifier: GPL-2.0-or-later
// What became of the pages of a move: how many of each class, and what they cost.
#pragma once

#include <cstdint>

namespace blanket::stream {

struct ClassCount {
    std::uint64_t pages = 0;
    std::uint64_t wire_bytes = 0;  // coded; of a batch that was compressed as one, each class's share by its part before that
};

struct PageCounts {
    ClassCount zero, same, delta, reference, raw;
};

}  // namespace blanket::stream
