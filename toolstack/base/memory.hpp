// SPDX-License-Identifier: GPL-2.0-or-later
// A daemon that stands still most of its life gives back what it does not need. Used by daemon/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace blanket {

// Heap that is free goes back to the system.
void trim_heap();

struct Mapping {
    std::uintptr_t begin = 0;
    std::size_t length = 0;  // bytes
    bool operator==(const Mapping&) const = default;
};
// Of a /proc/PID/smaps: what only mirrors a file, unwritten and unwritable, so that dropping it loses nothing. Pure.
std::vector<Mapping> droppable(const std::string& smaps);

// Unmaps the pages of program text and constants; those that are used again come back from the page cache at a minor fault each. What a start reads once
// (the symbol tables and relocations of many libraries) does not. Returns how many bytes were looked over; 0 on an error.
std::size_t drop_start_up_pages();

}  // namespace blanket
