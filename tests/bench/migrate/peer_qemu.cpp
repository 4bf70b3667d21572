// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's methods as models; see peers.hpp.
#include <zstd.h>

#include "tests/bench/migrate/peers.hpp"
#include "toolstack/core/content_hash.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kPageHead = 8;                   // a page's address and flags; the block's name is sent once a batch and left out here
constexpr std::size_t kZeroPage = kPageHead + 1;
constexpr std::size_t kXbzrleHead = kPageHead + 1 + 2;  // its flag and length
constexpr std::size_t kXbzrleCache = 64u << 20;    // xbzrle-cache-size
constexpr std::uint64_t kLifetime = 2;             // bitmap synchronisations for which a cached page is not pushed out by another
constexpr std::size_t kPacketPages = 128, kPacketHead = 320 + 8 * kPacketPages;
constexpr unsigned kChannels = 2;

std::size_t base128(std::size_t value) { return value < 0x80 ? 1 : 2; }  // a page has 4,096 bytes

class Xbzrle final : public Method {
public:
    Xbzrle(std::size_t frames, const CpuMeter& meter) : slots_(std::min(kXbzrleCache / kPageBytes, std::bit_floor(std::max<std::size_t>(frames, 1)))), cached_(slots_.size()), meter_(meter) {}
    Result<void> pages(const GuestMemory& memory, std::span<const Frame> frames, VirtualWire& wire) override {
        if (!frames.empty() && frames.front() <= last_) ++round_;  // frames go upwards within one
        std::size_t bytes = 0;
        wire.spend(meter_.cost(frames.size() * kPageBytes, [&] {
            for (const Frame frame : frames) bytes += send(frame, memory.page(frame));
        }));
        if (!frames.empty()) last_ = frames.back();
        if (bytes > 0) wire.send(bytes);
        return {};
    }

private:
    struct Slot {
        Frame frame = 0;
        std::uint64_t age = 0;
        bool used = false;
    };
    std::size_t send(Frame frame, const Page& page) {
        if (is_zero(page)) {
            if (Slot& slot = slots_[frame % slots_.size()]; slot.used && slot.frame == frame) cached_[frame % slots_.size()] = page;
            return kZeroPage;
        }
        if (round_ == 0) return kPageHead + kPageBytes;
        Slot& slot = slots_[frame % slots_.size()];
        Page& held = cached_[frame % slots_.size()];
        if (!slot.used || slot.frame != frame) {
            if (slot.used && slot.age + kLifetime > round_) return kPageHead + kPageBytes;  // it is fresh
            slot = {.frame = frame, .age = round_, .used = true};
            held = page;
            return kPageHead + kPageBytes;
        }
        slot.age = round_;
        const auto size = xbzrle_size(held, page);
        held = page;
        if (!size) return kPageHead + kPageBytes;
        return *size == 0 ? 0 : kXbzrleHead + *size;
    }
    std::vector<Slot> slots_;
    std::vector<Page> cached_;
    CpuMeter meter_;
    std::uint64_t round_ = 0;
    std::int64_t last_ = -1;
};

struct FreeChannel {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
using Channel = std::unique_ptr<ZSTD_CCtx, FreeChannel>;

class MultifdZstd final : public Method {
public:
    MultifdZstd(std::array<Channel, kChannels> channels, const CpuMeter& meter) : channels_(std::move(channels)), meter_(meter), out_(ZSTD_compressBound(kPacketPages * kPageBytes) + 1024) {}
    // The channels' threads work side by side.
    Result<void> pages(const GuestMemory& memory, std::span<const Frame> frames, VirtualWire& wire) override {
        for (; !frames.empty(); frames = frames.subspan(std::min(kPacketPages, frames.size()))) {
            const auto packet = frames.first(std::min(kPacketPages, frames.size()));
            std::size_t made = 0;
            bool good = true;
            wire.spend(meter_.cost(packet.size() * kPageBytes, [&] { good = add(memory, packet, made); }) / kChannels);
            if (!good) return fail(Kind::kInternal, "zstd cannot compress the pages");
            wire.send(kPacketHead + made);
        }
        return {};
    }

private:
    bool add(const GuestMemory& memory, std::span<const Frame> packet, std::size_t& made) {
        std::vector<Frame> normal;
        for (const Frame frame : packet)
            if (!is_zero(memory.page(frame))) normal.push_back(frame);
        ZSTD_CCtx* const context = channels_[next_++ % kChannels].get();
        ZSTD_outBuffer to{out_.data(), out_.size(), 0};
        for (std::size_t i = 0; i < normal.size(); ++i) {
            ZSTD_inBuffer from{memory.page(normal[i]).data(), kPageBytes, 0};
            const std::size_t left = ZSTD_compressStream2(context, &to, &from, i + 1 < normal.size() ? ZSTD_e_continue : ZSTD_e_flush);
            if (ZSTD_isError(left) != 0 || from.pos < from.size || (i + 1 == normal.size() && left != 0)) return false;
        }
        made = to.pos;
        return true;
    }
    std::array<Channel, kChannels> channels_;
    CpuMeter meter_;
    std::vector<std::byte> out_;
    std::size_t next_ = 0;
};

}  // namespace

std::optional<std::size_t> xbzrle_size(const Page& before, const Page& now) {
    std::size_t at = 0, size = 0;
    while (at < kPageBytes) {
        const std::size_t equal_from = at;
        while (at + 8 <= kPageBytes && std::memcmp(before.data() + at, now.data() + at, 8) == 0) at += 8;
        while (at < kPageBytes && before[at] == now[at]) ++at;
        if (at == kPageBytes) break;  // an equal end is not told
        const std::size_t other_from = at;
        while (at < kPageBytes && before[at] != now[at]) ++at;
        size += base128(other_from - equal_from) + base128(at - other_from) + (at - other_from);
        if (size > kPageBytes) return std::nullopt;
    }
    return size;
}

std::unique_ptr<Method> make_qemu_xbzrle(std::size_t frames, const CpuMeter& meter) { return std::make_unique<Xbzrle>(frames, meter); }

Result<std::unique_ptr<Method>> make_qemu_multifd_zstd(const CpuMeter& meter) {
    std::array<Channel, kChannels> channels;
    for (Channel& channel : channels) {
        channel.reset(ZSTD_createCCtx());
        if (!channel || ZSTD_isError(ZSTD_CCtx_setParameter(channel.get(), ZSTD_c_compressionLevel, 1)) != 0) return fail(Kind::kInternal, "no memory for zstd");
    }
    return std::unique_ptr<Method>(new MultifdZstd(std::move(channels), meter));
}

}  // namespace blanket::bench
