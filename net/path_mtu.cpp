// SPDX-License-Identifier: GPL-2.0-or-later
// See path_mtu.hpp.
#include "net/path_mtu.hpp"

namespace blanket::net {

std::optional<std::uint32_t> largest_passing(std::uint32_t largest, std::uint32_t hint, const std::function<bool(std::uint32_t size)>& passes) {
    if (largest < kSmallestPathMtu) return std::nullopt;
    if (passes(largest)) return largest;
    if (largest == kSmallestPathMtu || !passes(kSmallestPathMtu)) return std::nullopt;
    std::uint32_t good = kSmallestPathMtu, bad = largest;
    const auto ask = [&](std::uint32_t size) { (passes(size) ? good : bad) = size; };
    if (hint > good && hint < bad) ask(hint);
    if (hint == good && good + 1 < bad) ask(good + 1);
    while (bad - good > 1) ask(good + (bad - good) / 2);
    return good;
}

}  // namespace blanket::net
