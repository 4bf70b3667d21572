// SPDX-License-Identifier: GPL-2.0-or-later
// See protocol.hpp.
#include "toolstack/migrate/protocol.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "toolstack/stream/known_pages.hpp"

namespace blanket::migrate {
namespace {

constexpr std::array<std::string_view, 25> kNames{
    "?", "hello", "prepare", "ready", "begin", "image", "image-end", "block", "round-end", "ack", "mirror",
    "memory-begin", "memory", "memory-end", "drained", "committed", "resumed", "error", "abort", "fetch-image", "trace", "ask-pages", "pages",
    "resume-link", "link-resumed"};

template <typename T>
void put(std::vector<std::byte>& out, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

template <typename T>
T take(std::span<const std::byte>& in) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | static_cast<T>(std::to_integer<std::uint8_t>(in[i])) << (8 * i));
    in = in.subspan(sizeof(T));
    return value;
}

constexpr std::size_t kBlockHeader = 4 + 8 + 4 + 1;
constexpr std::uint64_t kPagesPerMib = 256, kLeastCache = 8 * kPagesPerMib, kMostCache = 128 * kPagesPerMib;

}  // namespace

std::string_view to_string(Type type) {
    const auto index = static_cast<std::size_t>(type);
    return index < kNames.size() ? kNames[index] : kNames[0];
}

std::vector<std::byte> pack_block(const Block& block) {
    std::vector<std::byte> out;
    out.reserve(kBlockHeader + block.data.size());
    put(out, block.volume);
    put(out, block.offset);
    put(out, block.length);
    put(out, static_cast<std::uint8_t>(block.coding));
    out.resize(kBlockHeader + block.data.size());
    std::ranges::copy(block.data, out.begin() + kBlockHeader);
    return out;
}

Result<Block> parse_block(std::span<const std::byte> payload) {
    if (payload.size() < kBlockHeader) return fail(Kind::kInvalid, "a block message of {} bytes is too short", payload.size());
    Block block;
    block.volume = take<std::uint32_t>(payload);
    block.offset = take<std::uint64_t>(payload);
    block.length = take<std::uint32_t>(payload);
    BLANKET_TRY(block.coding, stream::parse_coding(take<std::uint8_t>(payload)));
    if (block.length == 0 || (block.length > kMaxBlock && block.coding != Coding::kZero))
        return fail(Kind::kInvalid, "a block of {} bytes is outside of 1 to {}", block.length, kMaxBlock);
    block.data.assign(payload.begin(), payload.end());
    return block;
}

std::uint64_t cache_pages_for(std::uint64_t memory_mib) {
    const std::uint64_t all = std::min<std::uint64_t>(memory_mib, 1u << 20) * kPagesPerMib;
    return std::min(std::clamp(all / 10, kLeastCache, kMostCache), all);
}

std::size_t offered_pages_for(std::uint64_t memory_mib) { return std::min<std::uint64_t>(std::min<std::uint64_t>(memory_mib, 1u << 20) * kPagesPerMib, stream::kMaxOffered); }

void StreamDigest::mix(std::uint64_t word) {  // one round of a multiply-rotate mixer; order matters, so swapped words differ
    state_ ^= word * 0x9e3779b97f4a7c15u;
    state_ = (state_ << 31 | state_ >> 33) * 0xbf58476d1ce4e5b9u;
}

void StreamDigest::add(std::span<const std::byte> data) {
    bytes_ += data.size();
    while (!data.empty()) {
        if (tail_bits_ == 0 && data.size() >= 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, data.data(), 8);
            mix(word);
            data = data.subspan(8);
            continue;
        }
        tail_ |= static_cast<std::uint64_t>(std::to_integer<std::uint8_t>(data[0])) << tail_bits_;
        tail_bits_ += 8;
        data = data.subspan(1);
        if (tail_bits_ == 64) {
            mix(tail_);
            tail_ = 0;
            tail_bits_ = 0;
        }
    }
}

std::string StreamDigest::value() const {
    StreamDigest copy = *this;
    copy.mix(copy.tail_);
    copy.mix(bytes_);
    return std::format("{:016x}", copy.state_);
}

Result<void> send_json(PeerLink& link, Type type, const Json& value) {
    const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);  // an error may quote what a peer sent
    return link.send(static_cast<std::uint32_t>(type), as_bytes(text));
}

Result<void> send_error(PeerLink& link, const Error& error) { return send_json(link, Type::kError, to_json(error)); }

Result<Json> payload_json(const Message& message) {
    return parse_json(std::string_view(reinterpret_cast<const char*>(message.payload.data()), message.payload.size()), 1u << 20);
}

Result<Message> expect_message(PeerLink& link, Type type, std::chrono::milliseconds deadline) {
    BLANKET_TRY(Message message, link.receive(deadline));
    const auto got = static_cast<Type>(message.type);
    if (got == Type::kError) {
        BLANKET_TRY(const Json body, payload_json(message));
        return std::unexpected(error_from_json(body));
    }
    if (got == Type::kAbort) return fail(Kind::kCancelled, "site '{}' gave up the migration", link.peer());
    if (got != type) return fail(Kind::kInvalid, "site '{}' sent '{}' where '{}' was due", link.peer(), to_string(got), to_string(type));
    return message;
}

Result<Json> expect(PeerLink& link, Type type, std::chrono::milliseconds deadline) {
    BLANKET_TRY(const Message message, expect_message(link, type, deadline));
    return payload_json(message);
}

}  // namespace blanket::migrate
