// SPDX-License-Identifier: GPL-2.0-or-later
// What a hostile or broken peer may send for a batch: every one is refused as invalid, or expands within the bounds; nothing is read or written beyond.
#include <gtest/gtest.h>

#include <zstd.h>

#include "tests/unit/stream/pair.hpp"

namespace blanket::stream {
namespace {

using Bytes = std::vector<std::byte>;

// A batch by hand, not compressed.
class Forged {
public:
    std::size_t plain = 0;
    Bytes tokens, residue;
    Coding coding = Coding::kRaw;

    Forged& token(Token kind, std::uint64_t count, const std::vector<std::uint64_t>& more = {}) {
        put_number(tokens, count << 3 | static_cast<std::uint64_t>(kind));
        for (const std::uint64_t number : more) put_number(tokens, number);
        return *this;
    }
    Forged& entry(std::uint64_t entry) {
        token(Token::kPlainEntries, 1);
        for (int i = 0; i < 8; ++i) residue.push_back(static_cast<std::byte>(entry >> (8 * i)));
        plain += 8;
        return *this;
    }
    Forged& more_plain(std::size_t bytes) {
        plain += bytes;
        return *this;
    }
    Forged& more_residue(std::size_t bytes) {
        residue.resize(residue.size() + bytes, std::byte{0x3c});
        return *this;
    }
    [[nodiscard]] Bytes batch() const { return head(plain, tokens.size(), residue.size(), coding, residue, tokens); }
    static Bytes head(std::size_t plain, std::size_t tokens, std::size_t residue, Coding coding, std::span<const std::byte> first, std::span<const std::byte> second) {
        Bytes out;
        for (const std::size_t number : {plain, tokens, residue})
            for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::byte>(number >> (8 * i)));
        out.push_back(static_cast<std::byte>(coding));
        out.insert(out.end(), first.begin(), first.end());
        out.insert(out.end(), second.begin(), second.end());
        return out;
    }
};

void expect_refused(Decoder& decoder, std::span<const std::byte> batch, const std::string& what) {
    const auto plain = decoder.decode(batch);
    ASSERT_FALSE(plain) << what;
    EXPECT_EQ(plain.error().kind, Kind::kInvalid) << what << ": " << plain.error().what;
}

TEST(HostileBatch, EveryRuleIsChecked) {
    ImageShelf shelf;
    const std::string sha256 = shelf.add(fakes::seeded_image(1, 16));
    const auto decoder = [&] {
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(shelf.site, sha256).value());
        return Decoder::create(100, std::move(images)).value();
    };
    const auto forged = [] { return Forged(); };
    constexpr std::uint64_t kMany = ~std::uint64_t{0} >> 3;
    const auto page = [&] { return Forged().entry(5).more_plain(kPage); };
    // First that the forger can write a good one.
    ASSERT_TRUE(decoder()->decode(page().token(Token::kRaw, 1).more_residue(kPage).batch()));
    ASSERT_TRUE(decoder()->decode(page().token(Token::kReference, 1, {0, fold(15)}).batch()));
    ASSERT_TRUE(decoder()->decode(page().token(Token::kZero, 1).batch()));
    ASSERT_TRUE(decoder()->decode(forged().token(Token::kEntries, 3, {fold(0), 2}).more_plain(24).batch()));

