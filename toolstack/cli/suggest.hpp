// SPDX-License-Identifier: GPL-2.0-or-later
// "Did you mean": the nearest word by edit distance. Pure. Called by args and run.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace blanket::cli {

// Insertions, deletions, substitutions and swaps of neighbours. Only the first 64 characters count.
std::size_t edit_distance(std::string_view a, std::string_view b);
// The nearest candidate, or empty when none is near (more than a third of the word would have to change, at least 2).
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace blanket::cli
