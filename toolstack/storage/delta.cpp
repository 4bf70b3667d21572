// SPDX-License-Identifier: GPL-2.0-or-later
// See delta.hpp. The scanner knows just the tags and attributes that the tools print; no entities, no nesting rules: a stray tag is an error.
#include "toolstack/storage/delta.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

constexpr std::size_t kMaxTag = 512;

struct Tag {
    std::string_view name, attributes;
};

class Scanner final {
public:
    explicit Scanner(std::string_view text) : text_(text) {}
    // False at the end of the text. Closing tags are given with their slash.
    Result<bool> next(Tag& tag) {
        const auto open = text_.find('<');
        if (trim(text_.substr(0, open)).size() != 0) return fail(Kind::kInvalid, "text between the tags: '{}'", trim(text_).substr(0, 60));
        if (open == text_.npos) return false;
        const auto close = text_.find('>', open);
        if (close == text_.npos || close - open > kMaxTag) return fail(Kind::kInvalid, "an unfinished or overlong tag: '{}'", text_.substr(open, 60));
        auto body = text_.substr(open + 1, close - open - 1);
        text_.remove_prefix(close + 1);
        if (body.ends_with('/')) body.remove_suffix(1);
        const auto space = body.find(' ');
        tag.name = body.substr(0, space);
        tag.attributes = space == body.npos ? std::string_view() : body.substr(space + 1);
        return true;
    }

private:
    std::string_view text_;
};

Result<std::uint64_t> attribute(const Tag& tag, std::string_view name) {
    std::string_view rest = tag.attributes;
    while (!rest.empty()) {
        rest = rest.substr(std::min(rest.find_first_not_of(' '), rest.size()));
        const auto equals = rest.find("=\"");
        if (equals == rest.npos) break;
        const auto end = rest.find('"', equals + 2);
        if (end == rest.npos) break;
        if (rest.substr(0, equals) == name) return parse_number(rest.substr(equals + 2, end - equals - 2), 0, 1ull << 48, name);
        rest.remove_prefix(end + 1);
    }
    return fail(Kind::kInvalid, "<{}> has no '{}'", tag.name, name);
}

Result<void> check_block_size(const Tag& superblock) {
    BLANKET_TRY(const auto sectors, attribute(superblock, "data_block_size"));
    if (sectors != kBlock / kSector) return fail(Kind::kInvalid, "the pool's block is {} sectors, {} expected", sectors, kBlock / kSector);
    return {};
}

Result<void> add(std::vector<Extent>& extents, std::uint64_t begin, std::uint64_t length, bool zero, std::uint64_t size) {
    const std::uint64_t blocks = size / kBlock;
    if (length == 0 || begin >= blocks || length > blocks - begin)
        return fail(Kind::kInvalid, "blocks {}+{} lie outside of a volume of {} blocks", begin, length, blocks);
    extents.push_back({begin * kBlock, length * kBlock, zero});
    return {};
}

Error in(std::string_view tool, Error error) { return std::move(error).context(std::format("output of {}", tool)); }

template <typename Handle>
Result<void> scan(std::string_view xml, Handle&& handle) {
    Scanner scanner(xml);
    bool begun = false, ended = false;
    for (Tag tag;;) {
        BLANKET_TRY(const bool more, scanner.next(tag));
        if (!more) break;
        if (ended) return fail(Kind::kInvalid, "<{}> after the end", tag.name);
        if (tag.name == "superblock") {
            if (begun) return fail(Kind::kInvalid, "a second superblock");
            begun = true;
            BLANKET_CHECK(check_block_size(tag));
        } else if (tag.name == "/superblock") {
            ended = true;
        } else if (!begun) {
            return fail(Kind::kInvalid, "<{}> before the superblock", tag.name);
        } else {
            BLANKET_CHECK(handle(tag));
        }
    }
    if (!ended) return fail(Kind::kInvalid, "it is cut off");
    return {};
}

}  // namespace

Result<std::vector<Extent>> merge_and_cut(std::vector<Extent> extents) {
    std::ranges::sort(extents, {}, &Extent::offset);
    std::vector<Extent> merged;
    for (const auto& extent : extents) {
        if (!merged.empty()) {
            auto& last = merged.back();
            if (last.offset + last.length > extent.offset) return fail(Kind::kInvalid, "extents overlap at offset {}", extent.offset);
            if (last.offset + last.length == extent.offset && last.zero == extent.zero) {
                last.length += extent.length;
                continue;
            }
        }
        merged.push_back(extent);
    }
    std::vector<Extent> cut;
    for (auto extent : merged) {
        while (extent.length > kMaxExtent) {
            cut.push_back({extent.offset, kMaxExtent, extent.zero});
            extent.offset += kMaxExtent;
            extent.length -= kMaxExtent;
        }
        cut.push_back(extent);
    }
    return cut;
}

Result<std::vector<Extent>> parse_thin_delta(std::string_view xml, std::uint64_t size) {
    std::vector<Extent> extents;
    auto done = scan(xml, [&](const Tag& tag) -> Result<void> {
        if (tag.name == "diff" || tag.name == "/diff") return {};
        const bool left = tag.name == "left_only", same = tag.name == "same";
        if (!left && !same && tag.name != "right_only" && tag.name != "different") return fail(Kind::kInvalid, "<{}> is unknown", tag.name.substr(0, 40));
        BLANKET_TRY(const auto begin, attribute(tag, "begin"));
        BLANKET_TRY(const auto length, attribute(tag, "length"));
        // The base may be longer than its snapshot never is; a left_only beyond the end would be a shrunk volume: refused by add().
        if (same) return {};
        return add(extents, begin, length, left, size);
    });
    if (!done) return std::unexpected(in("thin_delta", std::move(done).error()));
    return merge_and_cut(std::move(extents));
}

Result<std::vector<Extent>> parse_thin_dump(std::string_view xml, std::uint64_t size) {
    std::vector<Extent> extents;
    auto done = scan(xml, [&](const Tag& tag) -> Result<void> {
        if (tag.name == "device" || tag.name == "/device") return {};
        if (tag.name == "single_mapping") {
            BLANKET_TRY(const auto block, attribute(tag, "origin_block"));
            return add(extents, block, 1, false, size);
        }
        if (tag.name != "range_mapping") return fail(Kind::kInvalid, "<{}> is unknown", tag.name.substr(0, 40));
        BLANKET_TRY(const auto begin, attribute(tag, "origin_begin"));
        BLANKET_TRY(const auto length, attribute(tag, "length"));
        return add(extents, begin, length, false, size);
    });
    if (!done) return std::unexpected(in("thin_dump", std::move(done).error()));
    return merge_and_cut(std::move(extents));
}

std::uint64_t data_bytes(const std::vector<Extent>& extents) {
    std::uint64_t sum = 0;
    for (const auto& extent : extents)
        if (!extent.zero) sum += extent.length;
    return sum;
}

}  // namespace blanket::storage
