// SPDX-License-Identifier: GPL-2.0-or-later
// See splitter.hpp.
#include "toolstack/stream/splitter.hpp"

#include <algorithm>

namespace blanket::stream {
namespace {

constexpr std::uint64_t kLibxlIdent = 0x4c69'6278'6c46'6d74u;  // "LibxlFmt"; heads are big-endian, records little-endian
constexpr std::uint32_t kLibxlVersion = 2, kLibxcContext = 1;
constexpr std::uint32_t kImageIdent = 0x5845'4e46u, kImageVersion = 3;  // "XENF"
constexpr std::uint32_t kEndRecord = 0, kPageData = 1;
constexpr std::uint32_t kMaxRecord = 128u << 20;  // libxc's own limit
constexpr std::uint16_t kPageShift = 12;

template <typename T>
T big(const std::byte* from) {
    return std::byteswap(load<T>(from));
}

}  // namespace

Splitter::State Splitter::lose() {
    lost_ = true;
    return State::kRest;
}

void Splitter::feed(std::span<const std::byte> data, Sink& sink) {
    while (!data.empty()) {
        switch (state_) {
            case State::kRest:
                sink.bytes(data);
                return;
            case State::kBody: {
                const auto part = data.first(std::min<std::uint64_t>(left_, data.size()));
                sink.bytes(part);
                data = data.subspan(part.size());
                left_ -= part.size();
                if (left_ == 0) state_ = State::kRecord;
                break;
            }
            case State::kEntries: take_entries(data, sink); break;
            case State::kPages: take_pages(data, sink); break;
            default: take_head(data, sink);
        }
    }
}

void Splitter::finish(Sink& sink) {
    if (held_filled_ > 0) sink.bytes(std::span(held_).first(held_filled_));
    held_filled_ = 0;
    state_ = State::kRest;
}

void Splitter::take_head(std::span<const std::byte>& data, Sink& sink) {
    const std::size_t size = state_ == State::kImageHead ? 24 : state_ == State::kLibxlHead || state_ == State::kDomainHead ? 16 : 8;
    const auto part = data.first(std::min(size - head_filled_, data.size()));
    std::ranges::copy(part, head_.begin() + static_cast<std::ptrdiff_t>(head_filled_));
    sink.bytes(part);
    data = data.subspan(part.size());
    head_filled_ += part.size();
    if (head_filled_ < size) return;
    head_filled_ = 0;
    state_ = after_head();
}

Splitter::State Splitter::after_head() {
    const std::byte* const head = head_.data();
    switch (state_) {
        case State::kLibxlHead:
            return big<std::uint64_t>(head) == kLibxlIdent && big<std::uint32_t>(head + 8) == kLibxlVersion && load<std::uint32_t>(head + 12) == 0 ? State::kLibxlRecord : lose();
        case State::kLibxlRecord: return load<std::uint32_t>(head) == kLibxcContext && load<std::uint32_t>(head + 4) == 0 ? State::kImageHead : lose();
        case State::kImageHead:
            return load<std::uint64_t>(head) == ~std::uint64_t{0} && big<std::uint32_t>(head + 8) == kImageIdent && big<std::uint32_t>(head + 12) == kImageVersion &&
                           load<std::uint16_t>(head + 16) == 0
                       ? State::kDomainHead
                       : lose();
        case State::kDomainHead: return load<std::uint16_t>(head + 4) == kPageShift ? State::kRecord : lose();
        case State::kRecord: return begin_record();
        default: break;
    }
    count_ = entries_left_ = load<std::uint32_t>(head);  // PAGE_DATA
    if (count_ == 0 || count_ > kMaxEntries || 8 + 8 * count_ > record_) return lose();
    frames_.clear();
    return State::kEntries;
}

Splitter::State Splitter::begin_record() {
    const auto type = load<std::uint32_t>(head_.data());
    record_ = load<std::uint32_t>(head_.data() + 4);
    if (record_ > kMaxRecord) return lose();
    if (type == kPageData) return record_ < 8 ? lose() : State::kPageHead;
    if (type == kEndRecord) return State::kRest;  // libxl's own end follows
    left_ = (record_ + 7) / 8 * 8;
    return left_ == 0 ? State::kRecord : State::kBody;
}

bool Splitter::hold(std::span<const std::byte>& data, std::size_t size) {
    const auto part = data.first(std::min(size - held_filled_, data.size()));
    std::ranges::copy(part, held_.begin() + static_cast<std::ptrdiff_t>(held_filled_));
    data = data.subspan(part.size());
    held_filled_ += part.size();
    if (held_filled_ < size) return false;
    held_filled_ = 0;
    return true;
}

void Splitter::add_entries(std::span<const std::byte> whole, Sink& sink) {
    for (std::size_t at = 0; at < whole.size(); at += 8)
        if (const auto entry = load<std::uint64_t>(whole.data() + at); announces_page(entry)) frames_.push_back(frame_of(entry));
    sink.entries(whole);
    entries_left_ -= whole.size() / 8;
    if (entries_left_ > 0) return;
    next_page_ = 0;
    if (record_ != 8 + 8 * count_ + kPage * frames_.size()) state_ = lose();
    else state_ = frames_.empty() ? State::kRecord : State::kPages;
}

void Splitter::take_entries(std::span<const std::byte>& data, Sink& sink) {
    if (held_filled_ > 0 || data.size() < 8) {
        if (hold(data, 8)) add_entries(std::span(held_).first(8), sink);
        return;
    }
    const auto whole = data.first(std::min(entries_left_, data.size() / 8) * 8);
    data = data.subspan(whole.size());
    add_entries(whole, sink);
}

void Splitter::add_page(PageBytes whole, Sink& sink) {
    sink.page(frames_[next_page_], whole);
    if (++next_page_ == frames_.size()) state_ = State::kRecord;
}

void Splitter::take_pages(std::span<const std::byte>& data, Sink& sink) {
    if (held_filled_ > 0 || data.size() < kPage) {
        if (hold(data, kPage)) add_page(held_, sink);
        return;
    }
    const auto whole = data.first<kPage>();
    data = data.subspan(kPage);
    add_page(whole, sink);
}

}  // namespace blanket::stream
