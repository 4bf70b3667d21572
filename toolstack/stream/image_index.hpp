// SPDX-License-Identifier: GPL-2.0-or-later
// Which block of a base image has this content: what a move needs to tell a page by a block without reading the image. Made while the image is imported, kept as
// a file of this site: about 44 bytes a block, 11 MiB per GiB of data. All-zero blocks are left out. Pure but for load and save; one thread.
//
//   file = "BLKTIDX2", version u32, reserved u32, image's hash (64 hex digits), key (32 bytes), count u64,
//          count quick hashes u64 ascending, count blocks u32, count identities of 32 bytes, checksum u64                        mode 0600: the key is secret
//   Version rule: a file of another version, length or checksum is not read, and moves do not refer to that image.
#pragma once

#include <optional>
#include <string>

#include "toolstack/stream/block_identity.hpp"
#include "toolstack/stream/format.hpp"

namespace blanket::stream {

class ImageIndex final {
public:
    // At most this many blocks are known (4 GiB of data, 44 MiB here while a move uses it); the rest of a larger image is never referred to.
    static constexpr std::size_t kMaxBlocks = 1u << 20;

    class Builder;
    // kNotFound: no file; kInvalid: it is damaged, or of another version or image.
    static Result<ImageIndex> load(const std::string& path, const std::string& sha256);
    Result<void> save(const std::string& path) const;

    // A block of this content; of several, the first. A look at the bytes costs little where there is none.
    [[nodiscard]] std::optional<std::uint32_t> find(PageBytes page);
    [[nodiscard]] const std::string& sha256() const { return sha256_; }
    [[nodiscard]] std::size_t size() const { return hashes_.size(); }

private:
    ImageIndex(std::string sha256, const IdentityKey& key, Identifier identifier) : sha256_(std::move(sha256)), key_(key), identifier_(std::move(identifier)) {}
    void make_buckets();

    std::string sha256_;
    IdentityKey key_;
    Identifier identifier_;
    std::vector<std::uint64_t> hashes_;
    std::vector<std::uint32_t> blocks_;
    std::vector<Identity> identities_;
    std::vector<std::uint32_t> buckets_;  // where the hashes that begin with these bits begin
    unsigned shift_ = 63;
};

// Takes the image's content in any pieces of whole blocks.
class ImageIndex::Builder final {
public:
    static Result<Builder> create();
    Result<void> add(std::uint64_t offset, std::span<const std::byte> data);
    Result<ImageIndex> finish(const std::string& sha256);  // the object is used up

private:
    struct Found {
        std::uint64_t hash;
        std::uint32_t block;
        Identity identity;
    };
    Builder(const IdentityKey& key, Identifier identifier) : key_(key), identifier_(std::move(identifier)) {}
    IdentityKey key_;
    Identifier identifier_;
    std::vector<Found> found_;
};

}  // namespace blanket::stream
