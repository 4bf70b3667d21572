// SPDX-License-Identifier: GPL-2.0-or-later
// FdImage: an image's content from a file, a block device or a pipe (port ImageReader). Used by the daemon's `image add` and by tests.
#pragma once

#include "toolstack/core/ports.hpp"
#include "toolstack/storage/device_io.hpp"

namespace blanket::storage {

// Where the next data of a sparse file begins, in whole blocks: `size` when there is none. `offset` (up to `size`) itself for what cannot say, as a block device. Moves the fd's position.
std::uint64_t skip_hole(int fd, std::uint64_t offset, std::uint64_t size);

class FdImage final : public ImageReader {
public:
    // Reads `size` bytes from fd, from its current position. Holes of a file that is read from its beginning are skipped, blocks of zeros anywhere.
    FdImage(int fd, std::uint64_t size);
    Result<std::optional<Piece>> next() override;  // kIo when the content ends early

private:
    int fd_;
    std::uint64_t size_, offset_ = 0;
    bool seekable_;
    AlignedBuffer buffer_;
    std::size_t at_ = 0, filled_ = 0;  // within the buffer, whose first byte is at offset_
};

}  // namespace blanket::storage
