// SPDX-License-Identifier: GPL-2.0-or-later
// See client.hpp.
#include "toolstack/cli/client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/cli/http.hpp"

namespace blanket::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::unexpected<Error> no_daemon(const std::string& socket, int code) {
    if (code == EACCES || code == EPERM)
        return fail_hint(Kind::kDenied, std::format("no permission to use {}", socket), "run it as root, or join the group: usermod -aG blanket USER");
    const std::string reason = code == ENOENT ? "the socket does not exist" : code == ECONNREFUSED ? "nobody listens there" : std::strerror(code);
    return fail_hint(Kind::kUnavailable, std::format("cannot reach blanketd at {}: {}", socket, reason), "systemctl status blanketd; journalctl -u blanketd -e");
}

class Exchange final {
public:
    Exchange(const std::string& socket, int interrupt_fd, Clock::time_point end) : socket_(socket), interrupt_fd_(interrupt_fd), end_(end) {}

    Result<void> connect() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (socket_.empty() || socket_.size() >= sizeof address.sun_path)
            return fail_hint(Kind::kInvalid, std::format("socket path '{}' is empty or longer than {} characters", socket_.substr(0, 60), sizeof address.sun_path - 1),
                             "give another one with --socket");
        std::ranges::copy(socket_, static_cast<char*>(address.sun_path));
        fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!fd_) return fail_errno("socket", socket_);
        // A unix socket connects at once or says EAGAIN when the listener's queue is full.
        while (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return no_daemon(socket_, errno);
            BLANKET_CHECK(nap());
        }
        return {};
    }

    Result<void> send(std::string_view data) {
        while (!data.empty()) {
            const ssize_t sent = ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
            if (sent >= 0) {
                data.remove_prefix(static_cast<std::size_t>(sent));
            } else if (errno == EAGAIN) {
                BLANKET_CHECK(wait(POLLOUT));
            } else if (errno == EPIPE || errno == ECONNRESET) {
                return {};  // an answer may stand there already
            } else if (errno != EINTR) {
                return fail_errno("send to", socket_);
            }
        }
        return {};
    }

    Result<void> receive(ReplyParser& reply) {
        std::array<char, 16384> buffer;
        while (!reply.done()) {
            const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
            if (got > 0) {
                BLANKET_CHECK(reply.feed({buffer.data(), static_cast<std::size_t>(got)}));
            } else if (got == 0 || errno == ECONNRESET) {
                if (got != 0 || !reply.end_of_stream())
                    return fail_hint(Kind::kUnavailable, "blanketd closed the connection before its answer was complete", "journalctl -u blanketd -e");
            } else if (errno == EAGAIN) {
                BLANKET_CHECK(wait(POLLIN));
            } else if (errno != EINTR) {
                return fail_errno("receive from", socket_);
            }
        }
        return {};
    }

private:
    [[nodiscard]] int left_ms() const {
        return static_cast<int>(std::clamp<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now()).count(), 0, 3'600'000));
    }
    Result<void> wait(short events) {
        std::array<pollfd, 2> fds{{{fd_.get(), events, 0}, {interrupt_fd_, POLLIN, 0}}};
        const int left = left_ms();
        if (left == 0) return fail_hint(Kind::kTimeout, "blanketd did not answer in time", "journalctl -u blanketd -e");
        if (::poll(fds.data(), fds.size(), left) > 0 && (fds[1].revents & POLLIN) != 0) return fail(Kind::kCancelled, "interrupted");
        return {};
    }
    Result<void> nap() {
        pollfd interrupt{interrupt_fd_, POLLIN, 0};
        if (left_ms() == 0) return fail_hint(Kind::kUnavailable, "blanketd takes no connections", "journalctl -u blanketd -e");
        if (::poll(&interrupt, 1, 20) > 0) return fail(Kind::kCancelled, "interrupted");
        return {};
    }

    const std::string& socket_;
    int interrupt_fd_;
    Clock::time_point end_;
    UniqueFd fd_;
};

}  // namespace

Result<Json> Client::call(const Request& request) const {
    Exchange exchange(socket_, interrupt_fd_, Clock::now() + request.deadline);
    BLANKET_CHECK(exchange.connect());
    const std::string body = request.body.is_null() ? std::string() : request.body.dump(-1, ' ', false, Json::error_handler_t::replace);
    BLANKET_CHECK(exchange.send(http_request(request.method, request.path, body)));
    ReplyParser reply;
    BLANKET_CHECK(exchange.receive(reply));
    if (reply.body().empty() && reply.status() / 100 == 2) return Json::object();
    auto value = parse_json(reply.body(), 16u << 20);
    if (reply.status() / 100 == 2) {
        if (!value) return std::unexpected(Error{Kind::kIo, value.error().what, "journalctl -u blanketd -e"}.context("blanketd's answer"));
        return value;
    }
    if (!value || !value->contains("error")) {
        const Kind kind = reply.status() == 404 ? Kind::kNotFound : Kind::kInternal;
        return fail_hint(kind, std::format("blanketd answered {} to {} {}", reply.status(), request.method, request.path),
                         "is blanketd as new as this program? blanket --version; journalctl -u blanketd -e");
    }
    return std::unexpected(error_from_json(*value));
}

Result<void> Client::pause(std::chrono::milliseconds time) const {
    pollfd interrupt{interrupt_fd_, POLLIN, 0};
    const auto end = Clock::now() + time;
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
        if (left <= 0) return {};
        if (::poll(&interrupt, 1, static_cast<int>(left)) > 0) return fail(Kind::kCancelled, "interrupted");
    }
}

}  // namespace blanket::cli
