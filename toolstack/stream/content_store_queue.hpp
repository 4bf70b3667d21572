// SPDX-License-Identifier: GPL-2.0-or-later
// Between who feeds the content store and its writer.
#pragma once

#include <cstddef>

namespace blanket::stream {

inline constexpr std::size_t kQueue = 1024;  // pages that wait; what comes while it is full is dropped
inline constexpr std::size_t kBatch = 64;    // pages written at once

}  // namespace blanket::stream
