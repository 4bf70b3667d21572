// SPDX-License-Identifier: GPL-2.0-or-later
// Encoder and decoder: bit-exact whatever the cuts, every class of page used and counted, both ends' caches alike, and small.
#include <gtest/gtest.h>

#include "tests/unit/stream/pair.hpp"
#include "toolstack/stream/page_delta.hpp"

namespace blanket::stream {
namespace {

struct Passage {
    std::vector<std::byte> out;
    std::size_t wire = 0, batches = 0;
};

// All of `data` through both ends, in steps of at most `most` bytes.
void pass(CodecPair& pair, std::span<const std::byte> data, std::mt19937& random, std::size_t most, Passage& passage) {
    const auto take = [&](Result<std::span<const std::byte>> batch) {
        ASSERT_TRUE(batch) << batch.error().what;
        if (batch->empty()) return;
        passage.wire += batch->size();
        ++passage.batches;
        const auto plain = pair.decoder->decode(*batch);
        ASSERT_TRUE(plain) << plain.error().what;
        passage.out.insert(passage.out.end(), plain->begin(), plain->end());
        ASSERT_EQ(pair.encoder->cache().size(), pair.decoder->cache().size());
    };
    while (!data.empty() && !::testing::Test::HasFatalFailure()) {
        const auto part = data.first(std::min<std::size_t>(1 + random() % most, data.size()));
        take(pair.encoder->encode(part));
        data = data.subspan(part.size());
    }
    const std::size_t before = passage.out.size();
    take(pair.encoder->finish());
    EXPECT_LT(passage.out.size() - before, kPage);
}

Passage pass(CodecPair& pair, std::span<const std::byte> data, unsigned seed, std::size_t most) {
    std::mt19937 random(seed);
    Passage passage;
    pass(pair, data, random, most, passage);
    EXPECT_EQ(pair.encoder->cache().state(), pair.decoder->cache().state());
    return passage;
}

std::uint64_t pages_of(const PageCounts& counts) {
    return counts.zero.pages + counts.same.pages + counts.delta.pages + counts.reference.pages + counts.raw.pages;
}

TEST(Codec, BitExactWhateverTheCuts) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(1, 200);
    const std::string sha256 = shelf.add(image);
    fakes::SeededGuest guest(5, 700, image);
    const auto stream = guest.save(3).bytes;
    for (unsigned seed = 0; seed < 60; ++seed) {
        SCOPED_TRACE(seed);
        CodecPair pair(seed % 3 == 0 ? 40 : 2048, shelf, sha256);
        const std::size_t most = std::array<std::size_t, 6>{7, 100, 4096, 4097, 70'000, kMaxStep}[seed % 6];
        if (most < 100 && seed > 0) continue;  // many small batches: once is enough
        const Passage passage = pass(pair, stream, seed, most);
        ASSERT_EQ(passage.out.size(), stream.size());
        EXPECT_TRUE(passage.out == stream);
    }
}

// The kinds of page are known here, so the counts are too.
TEST(Codec, EveryClassIsFoundAndCounted) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(2, 64);
    CodecPair pair(2048, shelf, shelf.add(image));
    std::mt19937_64 random(9);
    fakes::Page zero{}, content = fakes::likely_page(random), noise = fakes::random_page(random), block{}, other_block{};
    std::memcpy(block.data(), image.data() + 3 * 4096, 4096);
    std::memcpy(other_block.data(), image.data() + 40 * 4096, 4096);
    fakes::Page changed = content, near_block = block;
    changed[100] ^= std::byte{1}, changed[3000] ^= std::byte{7}, changed[3001] ^= std::byte{7};
    near_block[4095] ^= std::byte{1};  // of a block, but for a bit
    fakes::XenStream stream;
    const auto entry = [](std::uint64_t frame) { return fakes::XenStream::entry(fakes::XenStream::kNormal, frame); };
    const std::vector<fakes::XenStream::Sent> first{{entry(1), &zero}, {entry(2), &content}, {entry(3), &block}, {entry(4), &noise}, {entry(5), &near_block}, {entry(6), &other_block}};
    const std::vector<fakes::XenStream::Sent> second{{entry(1), &content}, {entry(2), &changed}, {entry(3), &block}, {entry(4), &noise}, {entry(5), &zero}, {entry(6), &other_block}};
    const std::vector<fakes::XenStream::Sent> third{{entry(1), &content}, {entry(2), &changed}, {entry(4), &content}};
    stream.pages(first);
    stream.pages(second);
    stream.pages(third);
    stream.end();
    const Passage passage = pass(pair, stream.bytes, 1, 5000);
    EXPECT_TRUE(passage.out == stream.bytes);
    const PageCounts& counts = pair.encoder->counts();
    EXPECT_EQ(counts.zero.pages, 2u);
    EXPECT_EQ(counts.reference.pages, 2u);  // in the first round
    EXPECT_EQ(counts.delta.pages, 1u);
    EXPECT_EQ(counts.same.pages, 3u);  // noise in the second round; content and changed in the third
    EXPECT_EQ(counts.raw.pages, 7u);
    EXPECT_EQ(pages_of(counts), 15u);
    EXPECT_GT(counts.raw.wire_bytes, 4096u);
    EXPECT_LT(counts.delta.wire_bytes, 64u);
    EXPECT_LT(counts.zero.wire_bytes + counts.same.wire_bytes + counts.reference.wire_bytes, 200u);
}

// Whatever the cuts, each walk over the frames has its own counts, and they add up to the whole.
TEST(Codec, EachWalkOverTheFramesIsCountedByItself) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(1, 200);
    const std::string sha256 = shelf.add(image);
    fakes::SeededGuest guest(5, 700, image);
    const auto stream = guest.save(4).bytes;
    std::vector<std::uint64_t> first;
    for (const std::size_t most : {std::size_t{5000}, std::size_t{300'000}, kMaxStep}) {
        CodecPair pair(2048, shelf, sha256);
        const Passage passage = pass(pair, stream, 3, most);
        const auto& passes = pair.encoder->passes();
        ASSERT_EQ(passes.size(), 4u);
        EXPECT_EQ(passes[0].entries, 700u);
        for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(passes[i].entries, guest.written());
        PageCounts sum;
        std::uint64_t bytes = 0, wire = 0;
        std::vector<std::uint64_t> pages;
        for (const auto& one : passes) {
            bytes += one.bytes;
            wire += one.wire_bytes;
            EXPECT_LE(one.pages.raw.wire_bytes + one.pages.delta.wire_bytes, one.wire_bytes);
            for (const auto which : {&PageCounts::zero, &PageCounts::same, &PageCounts::delta, &PageCounts::reference, &PageCounts::raw}) {
                (sum.*which).pages += (one.pages.*which).pages;
                (sum.*which).wire_bytes += (one.pages.*which).wire_bytes;
                pages.push_back((one.pages.*which).pages);
            }
        }
        EXPECT_EQ(bytes, stream.size());
        EXPECT_EQ(wire, passage.wire);
        const PageCounts& counts = pair.encoder->counts();
        for (const auto which : {&PageCounts::zero, &PageCounts::same, &PageCounts::delta, &PageCounts::reference, &PageCounts::raw}) {
            EXPECT_EQ((sum.*which).pages, (counts.*which).pages);
            EXPECT_EQ((sum.*which).wire_bytes, (counts.*which).wire_bytes);
        }
        if (first.empty()) first = pages;
        EXPECT_EQ(pages, first);
    }
    // More walks than are told apart: none is lost.
    fakes::XenStream many;
    const fakes::Page zero{};
    for (std::size_t i = 0; i < 3 * kMaxPasses; ++i) many.pages(std::vector<fakes::XenStream::Sent>{{fakes::XenStream::entry(fakes::XenStream::kNormal, 7), &zero}});
    many.end();
    CodecPair pair(8);
    (void)pass(pair, many.bytes, 1, 100'000);
    ASSERT_EQ(pair.encoder->passes().size(), kMaxPasses);
    EXPECT_EQ(pair.encoder->passes().back().entries, 2 * kMaxPasses + 1);
}

TEST(Codec, AnotherStreamPassesAsItIs) {
    std::mt19937_64 random(4);
    for (const std::size_t size : {std::size_t{1}, std::size_t{8}, std::size_t{63}, std::size_t{64}, std::size_t{100'000}, std::size_t{3'000'000}}) {
        std::vector<std::byte> data;
        while (data.size() < size) {
            const auto page = random() % 2 == 0 ? fakes::random_page(random) : fakes::likely_page(random);
            data.insert(data.end(), page.begin(), page.end());
        }
        data.resize(size);
        CodecPair pair(100);
        // Every piece leaves at once: a batch for each.
        for (std::size_t at = 0; at < size;) {
            const auto part = std::span(data).subspan(at, std::min<std::size_t>(1 + random() % kMaxStep, size - at));
            const auto batch = pair.encoder->encode(part);
            ASSERT_TRUE(batch);
            const auto plain = pair.decoder->decode(*batch);
            ASSERT_TRUE(plain) << plain.error().what;
            EXPECT_TRUE(std::ranges::equal(*plain, part));
            at += part.size();
        }
        EXPECT_EQ(pages_of(pair.encoder->counts()), 0u);
        EXPECT_TRUE(pair.encoder->finish()->empty());
    }
    EXPECT_FALSE(CodecPair(1).encoder->encode(std::vector<std::byte>(kMaxStep + 1)));
}

// A page that has not come whole is all that waits, and it comes with its end.
TEST(Codec, OnlyAPartOfAPageWaits) {
    fakes::XenStream stream;
    const fakes::Page page{};
    const fakes::XenStream::Sent one[1] = {{fakes::XenStream::entry(fakes::XenStream::kNormal, 9), &page}};
    stream.pages(one);
    const std::span<const std::byte> data(stream.bytes);
    CodecPair pair(10);
    ASSERT_FALSE(pair.encoder->encode(data.first(data.size() - 4000))->empty());
    EXPECT_TRUE(pair.encoder->encode(data.subspan(data.size() - 4000, 3999))->empty());
    EXPECT_FALSE(pair.encoder->encode(data.last(1))->empty());
    EXPECT_TRUE(pair.encoder->finish()->empty());
}

// What a later round brings is sent: the target's disk shall be out of it before the guest stops.
TEST(Codec, OnlyTheFirstRoundRefers) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(3, 64);
    CodecPair pair(2048, shelf, shelf.add(image));
    std::mt19937_64 random(4);
    fakes::Page block{}, noise = fakes::random_page(random);
    std::memcpy(block.data(), image.data(), 4096);
    const auto entry = [](std::uint64_t frame) { return fakes::XenStream::entry(fakes::XenStream::kNormal, frame); };
    fakes::XenStream stream;
    const std::vector<fakes::XenStream::Sent> first{{entry(7), &noise}, {entry(9), &block}}, second{{entry(7), &block}, {entry(8), &block}};
    stream.pages(first);
    stream.pages(second);
    stream.end();
    const Passage passage = pass(pair, stream.bytes, 1, 5000);
    EXPECT_TRUE(passage.out == stream.bytes);
    EXPECT_EQ(pair.encoder->counts().reference.pages, 1u);
    EXPECT_EQ(pair.encoder->counts().raw.pages, 3u);
}

// Batches that are taken before they are asked for come out as they would one by one, references and all.
TEST(Codec, BatchesMayBeTakenAhead) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(1, 200);
    fakes::SeededGuest guest(5, 700, image);
    const auto stream = guest.save(3).bytes;
    CodecPair pair(100, shelf, shelf.add(image));
    EXPECT_TRUE(pair.decoder->refers());
    std::vector<std::byte> out;
    std::mt19937 random(2);
    std::size_t most = 0;
    const auto take_one = [&] {
        const auto plain = pair.decoder->next();
        ASSERT_TRUE(plain) << plain.error().what;
        out.insert(out.end(), plain->begin(), plain->end());
    };
    for (std::span<const std::byte> rest(stream); !rest.empty();) {
        const auto part = rest.first(std::min<std::size_t>(1 + random() % 200'000, rest.size()));
        rest = rest.subspan(part.size());
        const auto batch = pair.encoder->encode(part);
        ASSERT_TRUE(batch);
        if (!batch->empty()) ASSERT_TRUE(pair.decoder->take({batch->begin(), batch->end()}));
        most = std::max(most, pair.decoder->held());
        while (pair.decoder->waiting() && random() % 3 == 0) take_one();
    }
    while (pair.decoder->waiting()) take_one();
    EXPECT_EQ(pair.decoder->held(), 0u);
    EXPECT_GT(most, 100'000u);
    EXPECT_TRUE(out == stream);
    EXPECT_FALSE(pair.decoder->next());
}

TEST(Codec, CompressionCanBeLeftOut) {
    fakes::SeededGuest guest(8, 640, "");
    const auto stream = guest.save(2).bytes;
    CodecPair with(0), without(0);
    without.encoder->compress(false);
    const Passage small = pass(with, stream, 1, 256 * 1024), large = pass(without, stream, 1, 256 * 1024);
    EXPECT_TRUE(small.out == stream && large.out == stream);
    EXPECT_LT(small.wire, large.wire * 9 / 10);
}

// The figures of a guest of 40 % zeros, 25 % of the base image, 15 % that is written to a little, and a random rest.
TEST(Codec, BytesOfASeededGuest) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(6, 3000);
    fakes::SeededGuest guest(8, 6400, image);
    const auto stream = guest.save(4).bytes;
    CodecPair pair(4096, shelf, shelf.add(image));
    const Passage passage = pass(pair, stream, 1, 256 * 1024);
    ASSERT_TRUE(passage.out == stream);
    std::size_t plain_zstd = 0;
    for (std::size_t at = 0; at < stream.size(); at += 256 * 1024) plain_zstd += encode(std::span(stream).subspan(at, std::min<std::size_t>(256 * 1024, stream.size() - at))).data.size();
    const PageCounts& counts = pair.encoder->counts();
    std::size_t noise = 0, written = 0;  // pages that are sent
    for (std::size_t frame = 0; frame < 6400; ++frame) {
        const std::size_t kind = frame / 16 % 20;
        noise += kind >= 16 && frame % 64 != 63 ? 1 : 0;
        written += kind >= 13 && kind < 16 && frame % 64 != 63 ? 1 : 0;
    }
    EXPECT_GT(counts.zero.pages, 2500u);
    EXPECT_GT(counts.reference.pages, 1200u);
    EXPECT_GT(counts.same.pages, written / 4);
    EXPECT_EQ(counts.same.pages + counts.delta.pages, 3 * written);
    EXPECT_EQ(counts.raw.pages, noise + written);
    EXPECT_LT(passage.wire, plain_zstd * 6 / 10);
    EXPECT_LT(passage.wire, stream.size() / 5);
    EXPECT_LT(passage.wire - noise * kPage, written * kPage / 2 + 3 * written * 128);  // nothing makes the noise smaller
    RecordProperty("plain_bytes", static_cast<int>(stream.size()));
    RecordProperty("wire_bytes", static_cast<int>(passage.wire));
    RecordProperty("zstd_bytes", static_cast<int>(plain_zstd));
}

TEST(Codec, IncompressiblePagesCostNextToNothingMore) {
    std::mt19937_64 random(12);
    std::vector<fakes::Page> pages(1024);
    std::vector<fakes::XenStream::Sent> sent;
    for (std::size_t frame = 0; frame < pages.size(); ++frame) {
        pages[frame] = fakes::random_page(random);
        sent.push_back({fakes::XenStream::entry(fakes::XenStream::kNormal, frame * 7), &pages[frame]});
    }
    fakes::XenStream stream;
    stream.pages(sent);
    CodecPair pair(2048);
    const Passage passage = pass(pair, stream.bytes, 2, 256 * 1024);
    EXPECT_TRUE(passage.out == stream.bytes);
    EXPECT_LT(static_cast<double>(passage.wire), 1.001 * static_cast<double>(stream.bytes.size()));
}

TEST(PageDelta, RoundTripsAndGivesUpWhereMuchDiffers) {
    std::mt19937_64 random(13);
    for (int i = 0; i < 2000; ++i) {
        const fakes::Page before = fakes::random_page(random);
        fakes::Page after = before;
        for (std::uint64_t n = random() % 300; n > 0; --n) after[random() % after.size()] ^= std::byte{0x80};
        std::size_t differ = 0;
        for (std::size_t at = 0; at < 4096; at += 8) differ += std::memcmp(before.data() + at, after.data() + at, 8) != 0 ? 1 : 0;
        std::vector<std::byte> runs{std::byte{9}}, residue{std::byte{9}};
        const std::size_t count = make_delta(before.data(), after, runs, residue);
        EXPECT_EQ(count > 0, differ > 0 && differ <= kMaxDeltaWords);
        EXPECT_EQ(residue.size(), count > 0 ? 1 + differ * 8 : 1);
        if (count == 0) {
            EXPECT_EQ(runs.size(), 1u);
            continue;
        }
        auto rest_of_runs = std::span<const std::byte>(runs).subspan(1), rest = std::span<const std::byte>(residue).subspan(1);
        fakes::Page out;
        ASSERT_TRUE(apply_delta(before.data(), count, rest_of_runs, rest, out.data()));
        EXPECT_TRUE(out == after);
        EXPECT_TRUE(rest_of_runs.empty() && rest.empty());
    }
}

TEST(Numbers, RoundTripAndEnd) {
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{127}, std::uint64_t{128}, std::uint64_t{1} << 32, ~std::uint64_t{0}, ~std::uint64_t{0} >> 1}) {
        std::vector<std::byte> out;
        put_number(out, value);
        std::span<const std::byte> in(out);
        EXPECT_EQ(take_number(in).value(), value);
        EXPECT_TRUE(in.empty());
        in = std::span<const std::byte>(out).first(out.size() - 1);
        EXPECT_FALSE(take_number(in));
        EXPECT_EQ(unfold(fold(value)), value);
    }
    const std::vector<std::byte> endless(11, std::byte{0xff});
    std::span<const std::byte> in(endless);
    EXPECT_FALSE(take_number(in));
    std::vector<std::byte> wide(9, std::byte{0xff});
    wide.push_back(std::byte{2});  // a 65th bit
    in = wide;
    EXPECT_FALSE(take_number(in));
}

}  // namespace
}  // namespace blanket::stream
