// SPDX-License-Identifier: GPL-2.0-or-later
// What the memory stream's codec may use. All of it, but for measurements of what each is worth (vm migrate --without).
#pragma once

#include "toolstack/stream/coding_choice.hpp"

namespace blanket::stream {

struct Features {
    bool references = true;  // to blocks of base images
    bool store = true;       // pages that the target has in its content store
    bool store_deltas = true;  // differences from such pages, where a page has changed since the VM came to the source
    bool versions = true;    // both ends keep what was sent of some pages: unchanged and little changed ones are told by it
    CodingChoice::Rule compression = CodingChoice::Rule::kMeasure;
};

}  // namespace blanket::stream