    const std::vector<std::pair<const char*, Forged>> cases{
        {"nothing", forged()},
        {"plain bytes without a token", forged().more_plain(1)},
        {"an empty token", forged().token(Token::kBytes, 0).more_plain(1)},
        {"bytes beyond the residue", forged().token(Token::kBytes, 9).more_plain(9).more_residue(8)},
        {"bytes beyond the plain", forged().token(Token::kBytes, 9).more_plain(8).more_residue(9)},
        {"a count beyond everything", forged().token(Token::kBytes, kMany).more_plain(8).more_residue(8)},
        {"residue that is left", forged().token(Token::kBytes, 8).more_plain(8).more_residue(9)},
        {"plain that is left", forged().token(Token::kBytes, 8).more_plain(9).more_residue(8)},
        {"entries beyond the plain", forged().token(Token::kEntries, 3, {fold(0), 2}).more_plain(23)},
        {"entries beyond everything", forged().token(Token::kEntries, kMany, {fold(0), kMany - 1}).more_plain(24)},
        {"steps beyond the entries", forged().token(Token::kEntries, 3, {fold(0), 3}).more_plain(24)},
        {"steps that are missing", forged().token(Token::kEntries, 3, {fold(0)}).more_plain(24)},
        {"plain entries beyond the residue", forged().token(Token::kPlainEntries, 2).more_plain(16).more_residue(15)},
        {"more pages announced than anybody sends", forged().token(Token::kEntries, kMaxEntries + 1, {fold(0), kMaxEntries}).more_plain(8 * kMaxEntries + 8)},
        {"a page that was not announced", forged().token(Token::kZero, 1).more_plain(kPage)},
        {"an entry that announces none", forged().entry(fakes::XenStream::entry(fakes::XenStream::kInvalid, 5)).token(Token::kZero, 1).more_plain(kPage)},
        {"two pages for one entry", page().token(Token::kZero, 2).more_plain(kPage)},
        {"pages beyond the plain", page().token(Token::kZero, kMany)},
        {"a page cut short", page().token(Token::kRaw, 1).more_residue(kPage - 1)},
        {"the same as what is not held", page().token(Token::kSame, 1)},
        {"a difference from what is not held", page().token(Token::kDelta, 1, {0, 1}).more_residue(8)},
        {"a reference without its image", page().token(Token::kReference, 1)},
        {"a reference to no image", page().token(Token::kReference, 1, {1, fold(0)})},
        {"a reference beyond the image", page().token(Token::kReference, 1, {0, fold(16)})},
        {"a reference before the image", page().token(Token::kReference, 1, {0, fold(~std::uint64_t{0})})},
        {"a reference across its end", page().entry(6).more_plain(kPage).token(Token::kReference, 2, {0, fold(15)})},
        {"a reference of too many blocks", page().token(Token::kReference, kMany, {0, fold(0)})},
        {"a reference that was not announced", forged().token(Token::kReference, 1, {0, fold(0)}).more_plain(kPage)},
    };
    for (const auto& [what, one] : cases) expect_refused(*decoder(), one.batch(), what);

    // Differences, where a version is held.
    for (const auto& [what, runs, count, words] : std::vector<std::tuple<const char*, std::vector<std::uint64_t>, std::uint64_t, std::size_t>>{
             {"a difference beyond the page", {511, 2}, 1, 2}, {"a skip beyond the page", {513, 1}, 1, 1}, {"a skip beyond everything", {~std::uint64_t{0}, 1}, 1, 1},
             {"words beyond everything", {1, ~std::uint64_t{0}}, 1, 1}, {"no words", {1, 0}, 1, 0}, {"words beyond the residue", {0, 3}, 1, 2},
             {"runs that are missing", {0, 1}, 2, 1}, {"a second run beyond the page", {0, 500, 10, 3}, 2, 503}}) {
        const auto one = decoder();
        ASSERT_TRUE(one->decode(page().token(Token::kRaw, 1).more_residue(kPage).batch()));
        Forged difference = Forged().entry(5).more_plain(kPage);
        difference.token(Token::kDelta, count, runs).more_residue(words * 8);
        expect_refused(*one, difference.batch(), what);
    }

    // The head.
    const Bytes eight(8, std::byte{1}), token{std::byte{8 << 3}};
    const auto with_head = [&](std::size_t plain, std::size_t tokens, std::size_t residue, int coding) {
        return Forged::head(plain, tokens, residue, static_cast<Coding>(coding), eight, token);
    };
    ASSERT_TRUE(decoder()->decode(with_head(8, 1, 8, 0)));
    constexpr std::size_t kHuge = 0xffff'ffffu;
    for (const auto& [plain, tokens, residue, coding] : std::vector<std::tuple<std::size_t, std::size_t, std::size_t, int>>{
             {8, 1, 8, 1}, {8, 1, 8, 2}, {8, 1, 8, 3}, {8, 1, 8, 255}, {0, 1, 8, 0}, {8, 1, 7, 0}, {8, 2, 8, 0}, {8, 0, 9, 0}, {8, 9, 0, 0}, {kMaxPlain + 1, 1, 8, 0},
             {kHuge, 1, 8, 0}, {8, kHuge, 8, 0}, {8, 1, kHuge, 0}, {8, kHuge, kHuge, 0}, {8, kHuge, kHuge, 2}, {8, kMaxTokens + 1, 8, 2}, {8, 1, kMaxResidue + 1, 2}})
        expect_refused(*decoder(), with_head(plain, tokens, residue, coding), std::format("head {} {} {} {}", plain, tokens, residue, coding));
    const Bytes good = with_head(8, 1, 8, 0);
    for (std::size_t length = 0; length < good.size(); ++length) expect_refused(*decoder(), std::span(good).first(length), std::format("cut at {}", length));
}

