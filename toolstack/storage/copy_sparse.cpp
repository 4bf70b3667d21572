// SPDX-License-Identifier: GPL-2.0-or-later
// The inner loop of import_image: stream in, content hash of everything, only blocks with content go to the disk. See thin_store.hpp.
#include <unistd.h>

#include "toolstack/core/content_hash.hpp"
#include "toolstack/storage/device_io.hpp"
#include "toolstack/storage/thin_store.hpp"

namespace blanket::storage {
namespace {

// Where the next data of a sparse file begins, in whole blocks from `offset`; `offset` itself for anything that cannot say (pipes).
std::uint64_t skip_hole(int fd, std::uint64_t offset, std::uint64_t size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno != ENXIO) return offset;
    const std::uint64_t next = data < 0 ? size : std::min<std::uint64_t>(static_cast<std::uint64_t>(data), size);
    return next == size && size % kBlock == 0 ? size : next / kBlock * kBlock;
}

}  // namespace

Result<std::string> copy_sparse(int fd, std::uint64_t size, int device) {
    constexpr std::size_t kChunk = 16 * kBlock;
    const off_t start = ::lseek(fd, 0, SEEK_CUR);
    const bool seekable = start == 0;  // only a file that is read from its beginning: positions are the image's own
    ContentHasher hash;
    AlignedBuffer buffer(kChunk);
    for (std::uint64_t offset = 0; offset < size;) {
        if (seekable) {
            if (const auto next = skip_hole(fd, offset, size); next > offset) {
                hash.add_zero_blocks((next - offset) / kBlock, next - offset);
                offset = next;
                if (offset == size) break;
            }
            if (::lseek(fd, static_cast<off_t>(offset), SEEK_SET) < 0) return fail_errno("lseek", "image");
        }
        const auto chunk = buffer.span().first(std::min<std::uint64_t>(kChunk, size - offset));
        if (auto got = read_all(fd, chunk); !got) return std::unexpected(std::move(got).error().context(std::format("image content at byte {}", offset)));
        std::size_t run = 0, at = 0;  // [run, at) has content and is not written yet: runs of blocks go out in one write each
        const auto put = [&](std::size_t end) -> Result<void> { return end > run ? pwrite_all(device, chunk.subspan(run, end - run), offset + run) : Result<void>{}; };
        while (at < chunk.size()) {
            const auto block = chunk.subspan(at, std::min<std::size_t>(kBlock, chunk.size() - at));
            const bool zero = hash.add(block);
            if (zero) BLANKET_CHECK(put(at));
            at += block.size();
            if (zero) run = at;
        }
        BLANKET_CHECK(put(at));
        offset += chunk.size();
    }
    return hash.finish();
}

}  // namespace blanket::storage
