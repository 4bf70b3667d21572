// SPDX-License-Identifier: GPL-2.0-or-later
// What the content store calls the pages of a VM that came to this site, by frame: of each one the version that the move left here. One file a VM; written once, after
// the move. It is never made durable and nothing needs to be: a file that is torn, damaged, another tenant's or of another version is none, and a key that is wrong
// names a page of no use. Who uses such a page proves that the other end has the same.
//
//   file = "BLKTFRAM", version u32, reserved u32, tag (16 bytes: whose pages these are), count u64, checksum u64 of all but itself, then a key u64 for each frame from 0 on
//   key  = the first 8 bytes of the page's identity under the tenant's key; 0: none is known                                             mode 0600
//   Version rule: a file of another version is none.
#pragma once

#include "toolstack/stream/page_segment.hpp"

namespace blanket::stream {

inline constexpr std::string_view kFramesSuffix = ".frames";

struct FrameKeys {
    static constexpr std::size_t kMost = 1'000'000;  // frames: of a VM of 4 GiB; those behind them are not kept
    PageSegment::Tag tag{};
    std::vector<std::uint64_t> keys;

    [[nodiscard]] static std::uint64_t file_bytes(std::size_t frames);
    // Takes the place of what is there.
    [[nodiscard]] Result<void> save(const std::string& path) const;
    // kInvalid: it is none.
    static Result<FrameKeys> load(const std::string& path);
};

}  // namespace blanket::stream
