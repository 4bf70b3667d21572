// SPDX-License-Identifier: GPL-2.0-or-later
// See fd_image.hpp.
#include "toolstack/storage/fd_image.hpp"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

#include "toolstack/core/content_hash.hpp"

namespace blanket::storage {
namespace {

constexpr std::size_t kChunk = 16 * kBlockSize;

}  // namespace

std::uint64_t skip_hole(int fd, std::uint64_t offset, std::uint64_t size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0) return errno == ENXIO ? size : offset;
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(data) / kBlockSize * kBlockSize, offset, size);
}

FdImage::FdImage(int fd, std::uint64_t size) : fd_(fd), size_(size), seekable_(::lseek(fd, 0, SEEK_CUR) == 0), buffer_(kChunk) {}

Result<std::optional<ImageReader::Piece>> FdImage::next() {
    for (;;) {
        while (at_ < filled_) {
            const std::size_t begin = at_;
            const auto block = buffer_.span().subspan(begin, std::min(kBlockSize, filled_ - begin));
            at_ += block.size();
            if (!is_zero(block)) return Piece{offset_ + begin, block};
        }
        offset_ += filled_;
        at_ = filled_ = 0;
        if (seekable_ && offset_ < size_) {
            offset_ = skip_hole(fd_, offset_, size_);
            if (offset_ < size_ && ::lseek(fd_, static_cast<off_t>(offset_), SEEK_SET) < 0) return fail_errno("lseek", "image");
        }
        if (offset_ >= size_) return std::optional<Piece>();
        const auto chunk = buffer_.span().first(std::min<std::uint64_t>(kChunk, size_ - offset_));
        if (auto got = read_all(fd_, chunk); !got) return std::unexpected(std::move(got).error().context(std::format("image content at byte {}", offset_)));
        filled_ = chunk.size();
    }
}

}  // namespace blanket::storage
