// SPDX-License-Identifier: GPL-2.0-or-later
// The difference between two versions of a page, word by word (Token::kDelta in format.hpp). Pure.
#pragma once

#include "toolstack/stream/format.hpp"

namespace blanket::stream {

inline constexpr std::size_t kMaxDeltaWords = 192;  // beyond that the whole page is about as small once it is compressed

// Appends the runs' numbers to `runs` and the words to `residue`. Returns how many runs there are; 0: more than kMaxDeltaWords differ, or none, and nothing was appended.
std::size_t make_delta(const std::byte* held, PageBytes page, std::vector<std::byte>& runs, std::vector<std::byte>& residue);

// Takes `count` runs from `runs` and their words from `residue`, and writes the new version to `out` (kPage bytes, not over `held`). kInvalid: they do not fit.
Result<void> apply_delta(const std::byte* held, std::uint64_t count, std::span<const std::byte>& runs, std::span<const std::byte>& residue, std::byte* out);

}  // namespace blanket::stream
