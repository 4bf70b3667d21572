// SPDX-License-Identifier: GPL-2.0-or-later
// See device_io.hpp.
#include "toolstack/storage/device_io.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/core/content_hash.hpp"

namespace blanket::storage {
namespace {
constexpr std::size_t kBounce = 256 * 1024;
}

Result<void> write_range(int fd, std::uint64_t offset, std::span<const std::byte> data) {
    AlignedBuffer bounce(std::min(kBounce, (data.size() + 4095) / 4096 * 4096));
    while (!data.empty()) {
        const auto part = data.first(std::min(data.size(), kBounce));
        std::memcpy(bounce.span().data(), part.data(), part.size());
        BLANKET_CHECK(pwrite_all(fd, bounce.span().first(part.size()), offset));
        offset += part.size();
        data = data.subspan(part.size());
    }
    return {};
}

Result<void> read_range(int fd, std::uint64_t offset, std::span<std::byte> out) {
    AlignedBuffer bounce(std::min(kBounce, (out.size() + 4095) / 4096 * 4096));
    while (!out.empty()) {
        const auto part = out.first(std::min(out.size(), kBounce));
        BLANKET_CHECK(pread_all(fd, bounce.span().first(part.size()), offset));
        std::memcpy(part.data(), bounce.span().data(), part.size());
        offset += part.size();
        out = out.subspan(part.size());
    }
    return {};
}

Result<void> zero_range(int fd, std::uint64_t offset, std::uint64_t length) {
    std::array<std::uint64_t, 2> range{offset, length};
    if (::ioctl(fd, BLKDISCARD, range.data()) == 0) {
        // dm-thin unmaps whole blocks, and what is unmapped reads as zeros; look at both ends rather than trust it.
        std::array<std::byte, 4096> sample{};
        bool zero = true;
        for (const auto at : {offset, offset + length - sample.size()}) {
            BLANKET_CHECK(read_range(fd, at, sample));
            zero = zero && is_zero(sample);
        }
        if (zero) return {};
    }
    AlignedBuffer zeros(kBounce);
    std::ranges::fill(zeros.span(), std::byte{0});
    for (std::uint64_t done = 0; done < length;) {
        const auto part = std::min<std::uint64_t>(kBounce, length - done);
        BLANKET_CHECK(pwrite_all(fd, zeros.span().first(part), offset + done));
        done += part;
    }
    return {};
}

Result<void> flush_device(int fd) {
    if (::fdatasync(fd) != 0) return fail_errno("fdatasync", "a volume");
    return {};
}

}  // namespace blanket::storage
