// SPDX-License-Identifier: GPL-2.0-or-later
// The inner loop of import_image: stream in, hash of everything, only blocks with content go to the disk. See thin_store.hpp.
#include <openssl/evp.h>

#include "toolstack/base/text.hpp"
#include "toolstack/storage/device_io.hpp"
#include "toolstack/storage/thin_store.hpp"

namespace blanket::storage {

Result<std::string> copy_sparse(int fd, std::uint64_t size, int device) {
    constexpr std::size_t kChunk = 16 * kBlock;
    struct Free {
        void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
    };
    const std::unique_ptr<EVP_MD_CTX, Free> hash(EVP_MD_CTX_new());
    if (!hash || EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) != 1) return fail(Kind::kInternal, "SHA-256 is not available");
    AlignedBuffer buffer(kChunk);
    for (std::uint64_t offset = 0; offset < size;) {
        const auto chunk = buffer.span().first(std::min<std::uint64_t>(kChunk, size - offset));
        if (auto got = read_all(fd, chunk); !got) return std::unexpected(std::move(got).error().context(std::format("image content at byte {}", offset)));
        if (EVP_DigestUpdate(hash.get(), chunk.data(), chunk.size()) != 1) return fail(Kind::kInternal, "SHA-256 failed");
        for (std::size_t at = 0; at < chunk.size();) {  // runs of blocks with content in one write each
            const auto block = [&](std::size_t from) { return chunk.subspan(from, std::min<std::size_t>(kBlock, chunk.size() - from)); };
            if (all_zero(block(at))) {
                at += block(at).size();
                continue;
            }
            std::size_t end = at;
            while (end < chunk.size() && !all_zero(block(end))) end += block(end).size();
            BLANKET_CHECK(pwrite_all(device, chunk.subspan(at, end - at), offset + at));
            at = end;
        }
        offset += chunk.size();
    }
    std::array<std::uint8_t, 32> digest{};
    if (EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr) != 1) return fail(Kind::kInternal, "SHA-256 failed");
    return to_hex(digest);
}

}  // namespace blanket::storage
