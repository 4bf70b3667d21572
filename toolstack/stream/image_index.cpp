// SPDX-License-Identifier: GPL-2.0-or-later
// See image_index.hpp.
#include "toolstack/stream/image_index.hpp"

#include <algorithm>

#include "toolstack/base/file.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/stream/quick_hash.hpp"

namespace blanket::stream {
namespace {

constexpr std::string_view kMagic = "BLKTIDX1";
constexpr std::uint32_t kIndexVersion = 1;  // also of quick_hash
constexpr std::size_t kHashText = 64;
constexpr std::size_t kIndexHead = 8 + 4 + 4 + kHashText + 8, kChecksum = 8, kPerBlock = 8 + 4;
constexpr std::size_t kPart = 1u << 20;  // read at once

template <typename T>
void append(std::string& out, const T* values, std::size_t count) {
    out.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

struct Found {
    std::uint64_t hash;
    std::uint32_t block;
    auto operator<=>(const Found&) const = default;
};

}  // namespace

Result<ImageIndex> ImageIndex::build(BlockStore& blocks, const std::string& sha256, std::span<const Extent> extents, const std::function<bool()>& stop) {
    BLANKET_TRY(const BaseImage image, BaseImage::open(blocks, sha256));
    const std::uint64_t last = std::min<std::uint64_t>(image.blocks(), ~std::uint32_t{0});
    std::vector<Found> found;
    std::vector<std::byte> part(kPart);
    for (const auto& extent : extents) {
        if (extent.zero) continue;
        std::uint64_t at = extent.offset / kPage;
        const std::uint64_t end = std::min(last, (extent.offset + extent.length) / kPage);
        while (at < end && found.size() < kMaxBlocks) {
            if (stop()) return fail(Kind::kCancelled, "the index of base image {} was given up", sha256.substr(0, 12));
            const std::uint64_t count = std::min({end - at, std::uint64_t{kPart / kPage}, std::uint64_t{kMaxBlocks - found.size()}});
            BLANKET_CHECK(image.read(at, std::span(part).first(count * kPage)));
            for (std::uint64_t i = 0; i < count; ++i)
                if (const auto block = std::span<const std::byte>(part).subspan(i * kPage, kPage); !is_zero(block))
                    found.push_back({quick_hash(block), static_cast<std::uint32_t>(at + i)});
            at += count;
        }
    }
    std::ranges::sort(found);
    const auto doubles = std::ranges::unique(found, {}, &Found::hash);
    found.erase(doubles.begin(), doubles.end());
    ImageIndex index(sha256);
    index.hashes_.reserve(found.size());
    index.blocks_.reserve(found.size());
    for (const auto& one : found) {
        index.hashes_.push_back(one.hash);
        index.blocks_.push_back(one.block);
    }
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
    append(out, &count, 1);
    append(out, hashes_.data(), count);
    append(out, blocks_.data(), count);
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
    if (!text.starts_with(kMagic) || stream::load<std::uint32_t>(raw + 8) != kIndexVersion || text.compare(16, kHashText, sha256) != 0 || count > kMaxBlocks ||
        text.size() != kIndexHead + count * kPerBlock + kChecksum)
        return damaged();
    if (stream::load<std::uint64_t>(raw + text.size() - kChecksum) != quick_hash(as_bytes(text).first(text.size() - kChecksum))) return damaged();
    ImageIndex index(sha256);
    index.hashes_.resize(count);
    index.blocks_.resize(count);
    if (count > 0) {
        std::memcpy(index.hashes_.data(), raw + kIndexHead, count * 8);
        std::memcpy(index.blocks_.data(), raw + kIndexHead + count * 8, count * 4);
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

std::optional<std::uint32_t> ImageIndex::find(std::uint64_t hash) const {
    const auto begin = hashes_.begin() + buckets_[hash >> shift_], end = hashes_.begin() + buckets_[(hash >> shift_) + 1];
    const auto at = std::lower_bound(begin, end, hash);
    if (at == end || *at != hash) return std::nullopt;
    return blocks_[static_cast<std::size_t>(at - hashes_.begin())];
}

}  // namespace blanket::stream
