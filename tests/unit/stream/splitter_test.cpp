// SPDX-License-Identifier: GPL-2.0-or-later
// The splitter: every page of a real-looking stream with its frame, whatever the cuts; and bytes, at once, from the first thing that it does not know on.
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/stream/splitter.hpp"

namespace blanket::stream {
namespace {

class Collector final : public Splitter::Sink {
public:
    std::vector<std::byte> out;
    std::size_t pages = 0, entry_bytes = 0;
    std::vector<std::uint64_t> frames;
    void bytes(std::span<const std::byte> data) override { out.insert(out.end(), data.begin(), data.end()); }
    void entries(std::span<const std::byte> data) override {
        EXPECT_EQ(data.size() % 8, 0u);
        entry_bytes += data.size();
        bytes(data);
    }
    void page(std::uint64_t frame, PageBytes data) override {
        ++pages;
        frames.push_back(frame);
        bytes(data);
    }
};

std::vector<std::byte> small_stream() {
    fakes::SeededGuest guest(7, 400, fakes::seeded_image(1, 64));
    return guest.save(2).bytes;
}

Collector split(std::span<const std::byte> data, const std::function<std::size_t()>& step, Splitter& splitter) {
    Collector all;
    for (std::size_t at = 0; at < data.size();) {
        const auto part = data.subspan(at, std::min(step(), data.size() - at));
        splitter.feed(part, all);
        at += part.size();
        EXPECT_LT(at - all.out.size(), kPage) << "more than a page is held back";
    }
    EXPECT_EQ(all.out.size(), data.size()) << "the last bytes wait";
    splitter.finish(all);
    return all;
}

TEST(Splitter, FindsEveryPageWhateverTheCuts) {
    const auto data = small_stream();
    Splitter whole_splitter;
    const Collector whole = split(data, [&] { return data.size(); }, whole_splitter);
    EXPECT_EQ(whole.out, data);
    EXPECT_FALSE(whole_splitter.lost());
    ASSERT_GT(whole.pages, 400u);
    EXPECT_EQ(whole.frames[0], 0u);
    EXPECT_EQ(whole.frames[63], 64u);  // frame 63 carries none
    for (unsigned seed = 0; seed < 40; ++seed) {
        std::mt19937 random(seed);
        const std::size_t most = seed < 10 ? seed + 1 : 1 + random() % 9000;
        Splitter splitter;
        const Collector parts = split(data, [&] { return 1 + random() % most; }, splitter);
        EXPECT_EQ(parts.out, data) << seed;
        EXPECT_EQ(parts.frames, whole.frames) << seed;
        EXPECT_EQ(parts.entry_bytes, whole.entry_bytes) << seed;
    }
}

TEST(Splitter, WhatItDoesNotKnowIsBytesAtOnce) {
    const auto good = small_stream();
    // Each byte of the heads and of the first records' lengths and types, changed: nothing is lost, and nothing waits.
    for (std::size_t at = 0; at < 64; ++at) {
        auto data = good;
        data[at] ^= std::byte{0x11};
        Splitter splitter;
        const Collector all = split(data, [] { return std::size_t{777}; }, splitter);
        EXPECT_EQ(all.out, data) << at;
        const bool ignored = (at >= 42 && at < 52) || at >= 54;  // reserved, the domain's type, Xen's version
        EXPECT_EQ(splitter.lost(), !ignored) << at;
        if (splitter.lost()) EXPECT_EQ(all.pages, 0u) << at;
    }
    std::mt19937 random(3);
    for (int i = 0; i < 300; ++i) {
        std::vector<std::byte> noise(random() % 5000);
        for (auto& byte : noise) byte = static_cast<std::byte>(random());
        Splitter splitter;
        Collector all;
        for (std::size_t end = 0, at = 0; at < noise.size(); at = end) {
            end = std::min(noise.size(), at + 1 + random() % 100);
            splitter.feed(std::span(noise).subspan(at, end - at), all);
            EXPECT_EQ(all.out.size(), end);
        }
        EXPECT_EQ(all.out, noise);
        EXPECT_EQ(all.pages, 0u);
    }
}

// A PAGE_DATA record whose numbers do not fit each other, and what else a stream may say.
TEST(Splitter, OddRecords) {
    const fakes::Page page{};
    struct Case {
        const char* name;
        std::function<void(fakes::XenStream&)> write;
        bool lost;
        std::size_t pages;
    };
    const auto page_data = [](fakes::XenStream& stream, std::uint32_t length, std::uint32_t count) {
        stream.put(std::uint32_t{1});
        stream.put(length);
        stream.put(count);
        stream.put(std::uint32_t{0});
    };
    const std::vector<Case> cases{
        {"no entry", [&](auto& stream) { page_data(stream, 8, 0); }, true, 0},
        {"shorter than its head", [&](auto& stream) { page_data(stream, 4, 1); }, true, 0},
        {"more entries than fit", [&](auto& stream) { page_data(stream, 8 + 8, 2); }, true, 0},
        {"more entries than anybody sends", [&](auto& stream) { page_data(stream, 8 + 8 * 5000, 5000); }, true, 0},
        {"a page too many", [&](auto& stream) { page_data(stream, 8 + 8 + 2 * 4096, 1), stream.put(std::uint64_t{5}); }, true, 0},
        {"a page too few", [&](auto& stream) { page_data(stream, 8 + 16 + 4096, 2), stream.put(std::uint64_t{5}), stream.put(std::uint64_t{6}); }, true, 0},
        {"a length beyond libxc's", [&](auto& stream) { page_data(stream, (128u << 20) + 8, 1); }, true, 0},
        {"only entries", [&](auto& stream) {
             const fakes::XenStream::Sent none[2] = {{stream.entry(stream.kInvalid, 5)}, {stream.entry(stream.kBroken, 6)}};
             stream.pages(none);
         }, false, 0},
        {"unknown records, mandatory and optional", [&](auto& stream) {
             stream.record(0x33, std::vector<std::byte>(13));
             stream.record(0x80000001u, std::vector<std::byte>(1));
             stream.record(0x0d, {});
             const fakes::XenStream::Sent one[1] = {{stream.entry(stream.kL4Pinned, 77), &page}};
             stream.pages(one);
         }, false, 1},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.name);
        fakes::XenStream stream;
        one.write(stream);
        stream.bytes.resize(stream.bytes.size() + 9000, std::byte{0});
        Splitter splitter;
        Collector all;
        splitter.feed(stream.bytes, all);
        splitter.finish(all);
        EXPECT_EQ(all.out, stream.bytes);
        EXPECT_EQ(splitter.lost(), one.lost);
        EXPECT_EQ(all.pages, one.pages);
    }
}

TEST(Splitter, AStreamThatEndsInTheMiddleIsGivenOut) {
    const auto data = small_stream();
    for (const std::size_t length : {std::size_t{1}, std::size_t{30}, std::size_t{500}, data.size() / 2, data.size() / 2 + 3, data.size() - 1}) {
        Splitter splitter;
        Collector all;
        splitter.feed(std::span(data).first(length), all);
        splitter.finish(all);
        EXPECT_TRUE(std::ranges::equal(all.out, std::span(data).first(length))) << length;
    }
}

}  // namespace
}  // namespace blanket::stream
