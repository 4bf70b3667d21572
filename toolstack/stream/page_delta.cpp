// SPDX-License-Identifier: GPL-2.0-or-later
// See page_delta.hpp.
#include "toolstack/stream/page_delta.hpp"

namespace blanket::stream {
namespace {

std::uint64_t word(const std::byte* page, std::size_t index) { return load<std::uint64_t>(page + index * 8); }

}  // namespace

std::size_t make_delta(const std::byte* held, PageBytes page, std::vector<std::byte>& runs, std::vector<std::byte>& residue) {
    const std::byte* const now = page.data();
    const std::size_t runs_before = runs.size(), residue_before = residue.size();
    std::size_t count = 0, words = 0;
    for (std::size_t at = 0, end = 0; at < kWords; ++at) {  // end: behind the last run
        if (word(held, at) == word(now, at)) continue;
        const std::size_t begin = at;
        for (std::uint64_t change; at < kWords && (change = word(held, at) ^ word(now, at)) != 0; ++at) {
            if (++words > kMaxDeltaWords) {
                runs.resize(runs_before);
                residue.resize(residue_before);
                return 0;
            }
            const auto* const raw = reinterpret_cast<const std::byte*>(&change);
            residue.insert(residue.end(), raw, raw + sizeof change);
        }
        put_number(runs, begin - end);
        put_number(runs, at - begin);
        end = at;
        ++count;
    }
    return count;
}

Result<void> apply_delta(const std::byte* held, std::uint64_t count, std::span<const std::byte>& runs, std::span<const std::byte>& residue, std::byte* out) {
    std::memcpy(out, held, kPage);
    std::size_t at = 0;
    for (; count > 0; --count) {
        BLANKET_TRY(const std::uint64_t skip, take_number(runs));
        BLANKET_TRY(const std::uint64_t words, take_number(runs));
        if (skip > kWords - at || words == 0 || words > kWords - at - skip || words > residue.size() / 8)
            return fail(Kind::kInvalid, "a page's difference of {} words after {} does not fit", words, at + skip);
        at += skip;
        for (const std::size_t end = at + words; at < end; ++at) {
            const std::uint64_t value = word(held, at) ^ load<std::uint64_t>(residue.data());
            std::memcpy(out + at * 8, &value, sizeof value);
            residue = residue.subspan(8);
        }
    }
    return {};
}

}  // namespace blanket::stream
