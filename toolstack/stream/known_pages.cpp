// SPDX-License-Identifier: GPL-2.0-or-later
// See known_pages.hpp.
#include "toolstack/stream/known_pages.hpp"

#include <algorithm>
#include <numeric>

namespace blanket::stream {
namespace {

constexpr unsigned kBucketBits = 12;

std::size_t bucket_of(std::uint64_t identity) { return identity >> (64 - kBucketBits); }

}  // namespace

Result<KnownPages> KnownPages::parse(std::span<const std::byte> offer, std::size_t most) {
    if (offer.size() < sizeof(IdentityKey) || (offer.size() - sizeof(IdentityKey)) % 8 != 0) return fail(Kind::kInvalid, "an offer of pages of {} bytes is none", offer.size());
    const std::size_t count = (offer.size() - sizeof(IdentityKey)) / 8;
    if (count > std::min(most, kMaxOffered)) return fail(Kind::kInvalid, "an offer of {} pages where {} may be", count, std::min(most, kMaxOffered));
    IdentityKey key;
    std::copy_n(offer.begin(), key.size(), key.begin());
    BLANKET_TRY(Identifier identifier, Identifier::create(key));
    KnownPages known(std::move(identifier));
    const std::byte* const raw = offer.data() + key.size();
    known.places_.resize(count);
    std::iota(known.places_.begin(), known.places_.end(), 0u);
    std::ranges::stable_sort(known.places_, {}, [raw](std::uint32_t place) { return load<std::uint64_t>(raw + std::size_t{place} * 8); });
    known.shorts_.reserve(count);
    for (const std::uint32_t place : known.places_) known.shorts_.push_back(load<std::uint64_t>(raw + std::size_t{place} * 8));
    known.buckets_.assign((std::size_t{1} << kBucketBits) + 1, static_cast<std::uint32_t>(count));
    for (std::size_t i = count; i-- > 0;) known.buckets_[bucket_of(known.shorts_[i])] = static_cast<std::uint32_t>(i);
    for (std::size_t bucket = known.buckets_.size() - 1; bucket-- > 0;) known.buckets_[bucket] = std::min(known.buckets_[bucket], known.buckets_[bucket + 1]);
    return known;
}

std::optional<std::uint32_t> KnownPages::find(PageBytes page, Patience& patience) {
    if (shorts_.empty()) return std::nullopt;
    if (patience.left == 0 && ++patience.skipped % kSample != 0) return std::nullopt;
    const auto identity = identifier_.of(page);
    if (!identity) return std::nullopt;
    const auto beginning = load<std::uint64_t>(identity->data());
    const auto begin = shorts_.begin() + buckets_[bucket_of(beginning)], end = shorts_.begin() + buckets_[bucket_of(beginning) + 1];
    const auto at = std::lower_bound(begin, end, beginning);
    if (at == end || *at != beginning) {
        if (patience.left > 0) --patience.left;
        return std::nullopt;
    }
    patience.left = kPatience;
    proof_.add(*identity);
    return places_[static_cast<std::size_t>(at - shorts_.begin())];
}

}  // namespace blanket::stream