Bytes zstd_frame(std::span<const std::byte> data, int window_log, bool end, bool size_in_head) {
    ZSTD_CCtx* const context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, size_in_head ? 1 : 0);
    if (size_in_head) ZSTD_CCtx_setPledgedSrcSize(context, data.size());
    Bytes out(ZSTD_compressBound(data.size()) + 64);
    ZSTD_inBuffer from{data.data(), data.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    EXPECT_EQ(ZSTD_compressStream2(context, &to, &from, end ? ZSTD_e_end : ZSTD_e_flush), 0u);
    ZSTD_freeCCtx(context);
    out.resize(to.pos);
    return out;
}

TEST(HostileBatch, CompressedPartsAreBounded) {
    Forged forged;
    forged.token(Token::kBytes, 5000).more_plain(5000).more_residue(5000);
    Bytes body = forged.residue;
    body.insert(body.end(), forged.tokens.begin(), forged.tokens.end());
    const auto batch = [&](std::span<const std::byte> coded, std::size_t residue = 5000) {
        return Forged::head(forged.plain, forged.tokens.size(), residue, Coding::kZstd, coded, {});
    };
    const auto decoder = [] { return Decoder::create(10, {}).value(); };
    const Bytes good = zstd_frame(body, 19, false, false);
    ASSERT_TRUE(decoder()->decode(batch(good)));
    expect_refused(*decoder(), batch(zstd_frame(body, 19, true, false)), "a frame that ends");
    expect_refused(*decoder(), batch(zstd_frame(body, 24, false, false)), "a window of 16 MiB");
    expect_refused(*decoder(), batch(good, 4999), "more than was said");
    expect_refused(*decoder(), batch(good, 5001), "less than was said");
    Bytes twice = good;
    twice.insert(twice.end(), good.begin(), good.end());
    expect_refused(*decoder(), batch(twice), "a frame within the frame");
    expect_refused(*decoder(), batch({}), "nothing");
    const Bytes bomb = zstd_frame(Bytes(64u << 20), 19, false, false);
    EXPECT_LT(bomb.size(), 16u << 10);
    expect_refused(*decoder(), batch(bomb), "64 MiB of zeros");
    const Bytes skippable{std::byte{0x50}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18}, std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{7}};
    expect_refused(*decoder(), batch(skippable), "a skippable frame");
    for (std::size_t length = 0; length < good.size(); ++length) expect_refused(*decoder(), batch(std::span(good).first(length)), std::format("cut at {}", length));
}

// The batches of a small save with every class in it.
struct Recorded {
    ImageShelf shelf;
    std::string sha256;
    std::vector<Bytes> batches;
    std::vector<std::size_t> plain;  // bytes of each

    Recorded() {
        const std::string image = fakes::seeded_image(1, 16);
        sha256 = shelf.add(image);
        std::mt19937_64 random(21);
        fakes::Page zero{}, content = fakes::likely_page(random), noise = fakes::random_page(random), block{};
        std::memcpy(block.data(), image.data() + 2 * 4096, 4096);
        fakes::XenStream stream;
        for (int round = 0; round < 3; ++round) {
            const std::vector<fakes::XenStream::Sent> sent{{1, &zero}, {2, &content}, {3, &block}, {4, &noise}, {fakes::XenStream::entry(0xf, 5), nullptr}, {6, &zero}, {9, &content}};
            stream.pages(sent);
            content[static_cast<std::size_t>(round) * 600] ^= std::byte{0x22};
            content[2000] ^= std::byte{0x11};
        }
        stream.end();
        std::vector<ImageIndex> known;
        known.push_back(index_of(image, sha256));
        const auto encoder = Encoder::create(100, std::move(known)).value();
        for (std::size_t at = 0; at < stream.bytes.size();) {
            const auto part = std::span(stream.bytes).subspan(at, std::min<std::size_t>(3000 + 4000 * (at / 7 % 5), stream.bytes.size() - at));
            const auto batch = encoder->encode(part).value();
            at += part.size();
            if (!batch.empty()) batches.emplace_back(batch.begin(), batch.end());
        }
        EXPECT_GT(encoder->counts().delta.pages, 0u);
        EXPECT_GT(encoder->counts().same.pages, 0u);
        EXPECT_GT(encoder->counts().reference.pages, 0u);
    }
    [[nodiscard]] std::unique_ptr<Decoder> decoder() {
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(shelf.site, sha256).value());
        return Decoder::create(100, std::move(images)).value();
    }
    [[nodiscard]] std::unique_ptr<Decoder> decoder_after(std::size_t count) {
        auto one = decoder();
        for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(one->decode(batches[i]));
        return one;
    }
};

