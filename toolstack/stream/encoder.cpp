// SPDX-License-Identifier: GPL-2.0-or-later
// See encoder.hpp and format.hpp.
#include "toolstack/stream/encoder.hpp"

#include <algorithm>

#include "toolstack/core/content_hash.hpp"
#include "toolstack/stream/page_delta.hpp"

namespace blanket::stream {
namespace {

constexpr std::size_t kLeastCoded = 64;       // less is not worth a zstd block
constexpr std::size_t kTelling = 16 * 1024;   // a batch of this length says whether compression helps
constexpr unsigned kMostPoor = 3;             // then up to 8 batches go without
constexpr std::size_t kMostLate = 4096;       // looks at stored versions in a walk behind the first one: so much more, at most, have both ends to read before the guest stops

constexpr std::array<std::pair<Token, ClassCount PageCounts::*>, 5> kClasses{{{Token::kZero, &PageCounts::zero},
                                                                              {Token::kSame, &PageCounts::same},
                                                                              {Token::kDelta, &PageCounts::delta},
                                                                              {Token::kReference, &PageCounts::reference},
                                                                              {Token::kRaw, &PageCounts::raw}}};  // and the store's two

void put_u32(std::byte* out, std::size_t value) {
    const auto number = static_cast<std::uint32_t>(value);
    std::memcpy(out, &number, sizeof number);
}

}  // namespace

Encoder::Encoder(std::size_t cache_pages, std::vector<ImageIndex> images, std::optional<KnownPages> known, ContentStore::Feed* feed, StoredVersions* versions, Compressor compressor)
    : cache_(cache_pages), images_(std::move(images)), known_(std::move(known)), feed_(feed), versions_(versions), compressor_(std::move(compressor)), wire_(std::make_unique_for_overwrite<std::byte[]>(kHead + Compressor::room_for(kMaxTokens + kMaxResidue))) {
    body_.reserve(kHead + kMaxResidue + kMaxTokens);
}

Result<std::unique_ptr<Encoder>> Encoder::create(std::size_t cache_pages, std::vector<ImageIndex> images, std::optional<KnownPages> known, ContentStore::Feed* feed,
                                                 StoredVersions* versions) {
    if (images.size() > kMaxImages) return fail(Kind::kInvalid, "{} base images are more than {}", images.size(), kMaxImages);
    BLANKET_TRY(Compressor compressor, Compressor::create());
    return std::unique_ptr<Encoder>(new Encoder(cache_pages, std::move(images), std::move(known), feed, versions, std::move(compressor)));
}

Result<std::span<const std::byte>> Encoder::encode(std::span<const std::byte> plain) {
    if (plain.size() > kMaxStep) return fail(Kind::kInternal, "{} bytes of memory at once are more than {}", plain.size(), kMaxStep);
    begin_batch();
    splitter_.feed(plain, *this);
    return end_batch();
}

Result<std::span<const std::byte>> Encoder::finish() {
    begin_batch();
    splitter_.finish(*this);
    return end_batch();
}

void Encoder::put_token(Token kind, std::uint64_t count) { put_number(tokens_, count << 3 | static_cast<std::uint64_t>(kind)); }

void Encoder::append(std::span<const std::byte> data) { body_.insert(body_.end(), data.begin(), data.end()); }

void Encoder::end_run() {
    if (run_ == 0) return;
    const std::size_t before = tokens_.size();
    put_token(run_kind_, run_);
    if (run_kind_ == Token::kReference) {
        put_number(tokens_, run_image_);
        std::uint64_t& next = run_image_ == images_.size() ? next_offered_ : next_block_;
        put_number(tokens_, fold(run_block_ - next));
        next = run_block_ + run_;
    }
    parts_.back().spent[spent_on()] += tokens_.size() - before;
    run_ = 0;
}

void Encoder::add_pages(Token kind, std::uint64_t count) {
    if (run_kind_ != kind) end_run();
    run_kind_ = kind;
    run_ += count;
}

void Encoder::bytes(std::span<const std::byte> data) {
    if (run_kind_ != Token::kBytes) end_run();
    run_kind_ = Token::kBytes;
    run_ += data.size();
    plain_ += data.size();
    append(data);
}

// Within one walk frames only go up.
void Encoder::begin_pass(std::span<const std::byte> entries) {
    if (passes_.back().entries > 0 && frame_of(load<std::uint64_t>(entries.data())) <= last_frame_ && passes_.size() < kMaxPasses) {
        passes_.emplace_back();
        late_ = 0;
        parts_.push_back({.begin = tokens_.size() + body_.size() - kHead, .plain = plain_, .spent = {}});
    }
    last_frame_ = frame_of(load<std::uint64_t>(entries.last(8).data()));
    passes_.back().entries += entries.size() / 8;
}

void Encoder::count(ClassCount PageCounts::* which) {
    ++(counts_.*which).pages;
    ++(passes_.back().pages.*which).pages;
}

void Encoder::entries(std::span<const std::byte> data) {
    end_run();
    begin_pass(data);
    plain_ += data.size();
    const std::size_t count = data.size() / 8;
    scratch_.clear();
    for (std::size_t at = 0; at < count;) {
        const auto turned = [&](std::size_t index) { return std::rotl(load<std::uint64_t>(data.data() + index * 8), 4); };
        const std::uint64_t step = turned(at) - last_entry_ - 16;
        std::size_t end = at;
        for (; end < count && turned(end) - last_entry_ - 16 == step; ++end) last_entry_ = turned(end);
        put_number(scratch_, fold(step));
        put_number(scratch_, end - at - 1);
        at = end;
    }
    if (scratch_.size() < data.size()) {
        put_token(Token::kEntries, count);
        tokens_.insert(tokens_.end(), scratch_.begin(), scratch_.end());
    } else {
        put_token(Token::kPlainEntries, count);
        append(data);
    }
}

void Encoder::page(std::uint64_t frame, PageBytes data) {
    plain_ += kPage;
    if (is_zero(data)) {
        count(&PageCounts::zero);
        add_pages(Token::kZero, 1);
        cache_.sent_known(frame);
        return;
    }
    const std::byte* const held = cache_.held(frame);
    if (held != nullptr && std::memcmp(held, data.data(), kPage) == 0) {
        count(&PageCounts::same);
        add_pages(Token::kSame, 1);
        cache_.sent_same(frame);
        return;
    }
    if (held != nullptr) {
        scratch_.clear();
        const std::size_t residue_before = body_.size();
        if (const std::size_t runs = make_delta(held, data, scratch_, body_); runs > 0) {
            end_run();
            count(&PageCounts::delta);
            const std::size_t tokens_before = tokens_.size();
            put_token(Token::kDelta, runs);
            tokens_.insert(tokens_.end(), scratch_.begin(), scratch_.end());
            parts_.back().spent[static_cast<std::size_t>(Token::kDelta)] += tokens_.size() - tokens_before + body_.size() - residue_before;
            cache_.sent(frame, data);
            if (feed_ != nullptr) (void)feed_->seen(data);
            return;
        }
    }
    // In the first round only: what the guest writes later is seldom a block of the image, and the target's disk has done its part long before the guest stops.
    if (cache_.in_first_round(frame) && refer(data)) {
        count(&PageCounts::reference);
        cache_.sent_known(frame);
        return;
    }
    if (feed_ != nullptr) (void)feed_->seen(data);
    if (tell_by_version(frame, data)) {
        cache_.sent(frame, data);
        return;
    }
    if (cache_.in_first_round(frame) && refer_to_store(data)) {
        count(&PageCounts::store);
        cache_.sent(frame, data);  // unlike an image's, it may be one that the guest writes to
        return;
    }
    count(&PageCounts::raw);
    add_pages(Token::kRaw, 1);
    append(data);
    parts_.back().spent[static_cast<std::size_t>(Token::kRaw)] += kPage;
    cache_.sent(frame, data);
}

bool Encoder::refer(PageBytes data) {
    for (std::size_t image = 0; image < images_.size(); ++image) {
        const auto block = images_[image].find(data);
        if (!block) continue;
        add_block(image, *block);
        return true;
    }
    return false;
}

bool Encoder::refer_to_store(PageBytes data) {
    if (!known_) return false;
    const auto place = known_->find(data);
    if (place) add_block(images_.size(), *place);
    return place.has_value();
}

// By what the last move brought of this frame, where the target has that too. Also in later rounds, for what was sent in the first one is often not held any more.
bool Encoder::tell_by_version(std::uint64_t frame, PageBytes data) {
    if (versions_ == nullptr || !known_) return false;
    const bool first = cache_.in_first_round(frame);
    if (!first && late_ == kMostLate) return false;
    if (!first) ++late_;
    const std::byte* const version = versions_->find(frame);
    if (version == nullptr) return false;
    scratch_.clear();
    const std::size_t residue_before = body_.size();
    const std::size_t runs = make_delta(version, data, scratch_, body_);
    if (runs == 0 && (first || std::memcmp(version, data.data(), kPage) != 0)) return false;  // another page; or the same, which the first round finds by its own identity
    const auto place = known_->find_version(PageBytes(version, kPage));
    if (!place) {
        body_.resize(residue_before);
        return false;
    }
    if (runs == 0) {
        count(&PageCounts::store);
        add_block(images_.size(), *place);
        return true;
    }
    end_run();
    count(&PageCounts::store_delta);
    const std::size_t tokens_before = tokens_.size();
    put_token(Token::kReference, runs);
    put_number(tokens_, images_.size() + 1);
    put_number(tokens_, fold(*place - next_offered_));
    next_offered_ = *place + std::uint64_t{1};
    tokens_.insert(tokens_.end(), scratch_.begin(), scratch_.end());
    parts_.back().spent[kStoreDelta] += tokens_.size() - tokens_before + body_.size() - residue_before;
    return true;
}

void Encoder::add_block(std::size_t image, std::uint64_t block) {
    if (run_kind_ != Token::kReference || run_ == 0 || run_image_ != image || run_block_ + run_ != block) {
        end_run();
        run_kind_ = Token::kReference;
        run_image_ = image;
        run_block_ = block;
    }
    ++run_;
}

void Encoder::begin_batch() {
    tokens_.clear();
    body_.resize(kHead);
    plain_ = 0;
    parts_.assign(1, {});
}

Result<std::span<const std::byte>> Encoder::end_batch() {
    end_run();
    if (plain_ == 0) return std::span<const std::byte>();
    if (known_ && known_->referred()) {
        BLANKET_TRY(const auto proof, known_->proof());
        append(proof);
        parts_.back().spent[parts_.back().spent[kStore] > 0 ? kStore : kStoreDelta] += proof.size();
    }
    const std::size_t residue = body_.size() - kHead, total = residue + tokens_.size();
    append(tokens_);
    std::byte* batch = body_.data();
    std::size_t length = kHead + total;
    Coding coding = Coding::kRaw;
    if (compress_ && skip_ > 0) {
        --skip_;
    } else if (compress_ && total >= kLeastCoded) {
        coding = Coding::kZstd;
        batch = wire_.get();
        BLANKET_TRY(length, compressor_.add(std::span(body_).subspan(kHead), {batch + kHead, Compressor::room_for(total)}));
        // What does not become smaller costs time and gives nothing: some batches go without, more each time.
        const bool helped = length <= total - total / 16;
        if (total >= kTelling) poor_ = helped ? 0 : std::min(poor_ + 1, kMostPoor);
        if (total >= kTelling && !helped) skip_ = 1u << poor_;
        length += kHead;
    }
    put_u32(batch, plain_);
    put_u32(batch + 4, tokens_.size());
    put_u32(batch + 8, residue);
    batch[12] = static_cast<std::byte>(coding);
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const Part& part = parts_[i];
        const Part end = i + 1 < parts_.size() ? parts_[i + 1] : Part{.begin = total, .plain = plain_, .spent = {}};
        PassCount& pass = passes_[passes_.size() - parts_.size() + i];
        pass.bytes += end.plain - part.plain;
        pass.wire_bytes += end.begin * length / total - part.begin * length / total;
        const auto add_share = [&](std::size_t kind, ClassCount PageCounts::* which) {
            const std::uint64_t share = part.spent[kind] * length / total;
            (counts_.*which).wire_bytes += share;
            (pass.pages.*which).wire_bytes += share;
        };
        for (const auto& [kind, which] : kClasses) add_share(static_cast<std::size_t>(kind), which);
        add_share(kStore, &PageCounts::store);
        add_share(kStoreDelta, &PageCounts::store_delta);
    }
    return std::span<const std::byte>(batch, length);
}

}  // namespace blanket::stream
