// SPDX-License-Identifier: GPL-2.0-or-later
// See wire.hpp.
#include "toolstack/peer/wire.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace blanket {
namespace {

constexpr auto kSlice = std::chrono::milliseconds(1000);   // how often a waiting thread looks whether the peer is still there
constexpr std::uint32_t kSilentMs = 15'000;                // without any acknowledgement, with data or probes unanswered
constexpr int kSilentChecks = 3;                           // such slices in a row
constexpr auto kFit = std::chrono::milliseconds(500);      // how often the send buffer follows the path

std::unexpected<Error> closed() { return fail(Kind::kIo, "closed by the peer"); }

}  // namespace

Result<std::shared_ptr<Channel::Wire>> Channel::Wire::handshake(const TlsContext& tls, UniqueFd socket, bool server, Clock::time_point until) {
    tune_stream(socket.get());
    SslPtr ssl(SSL_new(tls.raw()));
    if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1) return fail(Kind::kInternal, "no TLS connection: {}", tls_errors());
    if (server) SSL_set_accept_state(ssl.get());
    else SSL_set_connect_state(ssl.get());
    const std::shared_ptr<Wire> wire(new Wire(tls, std::move(socket), std::move(ssl)));
    for (;;) {
        ERR_clear_error();
        const int rc = SSL_do_handshake(wire->ssl_.get());
        if (rc == 1) break;
        const auto want = wire->classify(rc);
        if (!want) return fail(Kind::kDenied, "the TLS handshake failed: {}", want.error().what);
        if (auto ready = wire->wait(*want, until); !ready) return std::unexpected(std::move(ready).error().context("TLS handshake"));
    }
    const Subject subject = peer_subject(wire->ssl_.get());
    wire->peer_ = subject.name;
    wire->role_ = subject.role;
    if (wire->peer_.empty()) return fail(Kind::kDenied, "the peer's certificate has no name");
    if (!wire->tls_.enrol(wire->peer_, wire)) return fail(Kind::kDenied, "site '{}' is revoked", wire->peer_);
    return wire;
}

Channel::Wire::~Wire() {
    if (stopped_) return;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // close_notify, if the socket takes it now
    ERR_clear_error();
    ::shutdown(socket_.get(), SHUT_WR);
}

Result<Channel::Wire::Want> Channel::Wire::classify(int rc) {
    const int code = errno;
    switch (SSL_get_error(ssl_.get(), rc)) {
        case SSL_ERROR_WANT_READ: return Want::kRead;
        case SSL_ERROR_WANT_WRITE: return Want::kWrite;
        case SSL_ERROR_ZERO_RETURN: return closed();
        case SSL_ERROR_SYSCALL:
            if (stopped_) return fail(Kind::kCancelled, "the channel was shut down");
            if (code == 0 || code == EPIPE || code == ECONNRESET) return closed();
            errno = code;
            return fail_errno("TLS", "channel");
        default: break;
    }
    if (stopped_) return fail(Kind::kCancelled, "the channel was shut down");
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return closed();
    }
    return fail(Kind::kIo, "{}", tls_errors());
}

// A live peer answers window probes and acknowledges data, however slowly it reads; TCP_USER_TIMEOUT would end such a connection too.
bool Channel::Wire::peer_is_dead() {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    const bool unanswered = info.tcpi_probes > 0 || (info.tcpi_unacked > 0 && info.tcpi_retransmits > 0);
    if (!unanswered || info.tcpi_last_ack_recv < kSilentMs) {
        silent_checks_ = 0;
        return false;
    }
    return ++silent_checks_ >= kSilentChecks;
}

Result<void> Channel::Wire::wait(Want want, std::optional<Clock::time_point> until) {
    for (;;) {
        if (stopped_) return fail(Kind::kCancelled, "the channel was shut down");
        auto slice = kSlice;
        if (until) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - Clock::now());
            if (left.count() <= 0) return fail(Kind::kTimeout, "nothing came in time");
            slice = std::min(slice, left);
        }
        const short events = want == Want::kRead ? POLLIN : POLLOUT;
        pollfd poll{socket_.get(), events, 0};
        const int ready = ::poll(&poll, 1, static_cast<int>(slice.count()));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return fail_errno("poll", "channel");
        if (ready == 0 && slice == kSlice && peer_is_dead())
            return fail_hint(Kind::kIo, std::format("site '{}' has not acknowledged anything for {} s", peer_, kSilentMs / 1000),
                             "check the network between the sites");
    }
}

Result<void> Channel::Wire::write(std::span<const std::byte> data) {
    while (!data.empty()) {
        std::unique_lock lock(mutex_);
        if (stopped_) return fail(Kind::kCancelled, "the channel was shut down");
        ERR_clear_error();
        errno = 0;
        std::size_t done = 0;
        const int rc = SSL_write_ex(ssl_.get(), data.data(), data.size(), &done);
        if (rc == 1) {
            data = data.subspan(done);
            continue;
        }
        BLANKET_TRY(const Want want, classify(rc));
        lock.unlock();
        if (const auto now = Clock::now(); now - fitted_ >= kFit) {  // the buffer is full
            fitted_ = now;
            fit_send_buffer(socket_.get());
        }
        BLANKET_CHECK(wait(want, std::nullopt));
    }
    return {};
}

Result<std::size_t> Channel::Wire::read(std::span<std::byte> out, Clock::time_point until) {
    for (;;) {
        std::unique_lock lock(mutex_);
        if (stopped_) return fail(Kind::kCancelled, "the channel was shut down");
        ERR_clear_error();
        errno = 0;
        std::size_t got = 0;
        const int rc = SSL_read_ex(ssl_.get(), out.data(), out.size(), &got);
        if (rc == 1) return got;
        BLANKET_TRY(const Want want, classify(rc));
        lock.unlock();
        BLANKET_CHECK(wait(want, until));
    }
}

void Channel::Wire::shutdown() {
    if (stopped_.exchange(true)) return;
    ::shutdown(socket_.get(), SHUT_RDWR);
}

std::uint64_t Channel::Wire::sent() const {
    const std::scoped_lock lock(mutex_);
    return BIO_number_written(SSL_get_wbio(ssl_.get()));
}

std::uint64_t Channel::Wire::received() const {
    const std::scoped_lock lock(mutex_);
    return BIO_number_read(SSL_get_rbio(ssl_.get()));
}

std::uint64_t Channel::Wire::backlog() const {
    int bytes = 0;
    return ::ioctl(socket_.get(), SIOCOUTQ, &bytes) == 0 ? static_cast<std::uint64_t>(std::max(bytes, 0)) : 0;
}

std::int64_t Channel::Wire::rtt_us() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    return ::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_rtt : 0;
}

std::string Channel::Wire::congestion() const {
    std::array<char, 32> name{};  // the kernel's are 15 at most
    socklen_t size = name.size() - 1;
    return ::getsockopt(socket_.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) == 0 ? name.data() : "";
}

}  // namespace blanket
