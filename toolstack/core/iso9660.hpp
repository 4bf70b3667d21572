// SPDX-License-Identifier: GPL-2.0-or-later
// A small ISO 9660 image with Rock Ridge names, made in memory: the same files give the same bytes at every site and in every version. Pure. Used by seed.cpp.
// Sources: ECMA-119 (volume descriptors, path tables, directory records), SUSP 1.12 and RRIP 1.12 (SP, ER, PX, NM); names of such files: isofs of Linux.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blanket {

struct IsoFile {
    std::string name;     // as Linux shows it, 1..64 characters
    std::string content;  // at most 1 MiB
};

// All files lie in the root folder, eight at most, readable for everyone. `label`: 1..32 characters.
std::string make_iso9660(std::string_view label, const std::vector<IsoFile>& files);

}  // namespace blanket
