// SPDX-License-Identifier: GPL-2.0-or-later
// Which block of a base image has this content: sorted hashes of its blocks of a page's size, all-zero ones left out. It only proposes; who uses it compares bytes,
// so a wrong index costs bytes on the wire and nothing else. Kept as a file beside the site's state: about 12 bytes a block, 3 MiB per GiB of data.
//
//   file = "BLKTIDX1", version u32, reserved u32, image's hash (64 hex digits), count u64, count hashes u64 ascending, count blocks u32, checksum u64
//   Version rule: another version, length or checksum is not read, and the index is built anew.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "toolstack/stream/base_image.hpp"

namespace blanket::stream {

class ImageIndex final {
public:
    // At most this many blocks are known (8 GiB of data, 24 MiB here, twice that while it is built); the rest of a larger image is never referred to.
    static constexpr std::size_t kMaxBlocks = 1u << 21;

    // Reads these parts of the image once. `stop` is asked between them; true: kCancelled.
    static Result<ImageIndex> build(BlockStore& blocks, const std::string& sha256, std::span<const Extent> extents, const std::function<bool()>& stop);
    // kNotFound: no file; kInvalid: it is damaged, or of another version or image.
    static Result<ImageIndex> load(const std::string& path, const std::string& sha256);
    Result<void> save(const std::string& path) const;

    // A block whose hash (quick_hash) this is; of several with one content, the first.
    [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t hash) const;
    [[nodiscard]] std::size_t size() const { return hashes_.size(); }

private:
    explicit ImageIndex(std::string sha256) : sha256_(std::move(sha256)) {}
    void make_buckets();

    std::string sha256_;
    std::vector<std::uint64_t> hashes_;
    std::vector<std::uint32_t> blocks_;
    std::vector<std::uint32_t> buckets_;  // where the hashes that begin with these bits begin
    unsigned shift_ = 63;
};

}  // namespace blanket::stream
