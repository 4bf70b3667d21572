// SPDX-License-Identifier: GPL-2.0-or-later
// Multi-pattern search with a two-byte filter, and the small bit of TCP that joins neighbours; see plaintext_search.hpp.
#include "tests/lab/plaintext_search.hpp"

#include <algorithm>

namespace blanket::lab {
namespace {

constexpr std::size_t kMaxStreams = 512;

std::uint32_t byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }
std::uint32_t be16(std::string_view text, std::size_t at) { return byte_at(text, at) << 8 | byte_at(text, at + 1); }
std::uint32_t be32(std::string_view text, std::size_t at) { return be16(text, at) << 16 | be16(text, at + 2); }

struct Segment {
    std::string flow;
    std::uint32_t sequence = 0;
    std::string_view payload;
};

// The TCP segment in an IPv4 ethernet frame; an empty flow when there is none.
Segment tcp_segment(std::string_view frame) {
    constexpr std::size_t kEthernetHead = 14;
    if (frame.size() < kEthernetHead + 40 || be16(frame, 12) != 0x0800) return {};
    const std::string_view ip = frame.substr(kEthernetHead);
    const std::size_t head = (byte_at(ip, 0) & 15) * std::size_t{4}, total = be16(ip, 2);
    if (byte_at(ip, 0) >> 4 != 4 || byte_at(ip, 9) != 6 || head < 20 || total > ip.size() || total < head + 20) return {};
    if ((be16(ip, 6) & 0x3fff) != 0) return {};  // a fragment
    const std::string_view tcp = ip.substr(head, total - head);
    const std::size_t data = (byte_at(tcp, 12) >> 4) * std::size_t{4};
    if (data < 20 || data > tcp.size()) return {};
    Segment segment;
    segment.flow.append(ip.substr(12, 8)).append(tcp.substr(0, 4));
    segment.sequence = be32(tcp, 4);
    segment.payload = tcp.substr(data);
    return segment;
}

}  // namespace

Result<PlaintextSearch> PlaintextSearch::create(const std::vector<std::string>& patterns) {
    if (patterns.size() > 64) return fail(Kind::kInvalid, "{} patterns, at most 64", patterns.size());
    PlaintextSearch search;
    for (const auto& pattern : patterns) {
        if (pattern.size() < 4 || pattern.size() > 256) return fail(Kind::kInvalid, "pattern of {} bytes, want 4..256", pattern.size());
        search.hits_.push_back({pattern, 0, 0});
        search.starts_.set(be16(pattern, 0));
        search.longest_ = std::max(search.longest_, pattern.size());
    }
    return search;
}

void PlaintextSearch::scan(std::string_view text) {
    for (std::size_t at = 0; at + 4 <= text.size(); ++at) {
        if (!starts_.test(be16(text, at))) continue;
        for (auto& hit : hits_) {
            if (!text.substr(at).starts_with(hit.pattern)) continue;
            if (hit.count++ == 0) hit.first_frame = frames_;
        }
    }
}

void PlaintextSearch::follow_stream(std::string_view frame) {
    const Segment segment = tcp_segment(frame);
    if (segment.flow.empty() || segment.payload.empty()) return;
    if (streams_.size() >= kMaxStreams && !streams_.contains(segment.flow)) streams_.clear();
    Stream& stream = streams_[segment.flow];
    const std::size_t keep = longest_ - 1;
    if (stream.next_sequence == segment.sequence && !stream.tail.empty()) {
        std::string seam = stream.tail + std::string(segment.payload.substr(0, keep));
        // Matches inside the head alone were counted with the frame: only those that begin in the tail are new.
        for (auto& hit : hits_) {
            for (auto at = seam.find(hit.pattern); at != std::string::npos && at < stream.tail.size(); at = seam.find(hit.pattern, at + 1)) {
                if (at + hit.pattern.size() > stream.tail.size() && hit.count++ == 0) hit.first_frame = frames_;
            }
        }
        stream.tail.append(segment.payload);
    } else {
        stream.tail = segment.payload;
    }
    if (stream.tail.size() > keep) stream.tail.erase(0, stream.tail.size() - keep);
    stream.next_sequence = segment.sequence + static_cast<std::uint32_t>(segment.payload.size());
}

void PlaintextSearch::add(std::span<const std::byte> frame) {
    ++frames_;
    bytes_ += frame.size();
    if (hits_.empty()) return;
    const std::string_view text(reinterpret_cast<const char*>(frame.data()), frame.size());
    scan(text);
    follow_stream(text);
}

std::uint64_t PlaintextSearch::found() const {
    std::uint64_t sum = 0;
    for (const auto& hit : hits_) sum += hit.count;
    return sum;
}

Json PlaintextSearch::report() const {
    Json patterns = Json::array();
    for (const auto& hit : hits_) patterns.push_back({{"pattern", hit.pattern}, {"count", hit.count}, {"first_frame", hit.first_frame}});
    return {{"frames", frames_}, {"bytes", bytes_}, {"found", found()}, {"patterns", patterns}};
}

}  // namespace blanket::lab
