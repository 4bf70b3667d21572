// SPDX-License-Identifier: GPL-2.0-or-later
// See base_image.hpp.
#include "toolstack/stream/base_image.hpp"

#include <algorithm>
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

const std::byte* BlockReader::block(std::uint64_t index) {
    if (index >= image_.blocks()) return nullptr;
    const bool in_order = index == last_asked_ + 1;
    last_asked_ = index;
    if (index >= first_ && index - first_ < filled_) return buffer_.get() + (index - first_) * kPage;
    ahead_ = in_order ? std::min(ahead_ * 2, kAhead) : 1;
    filled_ = 0;
    const auto count = std::min<std::uint64_t>(ahead_, image_.blocks() - index);
    if (!image_.read(index, {buffer_.get(), count * kPage})) return nullptr;
    first_ = index;
    filled_ = count;
    return buffer_.get();
}

}  // namespace blanket::stream
