// SPDX-License-Identifier: GPL-2.0-or-later
// Writes what libxl's live save would (Xen's docs/specs/libxl-migration-stream and libxc-migration-stream), and a seeded guest that has pages of every kind
// and writes to some of them between rounds. Used by the tests and the bench of the memory stream's codec, and by the migration's tests.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/core/content_hash.hpp"

namespace blanket::fakes {

using Page = std::array<std::byte, 4096>;

class XenStream {
public:
    static constexpr std::uint64_t kNormal = 0, kL1 = 1, kL4Pinned = 0xc, kBroken = 0xd, kAllocated = 0xe, kInvalid = 0xf;
    struct Sent {
        std::uint64_t entry = 0;
        const Page* page = nullptr;  // null for the types that carry none
    };
    std::vector<std::byte> bytes;

    XenStream() {
        put(std::byteswap(std::uint64_t{0x4c6962786c466d74}));
        put(std::byteswap(std::uint32_t{2}));
        put(std::uint32_t{0});
        record(1, {});  // LIBXC_CONTEXT
        put(~std::uint64_t{0});
        put(std::byteswap(std::uint32_t{0x58454e46}));
        put(std::byteswap(std::uint32_t{3}));
        put(std::uint64_t{0});
        put(std::uint32_t{1});  // x86 PV
        put(std::uint32_t{12});
        put(std::uint32_t{4});
        put(std::uint32_t{20});
        record(0x11, std::vector<std::byte>(24 * 7, std::byte{0x5a}));  // X86_CPUID_POLICY
        record(0x10, {});                                               // STATIC_DATA_END
        record(2, std::vector<std::byte>(8, std::byte{4}));             // X86_PV_INFO
        record(3, std::vector<std::byte>(8 + 8 * 5, std::byte{1}));     // X86_PV_P2M_FRAMES
    }
    template <typename T>
    void put(T value) {
        std::array<std::byte, sizeof(T)> raw;
        std::memcpy(raw.data(), &value, sizeof value);
        bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    void record(std::uint32_t type, std::span<const std::byte> body) {
        put(type);
        put(static_cast<std::uint32_t>(body.size()));
        bytes.insert(bytes.end(), body.begin(), body.end());
        bytes.resize(bytes.size() + (8 - body.size() % 8) % 8);
    }
    static std::uint64_t entry(std::uint64_t type, std::uint64_t frame) { return type << 60 | frame; }
    void pages(std::span<const Sent> sent) {
        const auto carried = static_cast<std::size_t>(std::ranges::count_if(sent, [](const Sent& one) { return one.page != nullptr; }));
        put(std::uint32_t{1});
        put(static_cast<std::uint32_t>(8 + 8 * sent.size() + 4096 * carried));
        put(static_cast<std::uint32_t>(sent.size()));
        put(std::uint32_t{0});
        for (const Sent& one : sent) put(one.entry);
        for (const Sent& one : sent)
            if (one.page != nullptr) bytes.insert(bytes.end(), one.page->begin(), one.page->end());
    }
    void end() {
        for (const std::uint32_t type : {4u, 5u, 6u, 0xcu, 7u, 8u}) record(type, std::vector<std::byte>(16 + 40 * type + type % 3, std::byte{static_cast<unsigned char>(type)}));
        record(0, {});  // libxc's END
        record(0, {});  // libxl's END
    }
};

// What programs and files are made of: words of a small vocabulary and pointers into the same few areas. Compresses to about a third.
inline Page likely_page(std::mt19937_64& random) {
    static constexpr std::array<std::string_view, 16> kWords{"kernel ", "return ", "page", std::string_view("\0\0\0\0\0\0\0\0", 8), "struct ", "0x7f", "error: ", "/usr/lib/",
                                                            "node", "if (", "\xff\xff\xff\xff", "name=", "int ", "html", "<div>", "\n\t"};
    Page page{};
    for (std::size_t at = 0; at < page.size();) {
        const std::uint64_t draw = random();
        if (draw % 5 == 0) {
            const std::uint64_t pointer = 0xffff888000000000u | (draw >> 16 & 0xfffffc0);
            const std::size_t length = std::min<std::size_t>(8, page.size() - at);
            std::memcpy(page.data() + at, &pointer, length);
            at += length;
        } else {
            const auto word = kWords[draw >> 8 & 15];
            const std::size_t length = std::min(word.size(), page.size() - at);
            std::memcpy(page.data() + at, word.data(), length);
            at += length;
        }
    }
    return page;
}

inline Page random_page(std::mt19937_64& random) {
    Page page;
    for (std::size_t at = 0; at < page.size(); at += 8) {
        const std::uint64_t word = random();
        std::memcpy(page.data() + at, &word, 8);
    }
    return page;
}

// A base image: runs of content with holes of zeros.
inline std::string seeded_image(std::uint64_t seed, std::size_t blocks) {
    std::mt19937_64 random(seed);
    std::string image(blocks * 4096, '\0');
    for (std::size_t block = 0; block < blocks; ++block) {
        if (block % 32 >= 28) continue;
        const Page page = likely_page(random);
        std::memcpy(image.data() + block * 4096, page.data(), page.size());
    }
    return image;
}

inline std::string image_hash(std::string_view image) {
    ContentHasher hasher;
    for (std::size_t at = 0; at < image.size(); at += kBlockSize) {
        const auto block = image.substr(at, kBlockSize);
        hasher.add(std::as_bytes(std::span(block.data(), block.size())));
    }
    return hasher.finish();
}

// Of 20 runs of 16 frames 8 are zero, 5 are blocks of the image, 3 are written to a little between rounds, 4 are random. One frame in 64 carries no page.
class SeededGuest {
public:
    SeededGuest(std::uint64_t seed, std::size_t frames, const std::string& image) : random_(seed), memory_(frames) {
        const std::size_t blocks = image.size() / 4096;
        for (std::size_t frame = 0, block = 0; frame < frames; ++frame) {
            const std::size_t kind = frame / 16 % 20;
            if (kind < 8) continue;
            if (kind < 13 && blocks > 0) {
                if (frame % 16 == 0) block = random_() % blocks;
                std::memcpy(memory_[frame].data(), image.data() + block++ % blocks * 4096, 4096);
            } else if (kind < 16) {
                memory_[frame] = likely_page(random_);
                written_.push_back(frame);
            } else {
                memory_[frame] = random_page(random_);
            }
        }
    }
    // Between rounds: some words of the pages that are written to; every eighth of them is dirty and unchanged.
    void write() {
        for (const std::size_t frame : written_)
            for (std::uint64_t words = random_() % 8 == 0 ? 0 : 1 + random_() % 12; words > 0; --words) {
                const std::uint64_t value = random_();
                std::memcpy(memory_[frame].data() + random_() % 512 * 8, &value, 8);
            }
    }
    void send_all(XenStream& stream) const {
        std::vector<std::size_t> frames(memory_.size());
        for (std::size_t frame = 0; frame < frames.size(); ++frame) frames[frame] = frame;
        send(stream, frames);
    }
    void send_written(XenStream& stream) const { send(stream, written_); }
    // A whole save of `rounds` rounds, the first of all pages.
    XenStream save(int rounds) {
        XenStream stream;
        send_all(stream);
        for (int round = 1; round < rounds; ++round) {
            write();
            send_written(stream);
        }
        stream.end();
        return stream;
    }
    [[nodiscard]] std::size_t written() const { return written_.size(); }
    [[nodiscard]] const std::vector<Page>& memory() const { return memory_; }

private:
    void send(XenStream& stream, std::span<const std::size_t> frames) const {
        std::vector<XenStream::Sent> batch;
        for (const std::size_t frame : frames) {
            const bool none = frame % 64 == 63;
            batch.push_back({XenStream::entry(none ? XenStream::kInvalid : frame % 50 == 7 ? XenStream::kL1 : XenStream::kNormal, frame), none ? nullptr : &memory_[frame]});
            if (batch.size() < 1024) continue;
            stream.pages(batch);
            batch.clear();
        }
        if (!batch.empty()) stream.pages(batch);
    }
    std::mt19937_64 random_;
    std::vector<Page> memory_;
    std::vector<std::size_t> written_;
};

}  // namespace blanket::fakes
