// SPDX-License-Identifier: GPL-2.0-or-later
// See base_image.hpp.
#include "toolstack/stream/base_image.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace blanket::stream {

Result<BaseImage> BaseImage::open(BlockStore& blocks, const std::string& sha256) {
    BLANKET_TRY(UniqueFd fd, blocks.open_image(sha256));
    const off_t size = ::lseek(fd.get(), 0, SEEK_END);
    if (size < 0) return fail_errno("lseek", "base image " + sha256.substr(0, 12));
    return BaseImage(sha256, std::move(fd), static_cast<std::uint64_t>(size) / kPage);
}

Result<void> BaseImage::read(std::uint64_t first, std::span<std::byte> out) const {
    const std::uint64_t count = out.size() / kPage;
    if (count > blocks_ || first > blocks_ - count)
        return fail(Kind::kInvalid, "a reference to {} blocks from {} of base image {}, which has {}", count, first, sha256_.substr(0, 12), blocks_);
    return pread_all(fd_.get(), out, first * kPage);
}

void BaseImage::will_need(std::uint64_t first, std::uint64_t count) {
    if (count == 0 || count > blocks_ || first > blocks_ - count) return;  // read() says so
    fetched_.resize((blocks_ + kWindow - 1) / kWindow);
    for (std::uint64_t window = first / kWindow; window <= (first + count - 1) / kWindow; ++window) {
        if (fetched_[window]) continue;
        fetched_[window] = true;
        (void)::posix_fadvise(fd_.get(), static_cast<off_t>(window * kWindow * kPage), kWindow * kPage, POSIX_FADV_WILLNEED);
    }
}

}  // namespace blanket::stream
