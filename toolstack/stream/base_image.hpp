// SPDX-License-Identifier: GPL-2.0-or-later
// A base image in blocks of a page's size, as both ends of a move read it. Its content never changes, and is the same at both sites: the import verified its hash.
#pragma once

#include <memory>
#include <string>

#include "toolstack/core/ports.hpp"
#include "toolstack/stream/format.hpp"

namespace blanket::stream {

class BaseImage final {
public:
    static Result<BaseImage> open(BlockStore& blocks, const std::string& sha256);
    [[nodiscard]] const std::string& sha256() const { return sha256_; }
    [[nodiscard]] std::uint64_t blocks() const { return blocks_; }  // whole ones
    // Whole blocks from `first` on. kInvalid: the image has no such blocks.
    Result<void> read(std::uint64_t first, std::span<std::byte> out) const;

private:
    BaseImage(std::string sha256, UniqueFd fd, std::uint64_t blocks) : sha256_(std::move(sha256)), fd_(std::move(fd)), blocks_(blocks) {}
    std::string sha256_;
    UniqueFd fd_;
    std::uint64_t blocks_;
};

// Reads single blocks, and more and more at once where they are asked for in order. A read and not a mapping: a disk that fails must not end the process.
class BlockReader final {
public:
    explicit BlockReader(const BaseImage& image) : image_(image) {}
    const std::byte* block(std::uint64_t index);  // kPage bytes until the next call; null when it cannot be read

private:
    static constexpr std::size_t kAhead = 16;
    const BaseImage& image_;
    std::uint64_t first_ = 0, last_asked_ = 0;
    std::size_t filled_ = 0, ahead_ = 1;  // blocks
    std::unique_ptr<std::byte[]> buffer_ = std::make_unique_for_overwrite<std::byte[]>(kAhead * kPage);
};

}  // namespace blanket::stream
