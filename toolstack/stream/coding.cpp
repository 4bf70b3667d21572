// SPDX-License-Identifier: GPL-2.0-or-later
// See coding.hpp.
#include "toolstack/stream/coding.hpp"

#include <cstring>
#include <zstd.h>

#include "toolstack/core/content_hash.hpp"

namespace blanket::stream {
namespace {

constexpr int kZstdLevel = 1;   // the link must not wait for the encoder
constexpr int kWindowLog = 19;  // what both ends keep of the stream: 512 KiB
constexpr int kHashLog = 14, kMinMatch = 6;  // for a stream that goes on: a little smaller than the level's own, at its speed

}  // namespace

Result<Coding> parse_coding(std::uint8_t value) {
    if (value > static_cast<std::uint8_t>(Coding::kZstd)) return fail(Kind::kInvalid, "unknown coding {}", value);
    return static_cast<Coding>(value);
}

Coded encode(std::span<const std::byte> plain) {
    if (is_zero(plain)) return {Coding::kZero, {}};
    std::vector<std::byte> out(ZSTD_compressBound(plain.size()));
    const std::size_t got = ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), kZstdLevel);
    if (ZSTD_isError(got) != 0 || got > plain.size() - plain.size() / 8) return {Coding::kRaw, {plain.begin(), plain.end()}};
    out.resize(got);
    return {Coding::kZstd, std::move(out)};
}

Result<std::vector<std::byte>> decode(Coding coding, std::span<const std::byte> data, std::size_t length) {
    if (length > kMaxBlock) return fail(Kind::kInvalid, "a block of {} bytes is longer than {}", length, kMaxBlock);
    std::vector<std::byte> plain(length);
    switch (coding) {
        case Coding::kZero:
            if (!data.empty()) return fail(Kind::kInvalid, "a zero block carries {} bytes", data.size());
            return plain;
        case Coding::kRaw:
            if (data.size() != length) return fail(Kind::kInvalid, "a raw block of {} bytes carries {}", length, data.size());
            return std::vector<std::byte>(data.begin(), data.end());
        case Coding::kZstd: {
            const std::size_t got = ZSTD_decompress(plain.data(), plain.size(), data.data(), data.size());
            if (ZSTD_isError(got) != 0 || got != length)
                return fail(Kind::kInvalid, "a compressed block does not expand to its {} bytes: {}", length,
                            ZSTD_isError(got) != 0 ? ZSTD_getErrorName(got) : "too short");
            return plain;
        }
    }
    return fail(Kind::kInvalid, "unknown coding");
}

void Compressor::Free::operator()(void* context) const { ZSTD_freeCCtx(static_cast<ZSTD_CCtx*>(context)); }
void Expander::Free::operator()(void* context) const { ZSTD_freeDCtx(static_cast<ZSTD_DCtx*>(context)); }

Result<Compressor> Compressor::create() {
    Compressor made;
    ZSTD_CCtx* const context = ZSTD_createCCtx();
    made.context_.reset(context);
    if (context == nullptr || ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, kZstdLevel)) != 0 ||
        ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, kWindowLog)) != 0 || ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, kHashLog)) != 0 ||
        ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_minMatch, kMinMatch)) != 0)
        return fail(Kind::kInternal, "no memory for the encoder");
    return made;
}

std::size_t Compressor::room_for(std::size_t plain) { return ZSTD_compressBound(plain) + 1024; }

Result<std::size_t> Compressor::add(std::span<const std::byte> plain, std::span<std::byte> out) {
    ZSTD_inBuffer from{plain.data(), plain.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const std::size_t left = ZSTD_compressStream2(static_cast<ZSTD_CCtx*>(context_.get()), &to, &from, ZSTD_e_flush);
    if (left != 0 || from.pos < from.size) return fail(Kind::kInternal, "the memory stream cannot be compressed");  // an error, or no room
    return to.pos;
}

Result<Expander> Expander::create() {
    Expander made;
    ZSTD_DCtx* const context = ZSTD_createDCtx();
    made.context_.reset(context);
    if (context == nullptr || ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kWindowLog)) != 0)
        return fail(Kind::kInternal, "no memory for the decoder");
    return made;
}

Result<void> Expander::add(std::span<const std::byte> part, std::span<std::byte> out) {
    auto* const context = static_cast<ZSTD_DCtx*>(context_.get());
    ZSTD_inBuffer from{part.data(), part.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    for (;;) {
        const std::size_t from_before = from.pos, to_before = to.pos;
        const std::size_t hint = ZSTD_decompressStream(context, &to, &from);
        if (ZSTD_isError(hint) != 0) return fail(Kind::kInvalid, "a part of the memory stream does not expand: {}", ZSTD_getErrorName(hint));
        if (hint == 0) return fail(Kind::kInvalid, "the memory stream's frame ends before the stream");
        if (from.pos == from.size && to.pos == to.size) break;
        if (from.pos == from_before && to.pos == to_before) return fail(Kind::kInvalid, "a part of the memory stream expands to {} bytes, not {}", to.pos, out.size());
    }
    // All is there; is there more? A byte of room shows it.
    std::byte extra{};
    ZSTD_outBuffer beyond{&extra, 1, 0};
    const std::size_t hint = ZSTD_decompressStream(context, &beyond, &from);
    if (ZSTD_isError(hint) != 0 || beyond.pos != 0) return fail(Kind::kInvalid, "a part of the memory stream expands to more than {} bytes", out.size());
    return {};
}

}  // namespace blanket::stream
