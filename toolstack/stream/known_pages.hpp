// SPDX-License-Identifier: GPL-2.0-or-later
// What the source of a move knows of the pages that the target's content store offers: the first eight bytes of each one's identity under a key of this move, in
// the target's order. A page of this content is told by its place there. Pure, one thread.
//
//   offer = key (32 bytes, random), then 8 bytes a page
#pragma once

#include <optional>

#include "toolstack/stream/block_identity.hpp"
#include "toolstack/stream/format.hpp"

namespace blanket::stream {

inline constexpr std::size_t kMaxOffered = 1'000'000;  // pages, at most; 12 MiB at the source while a move uses them

class KnownPages final {
public:
    // kInvalid: not of this form, or more than `most`.
    static Result<KnownPages> parse(std::span<const std::byte> offer, std::size_t most);

    // The place of a page of this content, which is taken for referred to: it belongs to the next proof. Looks at fewer pages where it finds nothing: a look costs
    // as long as 4 KiB take at a GB per s.
    [[nodiscard]] std::optional<std::uint32_t> find(PageBytes page) { return find(page, pages_); }
    // The same of an earlier version of a page, from which the page differs a little. Where the target has few of those, it looks at fewer; what find() meets says nothing of it.
    [[nodiscard]] std::optional<std::uint32_t> find_version(PageBytes version) { return find(version, versions_); }
    [[nodiscard]] bool referred() const { return !proof_.empty(); }
    Result<PageProof::Value> proof() { return proof_.take(identifier_); }
    [[nodiscard]] std::size_t size() const { return shorts_.size(); }

private:
    static constexpr unsigned kPatience = 2048, kSample = 16;
    struct Patience {
        unsigned left = kPatience, skipped = 0;
    };
    explicit KnownPages(Identifier identifier) : identifier_(std::move(identifier)) {}
    std::optional<std::uint32_t> find(PageBytes page, Patience& patience);
    Identifier identifier_;
    PageProof proof_;
    std::vector<std::uint64_t> shorts_;  // ascending
    std::vector<std::uint32_t> places_, buckets_;
    Patience pages_, versions_;
};

}  // namespace blanket::stream