TEST(HostileBatch, EveryTruncationIsRefused) {
    Recorded recorded;
    ASSERT_GT(recorded.batches.size(), 5u);
    for (std::size_t index = 0; index < recorded.batches.size(); ++index) {
        const Bytes& batch = recorded.batches[index];
        const std::size_t step = batch.size() > 300 ? batch.size() / 150 : 1;
        for (std::size_t length = 0; length < batch.size(); length += step)
            expect_refused(*recorded.decoder_after(index), std::span(batch).first(length), std::format("batch {} cut at {} of {}", index, length, batch.size()));
    }
}

void mutate(Bytes& batch, std::mt19937& random) {
    for (std::size_t n = 1 + random() % 4; n > 0 && !batch.empty(); --n) {
        const std::size_t at = random() % 3 == 0 ? random() % std::min<std::size_t>(batch.size(), 40) : random() % batch.size();
        switch (random() % 5) {
            case 0: batch[at] ^= static_cast<std::byte>(1u << random() % 8); break;
            case 1: batch[at] = static_cast<std::byte>(random()); break;
            case 2: batch.resize(at); break;
            case 3: batch.insert(batch.begin() + static_cast<std::ptrdiff_t>(at), 1 + random() % 9, static_cast<std::byte>(random())); break;
            default: batch.erase(batch.begin() + static_cast<std::ptrdiff_t>(at), batch.begin() + static_cast<std::ptrdiff_t>(std::min(batch.size(), at + 1 + random() % 9)));
        }
    }
}

TEST(HostileBatch, TwentyThousandMutationsStayWithinTheBounds) {
    Recorded recorded;
    std::mt19937 random(77);
    std::size_t refused = 0, taken = 0;
    for (int i = 0; i < 20'000; ++i) {
        // A batch that is not due, or not in its form; then the next ones as they were.
        const std::size_t index = random() % recorded.batches.size();
        const auto decoder = recorded.decoder_after(random() % 4 == 0 ? random() % (index + 1) : index);
        Bytes batch = recorded.batches[index];
        mutate(batch, random);
        bool good = true;
        for (std::size_t next = index; next < std::min(index + 3, recorded.batches.size()) && good; ++next) {
            const auto plain = decoder->decode(next == index ? batch : recorded.batches[next]);
            good = plain.has_value();
            if (good) EXPECT_LE(plain->size(), kMaxPlain);
            else EXPECT_EQ(plain.error().kind, Kind::kInvalid) << plain.error().what;
        }
        ++(good ? taken : refused);
    }
    EXPECT_GT(refused, 10'000u);
    EXPECT_GT(taken, 100u);  // a changed byte of a page is not the decoder's to find: the stream's digest does
}

TEST(HostileBatch, NoiseIsRefused) {
    Recorded recorded;
    std::mt19937 random(78);
    for (int i = 0; i < 5'000; ++i) {
        Bytes noise(random() % 200);
        for (auto& byte : noise) byte = static_cast<std::byte>(random());
        if (noise.size() > kHead && i % 2 == 0) {  // past the first checks
            const std::size_t tokens = random() % (noise.size() - kHead + 1);
            const Bytes head = Forged::head(1 + random() % 20'000, tokens, noise.size() - kHead - tokens, static_cast<Coding>(random() % 3), {}, {});
            std::ranges::copy(head, noise.begin());
        }
        const auto plain = recorded.decoder_after(random() % recorded.batches.size())->decode(noise);
        if (!plain) EXPECT_EQ(plain.error().kind, Kind::kInvalid) << plain.error().what;
    }
}

}  // namespace
}  // namespace blanket::stream
