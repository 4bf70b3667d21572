// SPDX-License-Identifier: GPL-2.0-or-later
// See rest_tls.hpp.
#include "toolstack/peer/rest_tls.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <tuple>

#include "toolstack/base/log.hpp"
#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket {
namespace {

using Clock = std::chrono::steady_clock;
// For the whole request, after the handshake: 4 MiB of a site over a slow path, a newcomer's few KiB.
constexpr auto kOfMember = std::chrono::seconds(60), kOfStranger = std::chrono::seconds(10);
constexpr auto kWrite = std::chrono::seconds(10);  // without any progress

// The place of the connection that this thread serves, among those that have not shown who they are.
thread_local std::unique_ptr<Knocks::Ticket> place;

std::pair<std::string, int> end_of(int socket, int (*get)(int, sockaddr*, socklen_t*)) {
    sockaddr_in where{};
    socklen_t size = sizeof where;
    std::array<char, INET_ADDRSTRLEN> text{};
    if (get(socket, reinterpret_cast<sockaddr*>(&where), &size) != 0 || where.sin_family != AF_INET) return {};
    ::inet_ntop(AF_INET, &where.sin_addr, text.data(), text.size());
    return {text.data(), ntohs(where.sin_port)};
}

class TlsStream final : public httplib::Stream {
public:
    TlsStream(SSL* ssl, int socket) : ssl_(ssl), socket_(socket) {}

    void read_until(Clock::time_point until) { until_ = until; }
    bool handshake() {
        for (;;) {
            ERR_clear_error();
            const int rc = SSL_do_handshake(ssl_);
            if (rc == 1) return true;
            if (!wait(rc, until_)) return false;
        }
    }

    bool is_readable() const override { return SSL_pending(ssl_) > 0 || ready(POLLIN, until_); }
    bool is_writable() const override { return ready(POLLOUT, Clock::now() + kWrite); }
    ssize_t read(char* out, std::size_t size) override {
        while (Clock::now() < until_) {
            ERR_clear_error();
            std::size_t got = 0;
            const int rc = SSL_read_ex(ssl_, out, size, &got);
            if (rc == 1) return static_cast<ssize_t>(got);
            if (!wait(rc, until_)) return -1;
        }
        return -1;
    }
    ssize_t write(const char* data, std::size_t size) override {
        for (;;) {
            ERR_clear_error();
            std::size_t done = 0;
            const int rc = SSL_write_ex(ssl_, data, size, &done);
            if (rc == 1) return static_cast<ssize_t>(done);
            if (!wait(rc, Clock::now() + kWrite)) return -1;
        }
    }
    void get_remote_ip_and_port(std::string& ip, int& port) const override { std::tie(ip, port) = end_of(socket_, ::getpeername); }
    void get_local_ip_and_port(std::string& ip, int& port) const override { std::tie(ip, port) = end_of(socket_, ::getsockname); }
    socket_t socket() const override { return socket_; }

private:
    bool ready(short events, Clock::time_point until) const {
        for (;;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
            if (left.count() <= 0) return false;
            pollfd poll{socket_, events, 0};
            const int some = ::poll(&poll, 1, static_cast<int>(left.count()));
            if (some > 0) return true;
            if (some < 0 && errno != EINTR) return false;
        }
    }
    // After a call that did not succeed: whether it is worth another try.
    bool wait(int rc, Clock::time_point until) const {
        const int error = SSL_get_error(ssl_, rc);
        if (error == SSL_ERROR_WANT_READ) return ready(POLLIN, until);
        if (error == SSL_ERROR_WANT_WRITE) return ready(POLLOUT, until);
        return false;
    }

    SSL* ssl_;
    int socket_;
    Clock::time_point until_ = Clock::now() + Knocks::kHandshake;
};

}  // namespace

namespace {

Result<std::shared_ptr<SSL_CTX>> server_context(const TlsContext& tls) {
    std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), [](SSL_CTX* one) { SSL_CTX_free(one); });
    if (!context) return fail(Kind::kInternal, "no TLS server: {}", tls_errors());
    BLANKET_CHECK(tls.apply(context.get(), false));
    return context;
}

}  // namespace

Result<std::unique_ptr<RestTlsServer>> RestTlsServer::create(const TlsContext& tls) {
    BLANKET_TRY(auto context, server_context(tls));
    return std::unique_ptr<RestTlsServer>(new RestTlsServer(std::move(context)));
}

Result<void> RestTlsServer::use(const TlsContext& tls) {
    BLANKET_TRY(auto context, server_context(tls));
    const std::scoped_lock lock(mutex_);
    context_ = std::move(context);
    return {};
}

void RestTlsServer::answering() { place.reset(); }

bool RestTlsServer::process_and_close_socket(socket_t socket) {
    const UniqueFd fd(socket);
    place = knocks_.enter(socket);
    struct Leave {
        ~Leave() { place.reset(); }
    };
    const Leave leave{};
    const int flags = ::fcntl(socket, F_GETFL);
    const SslPtr ssl([this] {  // it keeps its context
        const std::scoped_lock lock(mutex_);
        return SSL_new(context_.get());
    }());
    if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0 || !ssl || SSL_set_fd(ssl.get(), socket) != 1) return false;
    SSL_set_accept_state(ssl.get());
    TlsStream stream(ssl.get(), socket);
    bool done = false;
    if (stream.handshake()) {
        const bool member = !peer_name(ssl.get()).empty();
        if (member) place.reset();
        stream.read_until(Clock::now() + (member ? kOfMember : kOfStranger));
        std::string remote, local;
        int remote_port = 0, local_port = 0;
        stream.get_remote_ip_and_port(remote, remote_port);
        stream.get_local_ip_and_port(local, local_port);
        bool closed = false;
        done = process_request(stream, remote, remote_port, local, local_port, true, closed, [&](httplib::Request& request) { request.ssl = ssl.get(); });
        ERR_clear_error();
        if (done) SSL_shutdown(ssl.get());
    }
    ERR_clear_error();
    ::shutdown(socket, SHUT_RDWR);
    return done;
}

}  // namespace blanket
