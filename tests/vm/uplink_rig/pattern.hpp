// SPDX-License-Identifier: GPL-2.0-or-later
// What the two ends of the uplink test write and expect on the disk. Pure.
#pragma once

#include <cstdint>
#include <span>

namespace blanket::rig {

constexpr std::uint64_t kRegionBytes = 16u << 20;  // first: written by the provider, read inside; second: the other way round
constexpr std::uint64_t kProviderSeed = 0x70726f7669646572, kInsideSeed = 0x696e73696465;

// Of each of the stretches of requests in the provider's trace (exits.hpp): read one at a time and eight, written one at a time and eight. Fewer for an emulated device.
constexpr int kExitRequests = 1600, kSlowExitRequests = 200;
constexpr const char* kExitStretches[] = {"read_qd1", "read_qd8", "write_qd1", "write_qd8"};

constexpr int kMeterPort = 7778;  // meter.cpp

// The word at an index (in words of 8 bytes): no two blocks alike, so a block at the wrong place shows.
constexpr std::uint64_t word_at(std::uint64_t index, std::uint64_t seed) {
    std::uint64_t x = index + seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

inline void fill(std::span<std::uint64_t> words, std::uint64_t first, std::uint64_t seed) {
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = word_at(first + i, seed);
}

inline bool holds(std::span<const std::uint64_t> words, std::uint64_t first, std::uint64_t seed) {
    for (std::size_t i = 0; i < words.size(); ++i)
        if (words[i] != word_at(first + i, seed)) return false;
    return true;
}

}  // namespace blanket::rig
