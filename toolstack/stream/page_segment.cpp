// SPDX-License-Identifier: GPL-2.0-or-later
// See page_segment.hpp.
#include "toolstack/stream/page_segment.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>

#include "toolstack/stream/quick_hash.hpp"

namespace blanket::stream {
namespace {

constexpr std::string_view kSegmentMagic = "BLKTPAGE";
constexpr std::uint32_t kSegmentVersion = 1;  // also of quick_hash
constexpr std::size_t kNumberAt = 16, kTagAt = 24, kSumAt = 40;
constexpr std::size_t kEntrySum = 24;  // where an entry's checksum is

template <typename T>
void store_number(std::byte* out, T value) {
    std::memcpy(out, &value, sizeof value);
}

}  // namespace

Result<PageSegment> PageSegment::create(const std::string& path, std::uint64_t number, const Tag& tag) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail_errno("open", path);
    std::array<std::byte, kHeadBytes> head{};
    std::ranges::copy(as_bytes(kSegmentMagic), head.begin());
    store_number(head.data() + 8, kSegmentVersion);
    store_number(head.data() + kNumberAt, number);
    std::ranges::copy(tag, head.begin() + kTagAt);
    store_number(head.data() + kSumAt, quick_hash(std::span(head).first(kSumAt)));
    BLANKET_CHECK(pwrite_all(fd.get(), head, 0));
    return PageSegment(std::move(fd), number, tag);
}

Result<PageSegment> PageSegment::open(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return fail_errno("open", path);
    struct stat facts {};
    if (::fstat(fd.get(), &facts) != 0) return fail_errno("fstat", path);
    std::array<std::byte, kHeadBytes> head;
    if (!S_ISREG(facts.st_mode) || !pread_all(fd.get(), head, 0) || !std::ranges::equal(std::span(head).first(8), as_bytes(kSegmentMagic)) ||
        load<std::uint32_t>(head.data() + 8) != kSegmentVersion || load<std::uint64_t>(head.data() + kSumAt) != quick_hash(std::span(head).first(kSumAt)))
        return fail(Kind::kInvalid, "{} is no part of a content store of this version, or damaged", path);
    Tag tag;
    std::copy_n(head.begin() + kTagAt, tag.size(), tag.begin());
    return PageSegment(std::move(fd), load<std::uint64_t>(head.data() + kNumberAt), tag);
}

std::uint64_t PageSegment::checksum(std::uint32_t slot, const std::byte* entry) const {
    std::array<std::byte, kEntrySum + 16> all{};
    std::copy_n(entry, kEntrySum, all.begin());
    store_number(all.data() + kEntrySum, number_);
    store_number(all.data() + kEntrySum + 8, std::uint64_t{slot});
    return quick_hash(all);
}

Result<std::vector<PageSegment::Found>> PageSegment::entries() const {
    struct stat facts {};
    if (::fstat(fd_.get(), &facts) != 0) return fail_errno("fstat", "a part of the content store");
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    std::vector<Found> found;
    if (size < offset(1)) return found;
    const std::size_t slots = std::min<std::uint64_t>((size - kPagesAt) / kPage, kSlots);
    std::vector<std::byte> raw(slots * kEntry);
    BLANKET_CHECK(pread_all(fd_.get(), raw, kHeadBytes));
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
        const std::byte* const at = raw.data() + slot * kEntry;
        if (load<std::uint64_t>(at + kEntrySum) != checksum(slot, at)) continue;
        Found one{slot, {}};
        std::copy_n(at, one.entry.identity.size(), one.entry.identity.begin());
        one.entry.group = load<std::uint64_t>(at + 16);
        found.push_back(one);
    }
    return found;
}

Result<void> PageSegment::write(std::uint32_t first, std::span<const PageEntry> entries, std::span<const std::byte> pages) const {
    if (first + entries.size() > kSlots || pages.size() != entries.size() * kPage) return fail(Kind::kInternal, "{} pages at slot {} do not fit", entries.size(), first);
    std::vector<std::byte> raw(entries.size() * kEntry);
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
        std::byte* const at = raw.data() + i * kEntry;
        std::ranges::copy(entries[i].identity, at);
        store_number(at + 16, entries[i].group);
        store_number(at + kEntrySum, checksum(first + i, at));
    }
    BLANKET_CHECK(pwrite_all(fd_.get(), pages, offset(first)));
    return pwrite_all(fd_.get(), raw, kHeadBytes + first * kEntry);
}

}  // namespace blanket::stream
