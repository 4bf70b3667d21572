// SPDX-License-Identifier: GPL-2.0-or-later
// A framed mTLS stream between two sites, for migrations (TCP port 7444). Used by migrate/.
//
//   frame = type u32 LE, length u32 LE, payload (length <= 8 MiB)          version rule: the first frame of a protocol above carries its version
//
// TCP is set up for long fat paths (tcp.cpp): BBR where the kernel has it, a receive buffer of 8 MiB, a send buffer of twice what the congestion window says that is on its
// way, from 1 to 16 MiB, and little behind that.
//
// Threads: one thread may send while another receives; shutdown() may come from any thread. Blocking; a dead network is noticed after about 20 s,
// while a live peer that only reads slowly (closed window) may take as long as it likes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {

struct Frame {
    std::uint32_t type = 0;
    std::vector<std::byte> payload;
    // The payload as JSON (at most 4 MiB); kInvalid otherwise.
    [[nodiscard]] Result<Json> json() const;
};

class Channel final {
public:
    static constexpr std::size_t kMaxPayload = 8u << 20;

    // kUnavailable: no connection; kDenied: the certificate is not of this federation or not `expected_site`'s.
    static Result<std::unique_ptr<Channel>> connect(const TlsContext& tls, const std::string& host, std::uint16_t port, const std::string& expected_site,
                                                    std::chrono::milliseconds deadline);
    // The server's side of the handshake on a connected socket (taken over).
    static Result<std::unique_ptr<Channel>> accept(const TlsContext& tls, UniqueFd socket, std::chrono::milliseconds deadline);
    ~Channel();  // says goodbye to the peer if the socket takes it at once
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    // Returns when the kernel has taken everything. kInvalid: larger than kMaxPayload (nothing sent); kIo: broken; kCancelled: after shutdown().
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload);
    Result<void> send_json(std::uint32_t type, const Json& value);
    // kTimeout: no whole frame yet (call again, nothing is lost); kIo "closed by the peer" also for an end in the middle of a frame;
    // kInvalid: oversize frame (the channel is then broken); kCancelled: after shutdown().
    Result<Frame> receive(std::chrono::milliseconds deadline);

    [[nodiscard]] const std::string& peer() const;      // verified site name
    [[nodiscard]] const std::string& role() const;      // of the peer, by its certificate; empty: it says none
    [[nodiscard]] std::uint64_t bytes_sent() const;      // on the wire, TLS included, TCP/IP headers not
    [[nodiscard]] std::uint64_t bytes_received() const;
    void shutdown();  // both directions; wakes blocked threads here and at the peer
    // From any thread, and they wait for nothing: bytes that the peer's host has not acknowledged; the round trip that TCP measured; what controls its congestion.
    [[nodiscard]] std::uint64_t backlog() const;
    [[nodiscard]] std::int64_t rtt_us() const;
    [[nodiscard]] std::string congestion() const;
    // It shares its path with others, so many in all: what TCP has not sent yet is divided by them. A larger payload than `most` is refused like one of kMaxPayload, from the
    // next receive() on.
    void one_of(unsigned connections, std::size_t most);

    class Wire;  // the socket and the TLS state, shared with the listener that may have to wake it

private:
    friend class ChannelListener;
    explicit Channel(std::shared_ptr<Wire> wire);
    std::shared_ptr<Wire> wire_;
    std::vector<std::byte> head_;  // what has been received of the present frame's header
    Frame partial_;
    std::size_t filled_ = 0, most_ = kMaxPayload;
    bool in_payload_ = false;
};

// Accepts channels of sites; each authenticated one is handled on a thread of its own, at most `limit` at once (more are closed at once). Who has not shown a certificate
// yet does not count: of those there are a few, for a few seconds (knocks.hpp). A witness is refused.
class ChannelListener final {
public:
    using Handler = std::function<void(std::unique_ptr<Channel>)>;
    // address "0.0.0.0" = all; port 0 = any free one, see port().
    static Result<std::unique_ptr<ChannelListener>> create(const TlsContext& tls, const std::string& address, std::uint16_t port, Handler handler,
                                                           std::size_t limit = 16);
    ~ChannelListener();  // stop()
    [[nodiscard]] std::uint16_t port() const;
    void use(const TlsContext& tls);  // for those who come from now on; running channels go on
    void stop();  // shuts the running channels down and joins; not from a handler

private:
    struct State;
    explicit ChannelListener(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace blanket
