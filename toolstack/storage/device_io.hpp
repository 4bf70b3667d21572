// SPDX-License-Identifier: GPL-2.0-or-later
// Block device I/O past the page cache: aligned buffers, whole-range reads and writes, discard, flush. Used by the importer and by ThinMove.
// Past the page cache, because the same blocks are reached through several device-mapper devices, whose caches do not know each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "toolstack/base/result.hpp"

namespace blanket::storage {

class AlignedBuffer final {
public:
    explicit AlignedBuffer(std::size_t size) : data_(static_cast<std::byte*>(std::aligned_alloc(4096, size))), size_(size) {}
    [[nodiscard]] std::span<std::byte> span() { return {data_.get(), size_}; }

private:
    struct Free {
        void operator()(std::byte* data) const { std::free(data); }  // NOLINT: pairs with aligned_alloc
    };
    std::unique_ptr<std::byte, Free> data_;
    std::size_t size_;
};

// Offset, length multiples of 4096; `data` of any alignment (it goes through a bounce buffer).
Result<void> write_range(int fd, std::uint64_t offset, std::span<const std::byte> data);
Result<void> read_range(int fd, std::uint64_t offset, std::span<std::byte> out);
// Makes the range read as zeros: discard where the device unmaps whole blocks, else zeros are written.
Result<void> zero_range(int fd, std::uint64_t offset, std::uint64_t length);
Result<void> flush_device(int fd);

}  // namespace blanket::storage
