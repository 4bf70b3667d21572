// SPDX-License-Identifier: GPL-2.0-or-later
// The socket and TLS state below a Channel. OpenSSL's SSL is not for two threads, so it is non-blocking and under a mutex that is held for one record at a
// time; waiting happens in poll() outside of it. Only channel.cpp and channel_listener.cpp use it.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>

#include "toolstack/base/fd.hpp"
#include "toolstack/peer/channel.hpp"
#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket {

// Connects without blocking longer than the deadline. Only numeric addresses and names of /etc/hosts or DNS; the first that answers.
Result<UniqueFd> connect_tcp(const std::string& host, std::uint16_t port, std::chrono::milliseconds deadline);
Result<UniqueFd> listen_tcp(const std::string& address, std::uint16_t port);
// No delay, keepalive, large buffers, BBR where the kernel has it, a bounded unsent backlog; non-blocking. What a kernel refuses is left as it is.
void tune_stream(int fd);
void tune_share(int fd, unsigned connections);  // of one path: the unsent backlog is divided
void fit_send_buffer(int fd);                   // to what the path takes, as far as TCP knows by now

class Channel::Wire final : public Cuttable {
public:
    using Clock = std::chrono::steady_clock;

    static Result<std::shared_ptr<Wire>> handshake(const TlsContext& tls, UniqueFd socket, bool server, Clock::time_point until);
    ~Wire() override;
    void cut() override { shutdown(); }

    Result<void> write(std::span<const std::byte> data);
    // At least one byte, or kTimeout.
    Result<std::size_t> read(std::span<std::byte> out, Clock::time_point until);
    void shutdown();
    [[nodiscard]] std::uint64_t sent() const;
    [[nodiscard]] std::uint64_t received() const;
    [[nodiscard]] std::uint64_t backlog() const;
    [[nodiscard]] std::int64_t rtt_us() const;
    [[nodiscard]] std::string congestion() const;
    void one_of(unsigned connections) { tune_share(socket_.get(), connections); }
    [[nodiscard]] const std::string& peer() const { return peer_; }
    [[nodiscard]] const std::string& role() const { return role_; }

private:
    Wire(TlsContext tls, UniqueFd socket, SslPtr ssl) : tls_(std::move(tls)), socket_(std::move(socket)), ssl_(std::move(ssl)) {}
    enum class Want : std::uint8_t { kRead, kWrite };
    // Waits for the socket; kTimeout at `until`, kIo when the peer is silent although it should acknowledge, kCancelled after shutdown().
    Result<void> wait(Want want, std::optional<Clock::time_point> until);
    Result<Want> classify(int rc);  // under mutex_: what a failed SSL call waits for, or why it failed
    [[nodiscard]] bool peer_is_dead();

    TlsContext tls_;
    UniqueFd socket_;
    SslPtr ssl_;
    std::string peer_, role_;
    mutable std::mutex mutex_;  // guards ssl_
    std::atomic<bool> stopped_ = false;
    std::atomic<int> silent_checks_ = 0;
    Clock::time_point fitted_{};  // the writing thread's
};

}  // namespace blanket
