// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the XML of thin_delta(8) and thin_dump(8) into extents. Pure. Used by ThinMove and ThinStore::image_extents.
// Both tools print numbers of 64 KiB blocks; anything that does not fit the volume is an error, not a guess.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "toolstack/core/ports.hpp"

namespace blanket::storage {

inline constexpr std::uint64_t kMaxExtent = 1u << 20;  // bytes of one Extent

// thin_delta LEFT RIGHT: `different` and `right_only` become data, `left_only` becomes zero, `same` nothing. `size` = the volume's bytes.
Result<std::vector<Extent>> parse_thin_delta(std::string_view xml, std::uint64_t size);
// thin_dump of one device: what is mapped.
Result<std::vector<Extent>> parse_thin_dump(std::string_view xml, std::uint64_t size);

// Joins neighbours of one sort and cuts them to at most kMaxExtent bytes, ordered by offset. Overlaps are kInvalid.
Result<std::vector<Extent>> merge_and_cut(std::vector<Extent> extents);
std::uint64_t data_bytes(const std::vector<Extent>& extents);  // without the zero ones

}  // namespace blanket::storage
