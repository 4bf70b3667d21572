// SPDX-License-Identifier: GPL-2.0-or-later
// Framing over a Wire; see channel.hpp for the format.
#include "toolstack/peer/channel.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "toolstack/peer/wire.hpp"

namespace blanket {
namespace {

constexpr std::size_t kHeader = 8;
constexpr std::size_t kRecord = 16 * 1024;  // TLS record: header and the payload's beginning go into one

void put_u32(std::byte* out, std::uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint32_t get_u32(const std::byte* in) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(in[i]) << (8 * i);
    return value;
}

}  // namespace

Result<Json> Frame::json() const {
    return parse_json({reinterpret_cast<const char*>(payload.data()), payload.size()});
}

Channel::Channel(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
Channel::~Channel() = default;

Result<std::unique_ptr<Channel>> Channel::connect(const TlsContext& tls, const std::string& host, std::uint16_t port,
                                                  const std::string& expected_site, std::chrono::milliseconds deadline) {
    const auto until = Wire::Clock::now() + deadline;
    BLANKET_TRY(UniqueFd socket, connect_tcp(host, port, deadline));
    auto wire = Wire::handshake(tls, std::move(socket), false, until);
    if (!wire) return std::unexpected(std::move(wire).error().context(std::format("site '{}' at {}:{}", expected_site, host, port)));
    if ((*wire)->peer() != expected_site)
        return fail(Kind::kDenied, "{}:{} is site '{}', not '{}'", host, port, (*wire)->peer(), expected_site);
    return std::unique_ptr<Channel>(new Channel(std::move(*wire)));
}

Result<std::unique_ptr<Channel>> Channel::accept(const TlsContext& tls, UniqueFd socket, std::chrono::milliseconds deadline) {
    BLANKET_TRY(auto wire, Wire::handshake(tls, std::move(socket), true, Wire::Clock::now() + deadline));
    return std::unique_ptr<Channel>(new Channel(std::move(wire)));
}

Result<void> Channel::send(std::uint32_t type, std::span<const std::byte> payload) {
    if (payload.size() > kMaxPayload) return fail(Kind::kInvalid, "a frame of {} bytes is larger than {}", payload.size(), kMaxPayload);
    std::array<std::byte, kRecord> first;
    put_u32(first.data(), type);
    put_u32(first.data() + 4, static_cast<std::uint32_t>(payload.size()));
    const std::size_t beginning = std::min(payload.size(), kRecord - kHeader);
    if (beginning > 0) std::memcpy(first.data() + kHeader, payload.data(), beginning);
    BLANKET_CHECK(wire_->write(std::span(first).first(kHeader + beginning)));
    return wire_->write(payload.subspan(beginning));
}

Result<void> Channel::send_json(std::uint32_t type, const Json& value) {
    const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    return send(type, as_bytes(text));
}

Result<Frame> Channel::receive(std::chrono::milliseconds deadline) {
    const auto until = Wire::Clock::now() + deadline;
    while (!in_payload_) {
        std::array<std::byte, kHeader> rest{};
        BLANKET_TRY(const std::size_t got, wire_->read(std::span(rest).first(kHeader - head_.size()), until));
        head_.insert(head_.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(got));
        if (head_.size() < kHeader) continue;
        const std::uint32_t length = get_u32(head_.data() + 4);
        if (length > most_) {
            shutdown();
            return fail(Kind::kInvalid, "site '{}' announced a frame of {} bytes, larger than {}", peer(), length, most_);
        }
        partial_ = Frame{get_u32(head_.data()), {}};
        partial_.payload.resize(length);
        filled_ = 0;
        in_payload_ = true;
        head_.clear();
    }
    while (filled_ < partial_.payload.size()) {
        BLANKET_TRY(const std::size_t got, wire_->read(std::span(partial_.payload).subspan(filled_), until));
        filled_ += got;
    }
    in_payload_ = false;
    return std::move(partial_);
}

const std::string& Channel::peer() const { return wire_->peer(); }
const std::string& Channel::role() const { return wire_->role(); }
std::uint64_t Channel::bytes_sent() const { return wire_->sent(); }
std::uint64_t Channel::bytes_received() const { return wire_->received(); }
void Channel::shutdown() { wire_->shutdown(); }
std::uint64_t Channel::backlog() const { return wire_->backlog(); }
std::int64_t Channel::rtt_us() const { return wire_->rtt_us(); }
std::string Channel::congestion() const { return wire_->congestion(); }

void Channel::one_of(unsigned connections, std::size_t most) {
    most_ = std::min(most, kMaxPayload);
    wire_->one_of(connections);
}

}  // namespace blanket
