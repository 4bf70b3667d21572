// SPDX-License-Identifier: GPL-2.0-or-later
// What the benches of the memory stream's codec share: the pieces in which a save comes, and the classes of its pages.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "toolstack/base/json.hpp"
#include "toolstack/stream/page_counts.hpp"

namespace blanket::stream {

inline constexpr std::size_t kPiece = 256 * 1024;  // what the save's pipe gives at once

template <typename Take>
void in_pieces(std::span<const std::byte> data, const Take& take) {
    for (; !data.empty(); data = data.subspan(std::min(kPiece, data.size()))) take(data.first(std::min(kPiece, data.size())));
}

struct NamedClass {
    const char* name;
    ClassCount count;
};

inline std::array<NamedClass, 7> classes_of(const PageCounts& counts) {
    return {{{"zero", counts.zero}, {"same", counts.same}, {"delta", counts.delta}, {"reference", counts.reference}, {"store", counts.store}, {"store_delta", counts.store_delta}, {"raw", counts.raw}}};
}

inline Json classes_json(const PageCounts& counts) {
    Json classes = Json::object();
    for (const auto& [name, count] : classes_of(counts)) classes[name] = {{"pages", count.pages}, {"wire_bytes", count.wire_bytes}};
    return classes;
}

}  // namespace blanket::stream
