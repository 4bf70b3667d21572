// SPDX-License-Identifier: GPL-2.0-or-later
// Finds the pages in a libxl migration stream (Xen's docs/specs/libxl-migration-stream, version 2, around libxc-migration-stream, version 3). It never fails:
// from the first thing that it does not understand on, the rest is bytes. It holds back a part of an entry or of a page, and nothing else. Pure, one thread.
//
//   "LibxlFmt" head, LIBXC_CONTEXT, "XENF" head, domain head, record..., END, the rest
//   record = type u32, length u32, body, padding to 8          PAGE_DATA's body = count u32, reserved u32, count entries of 8 bytes, the pages of those that carry one
#pragma once

#include "toolstack/stream/format.hpp"

namespace blanket::stream {

class Splitter final {
public:
    // The stream's pieces in order; all that was fed comes out once.
    class Sink {
    public:
        virtual ~Sink() = default;
        virtual void bytes(std::span<const std::byte> data) = 0;
        virtual void entries(std::span<const std::byte> data) = 0;       // whole ones, of a PAGE_DATA record
        virtual void page(std::uint64_t frame, PageBytes data) = 0;      // in the order of the entries that announce a page
    };

    void feed(std::span<const std::byte> data, Sink& sink);
    void finish(Sink& sink);  // the stream has ended: what was held back
    [[nodiscard]] bool lost() const { return lost_; }  // something was not understood

private:
    enum class State : std::uint8_t { kLibxlHead, kLibxlRecord, kImageHead, kDomainHead, kRecord, kBody, kPageHead, kEntries, kPages, kRest };
    void take_head(std::span<const std::byte>& data, Sink& sink);
    void take_entries(std::span<const std::byte>& data, Sink& sink);
    void take_pages(std::span<const std::byte>& data, Sink& sink);
    void add_entries(std::span<const std::byte> whole, Sink& sink);
    void add_page(PageBytes whole, Sink& sink);
    bool hold(std::span<const std::byte>& data, std::size_t size);  // false: still not `size` bytes
    State after_head();
    State begin_record();
    State lose();

    State state_ = State::kLibxlHead;
    bool lost_ = false;
    std::array<std::byte, 24> head_{};
    std::size_t head_filled_ = 0;
    std::uint64_t record_ = 0, left_ = 0;  // length of the record's body; what is left of a body that is passed on
    std::size_t count_ = 0, entries_left_ = 0, next_page_ = 0;
    std::vector<std::uint64_t> frames_;    // of this record's pages
    std::array<std::byte, kPage> held_{};
    std::size_t held_filled_ = 0;
};

}  // namespace blanket::stream
