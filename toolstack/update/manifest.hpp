// SPDX-License-Identifier: GPL-2.0-or-later
// What an update says of itself, and whether it may follow the version that runs. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::update {

struct Manifest {
    std::string version, min_version;  // dotted numbers; min_version: the oldest that may be followed by this one
    std::string id;                    // of the image's content, hex
    std::uint64_t tree_bytes = 0;      // tree.tar.zst in the file
    std::string tree_sha256;           // of the same, hex
    std::uint64_t unpacked_bytes = 0;  // what the tree takes on the disk
};

// kInvalid, naming the field: a damaged file, or one for a format or machine that this program does not know.
Result<Manifest> parse_manifest(std::string_view text);

// "1.2.10" is newer than "1.2.9"; at most four numbers, those that are missing count as 0. <0, 0, >0. kInvalid: no version.
Result<int> compare_versions(std::string_view a, std::string_view b);

// May it follow `running`? kConflict: the same or an older version (allowed with `any_version`); kPrecondition: `running` is too old for it.
Result<void> check_follows(const Manifest& manifest, std::string_view running, bool any_version);

}  // namespace blanket::update
