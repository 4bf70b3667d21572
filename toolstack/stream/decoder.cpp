// SPDX-License-Identifier: GPL-2.0-or-later
// See decoder.hpp and format.hpp.
#include "toolstack/stream/decoder.hpp"

#include <algorithm>

#include <openssl/crypto.h>

#include "toolstack/stream/page_delta.hpp"

namespace blanket::stream {
namespace {

template <typename Span>
Span take_front(Span& from, std::size_t length) {
    const Span part = from.first(length);
    from = from.subspan(length);
    return part;
}

}  // namespace

Decoder::Decoder(std::size_t cache_pages, std::vector<BaseImage> images, PageOffer* offer, ContentStore::Feed* feed, Expander expander)
    : cache_(cache_pages), images_(std::move(images)), offer_(offer), feed_(feed), expander_(std::move(expander)), plain_(std::make_unique_for_overwrite<std::byte[]>(kMaxPlain)) {}

Result<std::unique_ptr<Decoder>> Decoder::create(std::size_t cache_pages, std::vector<BaseImage> images, PageOffer* offer, ContentStore::Feed* feed) {
    if (images.size() > kMaxImages) return fail(Kind::kInvalid, "{} base images are more than {}", images.size(), kMaxImages);
    BLANKET_TRY(Expander expander, Expander::create());
    return std::unique_ptr<Decoder>(new Decoder(cache_pages, std::move(images), offer, feed, std::move(expander)));
}

Result<void> Decoder::take(std::vector<std::byte> bytes) {
    if (bytes.size() < kHead) return fail(Kind::kInvalid, "a memory message of {} bytes is too short", bytes.size());
    Batch batch{load<std::uint32_t>(bytes.data()), load<std::uint32_t>(bytes.data() + 4), load<std::uint32_t>(bytes.data() + 8), {}};
    BLANKET_TRY(const Coding coding, parse_coding(std::to_integer<std::uint8_t>(bytes[12])));
    if (batch.plain == 0 || batch.plain > kMaxPlain || batch.tokens > kMaxTokens || batch.residue > kMaxResidue || coding == Coding::kZero)
        return fail(Kind::kInvalid, "a memory message of {} bytes by {} and {} is out of bounds", batch.plain, batch.tokens, batch.residue);
    const std::size_t body = batch.tokens + batch.residue;
    if (coding == Coding::kZstd) {
        batch.bytes.resize(body);
        BLANKET_CHECK(expander_.add(std::span(bytes).subspan(kHead), batch.bytes));
    } else if (bytes.size() != kHead + body) {
        return fail(Kind::kInvalid, "a memory message carries {} bytes where {} were due", bytes.size() - kHead, body);
    } else {
        batch.bytes = std::move(bytes);
    }
    if (refers()) look_ahead(batch);
    held_ += batch.bytes.size();
    batches_.push_back(std::move(batch));
    return {};
}

// Finds the references and nothing else; what is wrong with the batch, next() says.
void Decoder::look_ahead(const Batch& batch) {
    auto tokens = batch.body().last(batch.tokens);
    const auto skip = [&tokens](std::uint64_t numbers) {
        for (; numbers > 0; --numbers)
            if (!take_number(tokens)) return false;
        return true;
    };
    for (std::uint64_t pages = batch.plain / kPage; !tokens.empty();) {
        const auto head = take_number(tokens);
        if (!head) return;
        const std::uint64_t count = *head >> 3;
        switch (static_cast<Token>(*head & 7)) {
            case Token::kDelta:
                if (!skip(count) || !skip(count)) return;
                break;
            case Token::kEntries:
                for (std::uint64_t done = 0; done < count;) {
                    const auto step = take_number(tokens), more = take_number(tokens);
                    if (!step || !more || *more >= count - done) return;
                    done += *more + 1;
                }
                break;
            case Token::kReference: {
                const auto image = take_number(tokens), step = take_number(tokens);
                if (!image || !step || *image > images_.size() + 1 || (*image >= images_.size() && offer_ == nullptr)) return;
                const bool differs = *image > images_.size();
                const std::uint64_t blocks = differs ? 1 : count;
                if (blocks > pages) return;
                std::uint64_t& next = *image >= images_.size() ? ahead_offered_ : ahead_block_;
                const std::uint64_t first = next + unfold(*step);
                if (*image >= images_.size()) offer_->will_need(first, blocks);
                else images_[*image].will_need(first, blocks);
                next = first + blocks;
                pages -= blocks;
                if (differs && (!skip(count) || !skip(count))) return;
                break;
            }
            default: break;
        }
    }
}

Result<std::span<const std::byte>> Decoder::next() {
    if (batches_.empty()) return fail(Kind::kInternal, "no batch of the memory stream is there");
    const Batch batch = std::move(batches_.front());
    batches_.pop_front();
    held_ -= batch.bytes.size();
    Parts parts{batch.body().subspan(batch.residue), batch.body().first(batch.residue), {plain_.get(), batch.plain}};
    while (!parts.tokens.empty()) BLANKET_CHECK(take_token(parts));
    if (offer_ != nullptr && offer_->referred()) BLANKET_CHECK(check_proof(parts));
    if (!parts.residue.empty() || !parts.room.empty())
        return fail(Kind::kInvalid, "a memory message of {} bytes leaves {}, and {} of its residue", batch.plain, parts.room.size(), parts.residue.size());
    return std::span<const std::byte>(plain_.get(), batch.plain);
}

Result<void> Decoder::take_token(Parts& parts) {
    BLANKET_TRY(const std::uint64_t head, take_number(parts.tokens));
    const auto kind = static_cast<Token>(head & 7);
    const std::uint64_t count = head >> 3;
    if (count == 0) return fail(Kind::kInvalid, "an empty token in the memory stream");
    switch (kind) {
        case Token::kBytes: return take_bytes(parts, count);
        case Token::kEntries: return take_entries(parts, count, false);
        case Token::kPlainEntries: return take_entries(parts, count, true);
        case Token::kReference: return take_blocks(parts, count);
        case Token::kDelta: return take_page(parts, kind, count);
        case Token::kZero:
        case Token::kSame:
        case Token::kRaw: break;
    }
    return take_pages(parts, kind, count);
}

Result<void> Decoder::take_bytes(Parts& parts, std::uint64_t count) {
    if (count > parts.residue.size() || count > parts.room.size()) return fail(Kind::kInvalid, "{} bytes of the memory stream do not fit", count);
    std::ranges::copy(take_front(parts.residue, count), take_front(parts.room, count).begin());
    return {};
}

Result<void> Decoder::add_entry(Parts& parts, std::uint64_t entry) {
    last_entry_ = std::rotl(entry, 4);
    std::memcpy(take_front(parts.room, 8).data(), &entry, 8);
    if (!announces_page(entry)) return {};
    if (next_frame_ == frames_.size()) {
        frames_.clear();
        next_frame_ = 0;
    }
    if (frames_.size() == kMaxEntries) return fail(Kind::kInvalid, "more than {} pages of the memory stream are announced at once", kMaxEntries);
    frames_.push_back(frame_of(entry));
    return {};
}

Result<void> Decoder::take_entries(Parts& parts, std::uint64_t count, bool plain) {
    if (count > parts.room.size() / 8 || (plain && count > parts.residue.size() / 8)) return fail(Kind::kInvalid, "{} entries of the memory stream do not fit", count);
    for (; plain && count > 0; --count) BLANKET_CHECK(add_entry(parts, load<std::uint64_t>(take_front(parts.residue, 8).data())));
    while (count > 0) {
        BLANKET_TRY(const std::uint64_t step, take_number(parts.tokens));
        BLANKET_TRY(const std::uint64_t more, take_number(parts.tokens));
        if (more >= count) return fail(Kind::kInvalid, "{} equal steps among {} entries", more, count);
        for (std::uint64_t i = 0; i <= more; ++i) BLANKET_CHECK(add_entry(parts, std::rotr(last_entry_ + 16 + unfold(step), 4)));
        count -= more + 1;
    }
    return {};
}

Result<void> Decoder::take_pages(Parts& parts, Token kind, std::uint64_t count) {
    if (count > parts.room.size() / kPage) return fail(Kind::kInvalid, "{} pages of the memory stream do not fit", count);
    for (; count > 0; --count) BLANKET_CHECK(take_page(parts, kind, 0));
    return {};
}

Result<void> Decoder::take_page(Parts& parts, Token kind, std::uint64_t runs) {
    if (next_frame_ == frames_.size() || parts.room.size() < kPage) return fail(Kind::kInvalid, "a page of the memory stream that was not announced");
    const std::uint64_t frame = frames_[next_frame_++];
    const auto page = take_front(parts.room, kPage).first<kPage>();
    if (kind == Token::kZero) {
        std::ranges::fill(page, std::byte{0});
        cache_.sent_known(frame);
        return {};
    }
    if (kind == Token::kRaw) {
        if (parts.residue.size() < kPage) return fail(Kind::kInvalid, "a page of the memory stream is cut short");
        std::ranges::copy(take_front(parts.residue, kPage), page.begin());
        cache_.sent(frame, page);
        if (feed_ != nullptr) (void)feed_->seen(page, frame);
        return {};
    }
    const std::byte* const held = cache_.held(frame);
    if (held == nullptr) return fail(Kind::kInvalid, "frame {:#x} of the memory stream is told by a version that is not held", frame);
    if (kind == Token::kSame) {
        std::memcpy(page.data(), held, kPage);
        cache_.sent_same(frame);
        return {};
    }
    BLANKET_CHECK(apply_delta(held, runs, parts.tokens, parts.residue, page.data()));
    cache_.sent(frame, page);
    if (feed_ != nullptr) (void)feed_->seen(page, frame);
    return {};
}

Result<void> Decoder::take_blocks(Parts& parts, std::uint64_t count) {
    BLANKET_TRY(const std::uint64_t image, take_number(parts.tokens));
    BLANKET_TRY(const std::uint64_t step, take_number(parts.tokens));
    if (image == images_.size() + 1 && offer_ != nullptr) return take_difference(parts, count, next_offered_ + unfold(step));
    const bool to_store = image == images_.size() && offer_ != nullptr;
    if (image >= images_.size() && !to_store) return fail(Kind::kInvalid, "a reference to base image {} of {}", image, images_.size());
    if (count > parts.room.size() / kPage || count > frames_.size() - next_frame_) return fail(Kind::kInvalid, "{} referred pages of the memory stream were not announced", count);
    if (to_store) {
        const std::uint64_t offered = next_offered_ + unfold(step);
        next_offered_ = offered + count;
        return take_offered(offered, take_front(parts.room, count * kPage));
    }
    const std::uint64_t first = next_block_ + unfold(step);
    BLANKET_CHECK(images_[image].read(first, take_front(parts.room, count * kPage)));
    next_block_ = first + count;
    for (; count > 0; --count) cache_.sent_known(frames_[next_frame_++]);
    return {};
}

// One page, by the one at this place of the offer.
Result<void> Decoder::take_difference(Parts& parts, std::uint64_t runs, std::uint64_t offered) {
    if (next_frame_ == frames_.size() || parts.room.size() < kPage) return fail(Kind::kInvalid, "a page of the memory stream that was not announced");
    BLANKET_CHECK(offer_->read(offered, version_));
    next_offered_ = offered + 1;
    const std::uint64_t frame = frames_[next_frame_++];
    const auto page = take_front(parts.room, kPage).first<kPage>();
    BLANKET_CHECK(apply_delta(version_.data(), runs, parts.tokens, parts.residue, page.data()));
    cache_.sent(frame, page);
    if (feed_ != nullptr) (void)feed_->seen(page, frame);
    return {};
}

Result<void> Decoder::take_offered(std::uint64_t first, std::span<std::byte> out) {
    BLANKET_CHECK(offer_->read(first, out));
    for (; !out.empty(); out = out.subspan(kPage), ++first) {
        const std::uint64_t frame = frames_[next_frame_++];
        cache_.sent(frame, out.first<kPage>());
        if (feed_ != nullptr) feed_->has(frame, offer_->key(first));
    }
    return {};
}

Result<void> Decoder::check_proof(Parts& parts) {
    BLANKET_TRY(const auto proof, offer_->proof());
    if (parts.residue.size() < proof.size() || CRYPTO_memcmp(take_front(parts.residue, proof.size()).data(), proof.data(), proof.size()) != 0)
        return fail(Kind::kInvalid, "pages of the content store are not those that the source has: the move can be tried again");
    return {};
}

}  // namespace blanket::stream
