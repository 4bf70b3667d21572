// SPDX-License-Identifier: GPL-2.0-or-later
// Blocks and parts of a stream, coded: by us, and as a hostile peer would have them.
#include "toolstack/stream/coding.hpp"

#include <algorithm>

#include "tests/fuzz/fuzz.hpp"

namespace blanket::fuzz {

using namespace stream;

const std::size_t target::kHeap = 6u << 20;  // a block of 1 MiB, and zstd's contexts

namespace {

// Plain data that is longer than the input: pieces of it, repeated.
std::vector<std::byte> grown(Input& input) {
    std::vector<std::byte> out;
    while (!input.empty() && out.size() < 100'000) {
        const std::size_t times = 1 + input.byte() % 64;
        const auto part = input.bytes(input.byte());
        for (std::size_t i = 0; i < times; ++i) out.insert(out.end(), part.begin(), part.end());
    }
    return out;
}

void there_and_back(const std::vector<std::byte>& plain) {
    const Coded coded = encode(plain);
    require(coded.data.size() <= plain.size(), "coded data is longer than plain");
    const auto back = decode(coded.coding, coded.data, plain.size());
    require_value(back, "a block of ours");
    require(*back == plain, "a block that came back is another");
    require(!decode(coded.coding, coded.data, plain.size() + 1) || coded.coding == Coding::kZero, "a block of another length");
}

void stream_there_and_back(Input& input, const std::vector<std::byte>& plain) {
    auto compressor = Compressor::create().value();
    auto expander = Expander::create().value();
    for (std::span<const std::byte> left = plain; !left.empty();) {
        const auto part = left.first(input.empty() ? left.size() : std::min<std::size_t>(1 + input.number<std::uint16_t>(), left.size()));  // the rest at once, not byte by byte
        left = left.subspan(part.size());
        std::vector<std::byte> wire(Compressor::room_for(part.size())), back(part.size());
        const auto length = compressor.add(part, wire);
        require_value(length, "a part that is compressed");
        require_value(expander.add(std::span(wire).first(*length), back), "a part of ours");
        require(std::ranges::equal(back, part), "a part that came back is another");
    }
}

}  // namespace

std::vector<std::string> target::seeds() {
    const std::string text = "the memory of a guest, the memory of a guest, the memory of another guest: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789";
    const Coded coded = encode(as_bytes(text));
    auto compressor = Compressor::create().value();
    std::vector<std::byte> first(Compressor::room_for(text.size())), second = first;
    first.resize(compressor.add(as_bytes(text), first).value());
    second.resize(compressor.add(as_bytes(text), second).value());
    const auto length = static_cast<std::uint32_t>(text.size());
    return {Output().byte(0).byte(2).text(text.substr(0, 140)), Output().byte(0).byte(1).byte(40).text(std::string(40, '\0')),
            Output().byte(1).byte(static_cast<unsigned>(coded.coding)).number(length).bytes(coded.data), Output().byte(1).byte(0).number(length).text(text),
            Output().byte(1).byte(1).number(std::uint32_t{1u << 20}),
            Output().byte(2).number(static_cast<std::uint16_t>(length)).piece({reinterpret_cast<const char*>(first.data()), first.size()})
                .number(static_cast<std::uint16_t>(length)).piece({reinterpret_cast<const char*>(second.data()), second.size()})};
}

void target::run(Input input) {
    switch (input.byte() % 3) {
        case 0: {
            Input sizes = input;
            const auto plain = grown(input);
            there_and_back(plain);
            stream_there_and_back(sizes, plain);
            return;
        }
        case 1: {
            const auto coding = parse_coding(input.byte());
            require_refusal(coding, "parse_coding");
            if (!coding) return;
            const auto length = input.number<std::uint32_t>();
            const auto plain = decode(*coding, input.rest(), length);
            require_refusal(plain, "decode");
            if (plain) require(plain->size() == length && length <= kMaxBlock, "a block of another length");
            return;
        }
        default: {
            auto expander = Expander::create().value();
            while (!input.empty()) {
                std::vector<std::byte> out(input.number<std::uint16_t>());
                const auto done = expander.add(input.piece(), out);
                require_refusal(done, "add");
                if (!done) return;
            }
        }
    }
}

}  // namespace blanket::fuzz
