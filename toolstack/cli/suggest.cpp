// SPDX-License-Identifier: GPL-2.0-or-later
// See suggest.hpp.
#include "toolstack/cli/suggest.hpp"

#include <algorithm>
#include <array>

namespace blanket::cli {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    constexpr std::size_t kMax = 64;
    a = a.substr(0, kMax);
    b = b.substr(0, kMax);
    std::array<std::array<std::size_t, kMax + 1>, kMax + 1> cost{};
    for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i)
        for (std::size_t j = 1; j <= b.size(); ++j) {
            cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    return cost[a.size()][b.size()];
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
    const std::size_t limit = std::max<std::size_t>(2, word.size() / 3);
    std::size_t best = limit + 1;
    std::string found;
    for (const auto& candidate : candidates) {
        const bool begins = word.size() >= 2 && candidate.starts_with(word);  // an unfinished word is near
        const std::size_t distance = begins ? 1 : edit_distance(word, candidate);
        if (distance < best && distance < std::max(word.size(), candidate.size())) {
            best = distance;
            found = candidate;
        }
    }
    return found;
}

}  // namespace blanket::cli
