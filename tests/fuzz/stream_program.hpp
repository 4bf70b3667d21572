// SPDX-License-Identifier: GPL-2.0-or-later
// A memory stream out of a short program, so that an input of some bytes makes whole pages, records and rounds. Every input is a program.
#pragma once

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/stream/format.hpp"

namespace blanket::fuzz {

inline constexpr std::size_t kMostStream = 300'000;  // bytes that a program makes
inline constexpr std::size_t kImageBlocks = 16;

enum class Op : std::uint8_t { kHeads, kRaw, kRecord, kPages, kPagesHead, kEnd, kOps };

// A page by a number: zero, of the image, one byte all over, likely content of a seed; and with a few words changed.
inline fakes::Page page_of(Input& input, const std::string& image) {
    fakes::Page page{};
    const std::uint8_t kind = input.byte(), which = input.byte();
    if (kind % 4 == 1) std::memcpy(page.data(), image.data() + which % kImageBlocks * 4096, 4096);
    if (kind % 4 == 2) page.fill(static_cast<std::byte>(which));
    if (kind % 4 == 3) {
        std::mt19937_64 random(which);
        page = fakes::likely_page(random);
    }
    for (unsigned words = kind >> 6; words > 0; --words) {
        const std::size_t at = input.below(512);
        const auto value = input.byte();
        page[at * 8] ^= static_cast<std::byte>(value);
    }
    return page;
}

inline std::vector<std::byte> run_program(Input& input, const std::string& image) {
    fakes::XenStream stream;
    const std::vector<std::byte> heads = std::move(stream.bytes);
    stream.bytes.clear();
    while (!input.empty() && stream.bytes.size() < kMostStream) {
        switch (static_cast<Op>(input.byte() % static_cast<unsigned>(Op::kOps))) {
            case Op::kHeads: stream.bytes.insert(stream.bytes.end(), heads.begin(), heads.end()); break;
            case Op::kRaw: {
                const auto part = input.bytes(input.byte());
                stream.bytes.insert(stream.bytes.end(), part.begin(), part.end());
                break;
            }
            case Op::kRecord: {
                const auto type = input.byte();
                stream.record(type, input.bytes(input.byte()));
                break;
            }
            case Op::kPages: {
                std::vector<fakes::Page> pages(1 + input.byte() % 8);
                std::vector<fakes::XenStream::Sent> sent;
                std::uint64_t frame = input.number<std::uint16_t>();
                for (auto& page : pages) {
                    const std::uint8_t type = input.byte();
                    const bool none = fakes::XenStream::kBroken <= type % 16;
                    if (!none) page = page_of(input, image);
                    sent.push_back({fakes::XenStream::entry(type % 16, frame), none ? nullptr : &page});
                    frame += 1 + type / 64;
                }
                stream.pages(sent);
                break;
            }
            case Op::kPagesHead:  // what no saver writes: a head of any count and length
                stream.put(std::uint32_t{1});
                stream.put(input.number<std::uint32_t>());
                stream.put(input.number<std::uint32_t>());
                stream.put(std::uint32_t{0});
                break;
            case Op::kEnd: stream.end(); break;
            case Op::kOps: break;
        }
    }
    return std::move(stream.bytes);
}

inline const std::string& small_image() {
    static const std::string kImage = fakes::seeded_image(1, kImageBlocks);
    return kImage;
}

// A site that has the image.
struct ImageSite {
    fakes::FakeSite site{"west"};
    std::string sha256 = fakes::image_hash(small_image());
    ImageSite() {
        site.images.insert(sha256);
        site.image_content[sha256] = small_image();
    }
};

// A whole save of some rounds.
inline std::string sample_program(unsigned rounds) {
    Output out;
    out.byte(static_cast<unsigned>(Op::kHeads));
    for (unsigned round = 0; round < rounds; ++round) {
        out.byte(static_cast<unsigned>(Op::kPages)).byte(7).number(std::uint16_t{16});
        for (unsigned page = 0; page < 8; ++page) {
            out.byte(page == 5 ? 15 : 0);
            if (page == 5) continue;
            out.byte(page % 4 | (round % 4) << 6).byte(page);
            for (unsigned words = 0; words < round % 4; ++words) out.number(static_cast<std::uint16_t>(100 * words + round)).byte(1 + words);
        }
    }
    return out.byte(static_cast<unsigned>(Op::kRecord)).byte(4).byte(3).text("abc").byte(static_cast<unsigned>(Op::kEnd));
}

}  // namespace blanket::fuzz
