// SPDX-License-Identifier: GPL-2.0-or-later
// xl's stream, raw, through ssh, and through zstd; see peers.hpp.
#include <zstd.h>

#include "tests/bench/migrate/method_blanket.hpp"
#include "tests/bench/migrate/peers.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kRecordHead = 16, kEntry = 8;  // of PAGE_DATA
constexpr std::size_t kSshPacket = 32 * 1024, kSshExtra = 4 + 1 + 9 + 4 + 16;  // length, padding and its length, the channel's head, the tag

class Raw final : public Method {
public:
    explicit Raw(double cipher_s_per_byte) : cipher_s_per_byte_(cipher_s_per_byte) {}
    Result<void> pages(const GuestMemory&, std::span<const Frame> frames, VirtualWire& wire) override {
        std::size_t bytes = kRecordHead + frames.size() * (kEntry + kPageBytes);
        if (cipher_s_per_byte_ > 0) bytes += (bytes + kSshPacket - 1) / kSshPacket * kSshExtra;
        const double cipher_s = cipher_s_per_byte_ * static_cast<double>(bytes);
        wire.spend(cipher_s);
        wire.send(bytes, cipher_s);
        return {};
    }

private:
    double cipher_s_per_byte_;
};

struct FreeStream {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

class ZstdPipe final : public Method {
public:
    ZstdPipe(std::unique_ptr<ZSTD_CCtx, FreeStream> context, const CpuMeter& meter) : context_(std::move(context)), meter_(meter), out_(ZSTD_CStreamOutSize()) {}
    Result<void> pages(const GuestMemory& memory, std::span<const Frame> frames, VirtualWire& wire) override {
        add_record(plain_, memory, frames, batch_);
        const auto passed = pass(ZSTD_e_continue, wire);
        plain_.bytes.clear();
        return passed;
    }
    Result<void> end(VirtualWire& wire) override {
        plain_.end();
        return pass(ZSTD_e_end, wire);
    }

private:
    // In steps of what the pipe gives, so that the link has something to do meanwhile.
    Result<void> pass(ZSTD_EndDirective last, VirtualWire& wire) {
        std::span<const std::byte> plain = plain_.bytes;
        do {
            const auto piece = plain.first(std::min(kStep, plain.size()));
            plain = plain.subspan(piece.size());
            std::size_t made = 0;
            bool good = true;
            wire.spend(meter_.cost(piece.size(), [&] { good = add(piece, plain.empty() ? last : ZSTD_e_continue, made); }));
            if (!good) return fail(Kind::kInternal, "zstd cannot compress the stream");
            if (made > 0) wire.send(made);
        } while (!plain.empty());
        return {};
    }
    bool add(std::span<const std::byte> piece, ZSTD_EndDirective mode, std::size_t& made) {
        ZSTD_inBuffer from{piece.data(), piece.size(), 0};
        for (;;) {
            ZSTD_outBuffer to{out_.data(), out_.size(), 0};
            const std::size_t left = ZSTD_compressStream2(context_.get(), &to, &from, mode);
            if (ZSTD_isError(left) != 0) return false;
            made += to.pos;
            if (mode == ZSTD_e_continue ? from.pos == from.size : left == 0) return true;
        }
    }
    static constexpr std::size_t kStep = 256 * 1024;
    std::unique_ptr<ZSTD_CCtx, FreeStream> context_;
    CpuMeter meter_;
    std::vector<std::byte> out_;
    fakes::XenStream plain_;
    std::vector<fakes::XenStream::Sent> batch_;
};

}  // namespace

std::unique_ptr<Method> make_raw(double cipher_s_per_byte) { return std::make_unique<Raw>(cipher_s_per_byte); }

Result<std::unique_ptr<Method>> make_zstd_pipe(const CpuMeter& meter) {
    std::unique_ptr<ZSTD_CCtx, FreeStream> context(ZSTD_createCCtx());
    if (!context || ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 1)) != 0) return fail(Kind::kInternal, "no memory for zstd");
    return std::unique_ptr<Method>(new ZstdPipe(std::move(context), meter));
}

}  // namespace blanket::bench
