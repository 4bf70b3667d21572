// SPDX-License-Identifier: GPL-2.0-or-later
// One file of the content store: up to kSlots pages of one tenant, in the order in which they came. Nothing is ever made durable and nothing needs to be: a page is
// what its bytes are, and who refers to it proves to have the same (PageProof). So a write that was torn, a bit that fell over or a file that was cut is a page
// that nobody refers to. The checksums only spare the look at it.
//
//   file  = head of 4096 bytes, kSlots entries of 32 bytes, kSlots pages; as long as what was written to it
//   head  = "BLKTPAGE", version u32, reserved u32, number u64, tag (16 bytes: whose pages these are), checksum u64 of what is before it, zeros      mode 0600
//   entry = identity (the first 16 bytes of the keyed BLAKE2b), group u64 (a VM), checksum u64 of these, the slot and the file's number
//   Version rule: a file of another version is removed.
#pragma once

#include <string>

#include "toolstack/base/fd.hpp"
#include "toolstack/stream/block_identity.hpp"
#include "toolstack/stream/format.hpp"

namespace blanket::stream {

struct PageEntry {
    std::array<std::byte, 16> identity{};
    std::uint64_t group = 0;
};

class PageSegment final {
public:
    static constexpr std::size_t kSlots = 4096;
    static constexpr std::size_t kEntry = 32, kHeadBytes = kPage, kPagesAt = kHeadBytes + kSlots * kEntry;
    using Tag = std::array<std::byte, 16>;
    struct Found {
        std::uint32_t slot = 0;
        PageEntry entry;
    };

    static Result<PageSegment> create(const std::string& path, std::uint64_t number, const Tag& tag);
    // kInvalid: it is none, or damaged at its head.
    static Result<PageSegment> open(const std::string& path);

    [[nodiscard]] std::uint64_t number() const { return number_; }
    [[nodiscard]] const Tag& tag() const { return tag_; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    static std::uint64_t offset(std::uint32_t slot) { return kPagesAt + std::uint64_t{slot} * kPage; }

    // Those whose entry is whole, by slot. A file that was cut has fewer.
    [[nodiscard]] Result<std::vector<Found>> entries() const;
    // From slot `first` on; `pages` are as many whole pages as there are entries. The pages first: an entry without its page says what is not there.
    Result<void> write(std::uint32_t first, std::span<const PageEntry> entries, std::span<const std::byte> pages) const;

private:
    PageSegment(UniqueFd fd, std::uint64_t number, const Tag& tag) : fd_(std::move(fd)), number_(number), tag_(tag) {}
    [[nodiscard]] std::uint64_t checksum(std::uint32_t slot, const std::byte* entry) const;
    UniqueFd fd_;
    std::uint64_t number_;
    Tag tag_;
};

}  // namespace blanket::stream
