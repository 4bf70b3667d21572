// SPDX-License-Identifier: GPL-2.0-or-later
// The memory stream's decoder against a hostile source: batches of tokens that may or may not fit, compressed or not, taken early or late. Refused or expanded
// within the bounds; and a batch that was taken before the last one was asked for is the same batch.
#include <zstd.h>

#include "tests/fuzz/offered_pages.hpp"
#include "tests/fuzz/stream_program.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/stream/decoder.hpp"
#include "toolstack/stream/page_delta.hpp"

namespace blanket::fuzz {

using namespace stream;
using stream::Token;  // core has another one

// Two decoders with room for a batch each, zstd's windows, the caches, and the batches themselves in a few copies.
const std::size_t target::kHeap = 24u << 20;

namespace {

constexpr std::size_t kMostBatches = 16, kMostPlain = 200'000;
using Batch = std::vector<std::byte>;

Batch batch_of(std::size_t plain, std::size_t tokens, std::size_t residue, std::uint8_t coding, std::span<const std::byte> body) {
    Batch out(kHead + body.size());
    for (std::size_t i = 0; i < 4; ++i) {
        out[i] = static_cast<std::byte>(plain >> 8 * i);
        out[4 + i] = static_cast<std::byte>(tokens >> 8 * i);
        out[8 + i] = static_cast<std::byte>(residue >> 8 * i);
    }
    out[12] = static_cast<std::byte>(coding);
    std::ranges::copy(body, out.begin() + kHead);
    return out;
}

// What a source of a move knows: how many images, and what was offered of the store, if anything was.
struct Source {
    std::uint64_t images = 0;
    const OfferedPages* store = nullptr;
    Identifier* identifier = nullptr;  // under the offer's key
    std::uint64_t next_offered = 0;
};

// Tokens as the input says, with as much residue and plain as they need, and with the right proof, unless it says otherwise.
Batch forged(Input& input, ZSTD_CCtx* compressor, Source& source) {
    Batch tokens, residue;
    std::size_t plain = 0;
    PageProof proof;
    for (unsigned count = 1 + input.byte() % 12; count > 0 && plain < kMostPlain; --count) {
        const auto kind = static_cast<Token>(input.byte() % 8);
        std::uint64_t n = 1 + input.byte() % 8;
        const std::uint8_t odd = input.byte();
        if (odd == 255) n = input.number<std::uint64_t>() >> 3;
        put_number(tokens, n << 3 | static_cast<std::uint64_t>(kind));
        const std::size_t counted = static_cast<std::size_t>(std::min<std::uint64_t>(n, 64));
        const auto fill = [&](std::size_t bytes) {
            const auto given = input.bytes(std::min<std::size_t>(bytes, 8));
            residue.insert(residue.end(), given.begin(), given.end());
            residue.resize(residue.size() + bytes - given.size(), std::byte{0x3c});
        };
        switch (kind) {
            case Token::kBytes:
                fill(counted);
                plain += counted;
                break;
            case Token::kEntries:
                for (std::uint64_t done = 0; done < counted;) {
                    const std::uint64_t more = odd >= 250 ? input.byte() : std::min<std::uint64_t>(input.byte() % 8, counted - done - 1);
                    put_number(tokens, odd % 4 == 3 ? input.number<std::uint64_t>() : odd % 4);
                    put_number(tokens, more);
                    done += more + 1;
                }
                plain += counted * 8;
                break;
            case Token::kPlainEntries:
                for (std::size_t i = 0; i < counted; ++i) {
                    const std::uint64_t entry = std::uint64_t{input.byte()} | std::uint64_t{odd} >> 4 << 60;
                    const auto* const raw = reinterpret_cast<const std::byte*>(&entry);
                    residue.insert(residue.end(), raw, raw + 8);
                }
                plain += counted * 8;
                break;
            case Token::kZero:
            case Token::kSame: plain += counted * kPage; break;
            case Token::kDelta:
                for (std::size_t i = 0; i < counted; ++i) {
                    const std::uint64_t skip = input.byte(), words = 1 + input.byte() % 4;
                    put_number(tokens, odd >= 250 ? skip << 32 : skip);
                    put_number(tokens, odd >= 250 ? words << 3 : words);
                    fill(words * 8);
                }
                plain += kPage;
                break;
            case Token::kReference: {
                const std::uint64_t image = odd % 4, step = odd >= 250 ? input.number<std::uint64_t>() : input.byte();
                const bool differs = source.store != nullptr && image == source.images + 1;
                put_number(tokens, image);
                put_number(tokens, step);
                for (std::size_t i = 0; i < counted && differs; ++i) {
                    const std::uint64_t skip = input.byte(), words = 1 + input.byte() % 4;
                    put_number(tokens, skip);
                    put_number(tokens, odd >= 250 ? words << 3 : words);
                    fill(words * 8);
                }
                plain += (differs ? 1 : counted) * kPage;
                if (source.store == nullptr || image < source.images || image > source.images + 1) break;
                const std::uint64_t first = source.next_offered + unfold(step), pages = differs ? 1 : n;
                source.next_offered = first + pages;
                for (std::uint64_t at = first; at < first + std::min<std::uint64_t>(pages, 64); ++at)
                    if (at < OfferedPages::kCount) proof.add(source.identifier->of(source.store->pages[at]).value());
                break;
            }
            case Token::kRaw:
                fill(counted * kPage);
                plain += counted * kPage;
                break;
        }
    }
    const std::uint8_t twist = input.byte();
    if (!proof.empty() && twist % 32 != 8) {
        const auto value = proof.take(*source.identifier).value();
        residue.insert(residue.end(), value.begin(), value.end());
    }
    if (twist % 32 == 1) plain = input.number<std::uint32_t>();
    if (twist % 32 == 2) tokens.push_back(static_cast<std::byte>(input.byte()));
    if (twist % 32 == 3) residue.push_back(static_cast<std::byte>(input.byte()));
    Batch body = residue;
    body.insert(body.end(), tokens.begin(), tokens.end());
    if (twist < 192) return batch_of(plain, tokens.size(), residue.size(), twist % 32 == 4 ? input.byte() : 0, body);
    Batch coded(ZSTD_compressBound(body.size()) + 64);
    ZSTD_inBuffer from{body.data(), body.size(), 0};
    ZSTD_outBuffer to{coded.data(), coded.size(), 0};
    (void)ZSTD_compressStream2(compressor, &to, &from, twist % 32 == 5 ? ZSTD_e_end : ZSTD_e_flush);
    coded.resize(to.pos);
    if (twist % 32 == 6 && !coded.empty()) coded[input.below(coded.size())] ^= static_cast<std::byte>(1 + input.byte() % 255);
    return batch_of(plain, tokens.size(), residue.size() + (twist % 32 == 7 ? 1 : 0), 2, coded);
}

using Image = ImageSite;

}  // namespace

std::vector<std::string> target::seeds() {
    const auto token = [](Token kind, unsigned n, unsigned odd) { return Output().byte(static_cast<unsigned>(kind)).byte(n - 1).byte(odd); };
    const std::string entries = token(Token::kPlainEntries, 4, 0).byte(1).byte(2).byte(3).byte(4), pages = token(Token::kRaw, 2, 0).text("12345678abcdefgh");
    const std::string known = token(Token::kZero, 1, 0), referred = token(Token::kReference, 1, 0).byte(6), bytes = token(Token::kBytes, 3, 0).text("abc");
    const std::string steps = token(Token::kEntries, 4, 0).byte(3), same = token(Token::kSame, 1, 0), delta = token(Token::kDelta, 1, 0).byte(5).byte(1).text("differs!");
    std::vector<std::string> out;
    for (const unsigned twist : {0u, 192u, 5u + 192u}) {
        const std::string first = Output().byte(1).byte(4 - 1).text(entries).text(pages).text(known).text(referred).byte(twist);
        const std::string second = Output().byte(1).byte(4 - 1).text(bytes).text(entries).text(same).text(delta).byte(twist);
        const std::string third = Output().byte(1).byte(2 - 1).text(steps).text(known).byte(twist);
        out.push_back(Output().byte(8).byte(1).text(first).text(second).text(third));
        out.push_back(Output().byte(2).byte(0).text(third).text(first));
    }
    for (const unsigned twist : {0u, 192u, 8u}) {
        const std::string offered = token(Token::kReference, 2, 0).byte(6), differs = token(Token::kReference, 2, 1).byte(4).byte(3).byte(0).text("differs!").byte(100).byte(1).text("differs!differs!");
        const std::string first = Output().byte(1).byte(3 - 1).text(entries).text(offered).text(differs).byte(twist), second = Output().byte(1).byte(2 - 1).text(steps).text(differs).byte(twist);
        out.push_back(Output().byte(8).byte(2).text(first).text(second));
    }
    const Batch honest = batch_of(8, 1, 8, 0, as_bytes(std::string_view("12345678\x40")));
    out.push_back(Output().byte(3).byte(0).byte(0).piece({reinterpret_cast<const char*>(honest.data()), honest.size()}));
    return out;
}

void target::run(Input input) {
    static Image image;
    const std::size_t cache = input.byte();
    const std::uint8_t flags = input.byte();
    const bool with_image = (flags & 1) != 0, with_offer = (flags & 2) != 0;
    static OfferedPages store;
    store.begin();
    IdentityKey key;
    std::copy_n(store.list.begin(), key.size(), key.begin());
    auto identifier = Identifier::create(key).value();
    Source source{with_image ? 1u : 0u, with_offer ? &store : nullptr, &identifier, 0};
    const auto make = [&] {
        std::vector<BaseImage> images;
        if (with_image) images.push_back(BaseImage::open(image.site, image.sha256).value());
        return Decoder::create(cache, std::move(images), with_offer ? store.offer.get() : nullptr).value();
    };
    const auto at_once = make(), later = make();
    const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> compressor(ZSTD_createCCtx(), ZSTD_freeCCtx);
    (void)ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_windowLog, 17);
    (void)ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_compressionLevel, 1);
    bool taken = true;
    std::vector<std::vector<std::byte>> plains;
    std::size_t late = 0;  // batches that `later` has taken
    for (std::size_t i = 0; i < kMostBatches && !input.empty() && taken; ++i) {
        Batch batch;
        if (input.byte() % 8 != 0) batch = forged(input, compressor.get(), source);
        else {
            const auto part = input.piece();
            batch.assign(part.begin(), part.end());
        }
        const auto into_later = later->take(batch);
        require_refusal(into_later, "take");
        const auto plain = at_once->decode(batch);
        require_refusal(plain, "decode");
        taken = plain.has_value();
        if (into_later) ++late;
        require(into_later.has_value() || !taken, "a batch is refused by one of two decoders");
        if (!taken) break;
        require(!plain->empty() && plain->size() <= kMaxPlain, "a batch expands beyond the bound");
        require(at_once->held() == 0 && !at_once->waiting(), "a batch is still held");
        require(at_once->cache().size() <= cache, "more pages are kept than were agreed");
        plains.emplace_back(plain->begin(), plain->end());
    }
    store.begin();
    for (std::size_t i = 0; i < late; ++i) {
        require(later->waiting(), "a batch that was taken has gone");
        const auto plain = later->next();
        require(plain.has_value() == (i < plains.size()), "a batch that was taken early is another's");
        if (!plain) return;
        require(std::ranges::equal(*plain, plains[i]), "a batch that was taken early is other bytes");
    }
    require(later->held() == 0 && !later->waiting(), "bytes are held that nobody sent");
    require(!taken || later->cache().state() == at_once->cache().state(), "a batch that was taken early keeps other pages");
}

}  // namespace blanket::fuzz
