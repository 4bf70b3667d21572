// SPDX-License-Identifier: GPL-2.0-or-later
// A base image in blocks of a page's size, as the target of a move reads it. Its content never changes, and is the same at both sites: the import verified its hash.
#pragma once

#include <string>

#include "toolstack/core/ports.hpp"
#include "toolstack/stream/format.hpp"

namespace blanket::stream {

class BaseImage final {
public:
    static Result<BaseImage> open(BlockStore& blocks, const std::string& sha256);
    [[nodiscard]] const std::string& sha256() const { return sha256_; }
    [[nodiscard]] std::uint64_t blocks() const { return blocks_; }  // whole ones
    // Whole blocks from `first` on. kInvalid: the image has no such blocks. A read and not a mapping: a disk that fails must not end the process.
    Result<void> read(std::uint64_t first, std::span<std::byte> out) const;
    // Returns at once; the disk begins to fetch them into the page cache, with what lies around them: pages of one file lie scattered in memory, and together on
    // the disk, so that most of what is fetched besides will be needed as well.
    void will_need(std::uint64_t first, std::uint64_t count);

private:
    static constexpr std::uint64_t kWindow = 16;  // blocks fetched at once
    BaseImage(std::string sha256, UniqueFd fd, std::uint64_t blocks) : sha256_(std::move(sha256)), fd_(std::move(fd)), blocks_(blocks) {}
    std::string sha256_;
    UniqueFd fd_;
    std::uint64_t blocks_;
    std::vector<bool> fetched_;  // windows that were asked for
};

}  // namespace blanket::stream
