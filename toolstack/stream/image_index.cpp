// SPDX-License-Identifier: GPL-2.0-or-later
// See image_index.hpp.
#include "toolstack/stream/image_index.hpp"

#include <algorithm>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/stream/quick_hash.hpp"

namespace blanket::stream {
namespace {

constexpr std::string_view kMagic = "BLKTIDX2";
constexpr std::uint32_t kIndexVersion = 2;  // also of quick_hash
constexpr std::size_t kHashText = 64;
constexpr std::size_t kKeyAt = 8 + 4 + 4 + kHashText, kIndexHead = kKeyAt + sizeof(IdentityKey) + 8;
constexpr std::size_t kChecksum = 8, kPerBlock = 8 + 4 + sizeof(Identity);

template <typename T>
void append(std::string& out, const T* values, std::size_t count) {
    out.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

}  // namespace

Result<ImageIndex::Builder> ImageIndex::Builder::create() {
    BLANKET_TRY(const IdentityKey key, make_identity_key());
    BLANKET_TRY(Identifier identifier, Identifier::create(key));
    return Builder(key, std::move(identifier));
}

Result<void> ImageIndex::Builder::add(std::uint64_t offset, std::span<const std::byte> data) {
    if (offset % kPage != 0) return {};
    for (; data.size() >= kPage && found_.size() < kMaxBlocks; data = data.subspan(kPage), offset += kPage) {
        const auto block = data.first<kPage>();
        const std::uint64_t number = offset / kPage;
        if (number > ~std::uint32_t{0} || is_zero(block)) continue;
        BLANKET_TRY(const Identity identity, identifier_.of(block));
        found_.push_back({quick_hash(block), static_cast<std::uint32_t>(number), identity});
    }
    return {};
}

Result<ImageIndex> ImageIndex::Builder::finish(const std::string& sha256) {
    std::ranges::sort(found_, {}, [](const Found& one) { return std::pair(one.hash, one.block); });
    const auto doubles = std::ranges::unique(found_, {}, &Found::hash);
    found_.erase(doubles.begin(), doubles.end());
    ImageIndex index(sha256, key_, std::move(identifier_));
    index.hashes_.reserve(found_.size());
    index.blocks_.reserve(found_.size());
    index.identities_.reserve(found_.size());
    for (const auto& one : found_) {
        index.hashes_.push_back(one.hash);
        index.blocks_.push_back(one.block);
        index.identities_.push_back(one.identity);
    }
    found_ = {};
    index.make_buckets();
    return index;
}

Result<void> ImageIndex::save(const std::string& path) const {
    if (sha256_.size() != kHashText) return fail(Kind::kInvalid, "'{}' is not the hash of an image", sha256_.substr(0, kHashText));
    const std::uint32_t version[2] = {kIndexVersion, 0};
    const std::uint64_t count = hashes_.size();
    std::string out;
    out.reserve(kIndexHead + count * kPerBlock + kChecksum);
    out.append(kMagic);
    append(out, version, 2);
    out.append(sha256_);
    append(out, key_.data(), key_.size());
    append(out, &count, 1);
    append(out, hashes_.data(), count);
    append(out, blocks_.data(), count);
    append(out, identities_.data(), count);
    const std::uint64_t checksum = quick_hash(as_bytes(out));
    append(out, &checksum, 1);
    return write_file(path, out, 0600);
}

Result<ImageIndex> ImageIndex::load(const std::string& path, const std::string& sha256) {
    BLANKET_TRY(const std::string text, read_file(path, kIndexHead + kMaxBlocks * kPerBlock + kChecksum));
    const auto damaged = [&] { return fail(Kind::kInvalid, "the index {} is damaged, or not of this version or image", path); };
    if (text.size() < kIndexHead + kChecksum || sha256.size() != kHashText) return damaged();
    const std::byte* const raw = as_bytes(text).data();
    const auto count = stream::load<std::uint64_t>(raw + kIndexHead - 8);
    if (!text.starts_with(kMagic) || stream::load<std::uint32_t>(raw + 8) != kIndexVersion || stream::load<std::uint32_t>(raw + 12) != 0 || text.compare(16, kHashText, sha256) != 0 || count > kMaxBlocks ||
        text.size() != kIndexHead + count * kPerBlock + kChecksum)
        return damaged();
    if (stream::load<std::uint64_t>(raw + text.size() - kChecksum) != quick_hash(as_bytes(text).first(text.size() - kChecksum))) return damaged();
    IdentityKey key;
    std::memcpy(key.data(), raw + kKeyAt, key.size());
    BLANKET_TRY(Identifier identifier, Identifier::create(key));
    ImageIndex index(sha256, key, std::move(identifier));
    index.hashes_.resize(count);
    index.blocks_.resize(count);
    index.identities_.resize(count);
    if (count > 0) {
        std::memcpy(index.hashes_.data(), raw + kIndexHead, count * 8);
        std::memcpy(index.blocks_.data(), raw + kIndexHead + count * 8, count * 4);
        std::memcpy(index.identities_.data(), raw + kIndexHead + count * 12, count * sizeof(Identity));
    }
    if (!std::ranges::is_sorted(index.hashes_)) return damaged();
    index.make_buckets();
    return index;
}

// As many buckets as a quarter of the hashes, at least two and at most 64 Ki: a search then looks at a few hashes beside each other.
void ImageIndex::make_buckets() {
    unsigned bits = 1;
    while (bits < 16 && (std::size_t{4} << bits) < hashes_.size()) ++bits;
    shift_ = 64 - bits;
    buckets_.assign((std::size_t{1} << bits) + 1, static_cast<std::uint32_t>(hashes_.size()));
    for (std::size_t i = hashes_.size(); i-- > 0;) buckets_[hashes_[i] >> shift_] = static_cast<std::uint32_t>(i);
    for (std::size_t bucket = buckets_.size() - 1; bucket-- > 0;) buckets_[bucket] = std::min(buckets_[bucket], buckets_[bucket + 1]);
}

std::optional<std::uint32_t> ImageIndex::find(PageBytes page) {
    const std::uint64_t hash = quick_hash(page);
    const auto begin = hashes_.begin() + buckets_[hash >> shift_], end = hashes_.begin() + buckets_[(hash >> shift_) + 1];
    const auto at = std::lower_bound(begin, end, hash);
    if (at == end || *at != hash) return std::nullopt;
    const auto place = static_cast<std::size_t>(at - hashes_.begin());
    const auto identity = identifier_.of(page);
    if (!identity || *identity != identities_[place]) return std::nullopt;
    return blocks_[place];
}

}  // namespace blanket::stream
