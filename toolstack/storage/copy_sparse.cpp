// SPDX-License-Identifier: GPL-2.0-or-later
// The inner loop of import_image: content in, its hash out, only blocks with content go to the disk. See thin_store.hpp.
#include <algorithm>
#include <cstring>

#include "toolstack/core/content_hash.hpp"
#include "toolstack/storage/device_io.hpp"
#include "toolstack/storage/thin_store.hpp"

namespace blanket::storage {

Result<std::string> copy_sparse(ImageReader& content, std::uint64_t size, int device) {
    ContentHasher hash;
    AlignedBuffer buffer(16 * kBlock);
    std::uint64_t begin = 0, filled = 0;  // what the buffer holds and the disk lacks; it grows while pieces adjoin, so that writes are long
    std::uint64_t end = 0;                // of what is hashed
    const auto put = [&]() -> Result<void> {
        if (filled == 0) return {};
        BLANKET_CHECK(pwrite_all(device, buffer.span().first(filled), begin));
        filled = 0;
        return {};
    };
    for (;;) {
        BLANKET_TRY(const auto piece, content.next());
        if (!piece) break;
        if (piece->data.empty() || piece->offset < end || piece->offset % kBlock != 0 || piece->offset > size || piece->data.size() > size - piece->offset)
            return fail(Kind::kInvalid, "{} bytes of an image at {} are out of order or beyond its {} bytes", piece->data.size(), piece->offset, size);
        if (piece->offset > end) hash.add_zero_blocks((piece->offset - end + kBlock - 1) / kBlock, piece->offset - end);
        end = piece->offset;
        for (auto rest = piece->data; !rest.empty();) {
            const auto block = rest.first(std::min<std::size_t>(kBlock, rest.size()));
            rest = rest.subspan(block.size());
            if (block.size() < kBlock && end + block.size() != size) return fail(Kind::kInvalid, "a block of {} bytes at {} within an image", block.size(), end);
            if (!hash.add(block)) {
                if (filled != 0 && (begin + filled != end || filled + block.size() > buffer.span().size())) BLANKET_CHECK(put());
                if (filled == 0) begin = end;
                std::memcpy(buffer.span().data() + filled, block.data(), block.size());
                filled += block.size();
            }
            end += block.size();
        }
    }
    BLANKET_CHECK(put());
    if (end < size) hash.add_zero_blocks((size - end + kBlock - 1) / kBlock, size - end);
    return hash.finish();
}

}  // namespace blanket::storage
