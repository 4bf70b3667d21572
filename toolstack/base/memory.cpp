// SPDX-License-Identifier: GPL-2.0-or-later
// See memory.hpp.
#include "toolstack/base/memory.hpp"

#include <malloc.h>
#include <sys/mman.h>

#include <charconv>
#include <optional>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct Area {
    Mapping at;
    bool file = false, writable = false;
};

// "7f10-7f20 r-xp 00000000 fd:01 1234  /usr/lib/libc.so.6"
std::optional<Area> parse_area(std::string_view line) {
    std::uintptr_t begin = 0, end = 0;
    const char* const last = line.data() + line.size();
    const auto first = std::from_chars(line.data(), last, begin, 16);
    if (first.ec != std::errc() || first.ptr == last || *first.ptr != '-') return std::nullopt;
    const auto second = std::from_chars(first.ptr + 1, last, end, 16);
    if (second.ec != std::errc() || last - second.ptr < 5 || *second.ptr != ' ' || end <= begin) return std::nullopt;
    const std::string_view rights(second.ptr + 1, 4);
    return Area{{begin, end - begin}, line.find(" /") != std::string_view::npos, rights[1] == 'w' || rights[3] == 's'};
}

}  // namespace

void trim_heap() { ::malloc_trim(0); }

std::vector<Mapping> droppable(const std::string& smaps) {
    std::vector<Mapping> out;
    std::optional<Area> now;
    for (const auto& line : split(smaps, '\n')) {
        if (auto area = parse_area(line)) now = area;
        // Relocated constants are read-only too, but no longer what the file holds: they count as anonymous.
        if (now && line.starts_with("Anonymous:")) {
            if (now->file && !now->writable && trim(std::string_view(line).substr(10)) == "0 kB") out.push_back(now->at);
            now.reset();
        }
    }
    return out;
}

std::size_t drop_start_up_pages() {
    const auto smaps = read_file("/proc/self/smaps", 16u << 20);
    if (!smaps) return 0;
    std::size_t bytes = 0;
    for (const auto& area : droppable(*smaps))
        if (::madvise(reinterpret_cast<void*>(area.begin), area.length, MADV_DONTNEED) == 0) bytes += area.length;  // NOLINT(performance-no-int-to-ptr)
    return bytes;
}

}  // namespace blanket
