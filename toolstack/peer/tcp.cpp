// SPDX-License-Identifier: GPL-2.0-or-later
// TCP sockets for channels: connect with a deadline, listen, tuning. See wire.hpp.
#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <format>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>

#include "toolstack/peer/wire.hpp"

namespace blanket {
namespace {

constexpr int kReceiveBuffer = 8 << 20;                                          // four connections then fill 1 Gbit/s at 250 ms
constexpr int kSendBuffer = 4 << 20, kLeastSend = 1 << 20, kMostSend = 16 << 20;  // to begin with; as it follows the path
constexpr int kUnsent = 512 << 10, kLeastUnsent = 64 << 10;

void set_option(int fd, int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); }

struct AddrInfo {
    addrinfo* list = nullptr;
    ~AddrInfo() {
        if (list != nullptr) ::freeaddrinfo(list);
    }
};

Result<UniqueFd> connect_one(const addrinfo& address, const std::string& label, std::chrono::steady_clock::time_point until) {
    UniqueFd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("socket", label);
    tune_stream(fd.get());  // before the connection: the window scale is agreed in the first segment
    if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) != 0) {
        if (errno != EINPROGRESS) return fail(Kind::kUnavailable, "cannot connect to {}: {}", label, std::string_view(strerror(errno)));
        for (;;) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
            pollfd poll{fd.get(), POLLOUT, 0};
            const int ready = left <= 0 ? 0 : ::poll(&poll, 1, static_cast<int>(left));
            if (ready < 0 && errno == EINTR) continue;
            if (ready <= 0) return fail(Kind::kUnavailable, "cannot connect to {}: no answer in time", label);
            break;
        }
        int code = 0;
        socklen_t size = sizeof code;
        ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size);
        if (code != 0) return fail(Kind::kUnavailable, "cannot connect to {}: {}", label, std::string_view(strerror(code)));
    }
    return fd;
}

}  // namespace

void tune_stream(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 5);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsent);  // back pressure reaches the save process early
    // Without CAP_NET_ADMIN the kernel's own tuning goes higher than an unprivileged SO_SNDBUF, which would also switch it off.
    set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, kSendBuffer);
    set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, kReceiveBuffer);
    constexpr std::string_view kBbr = "bbr";
    ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kBbr.data(), static_cast<socklen_t>(kBbr.size()));
}

void tune_share(int fd, unsigned connections) { set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, std::max(kLeastUnsent, kUnsent / static_cast<int>(std::max(connections, 1u)))); }

// The congestion window is TCP's measure of the bandwidth-delay product. Twice that lets it grow: it does not while the buffer is what holds it back.
void fit_send_buffer(int fd) {
    tcp_info info{};
    int now = 0;
    socklen_t size = sizeof info, now_size = sizeof now;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || ::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &now_size) != 0) return;
    const std::int64_t wanted = 2 * static_cast<std::int64_t>(info.tcpi_snd_cwnd) * info.tcpi_snd_mss + kUnsent;
    const int fit = static_cast<int>(std::clamp<std::int64_t>(wanted, kLeastSend, kMostSend)), has = now / 2;  // the kernel doubles what is asked
    if (fit > has + has / 4 || fit < has / 2) set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, fit);
}

Result<UniqueFd> connect_tcp(const std::string& host, std::uint16_t port, std::chrono::milliseconds deadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    AddrInfo found;
    const std::string label = std::format("{}:{}", host, port);
    if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found.list); code != 0)
        return fail(Kind::kUnavailable, "cannot resolve {}: {}", label, std::string_view(::gai_strerror(code)));
    Result<UniqueFd> last = fail(Kind::kUnavailable, "{} has no address", label);
    for (const addrinfo* at = found.list; at != nullptr; at = at->ai_next) {
        last = connect_one(*at, label, until);
        if (last) break;
    }
    return last;
}

Result<UniqueFd> listen_tcp(const std::string& address, std::uint16_t port) {
    const std::string label = std::format("{}:{}", address, port);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    if (::inet_pton(AF_INET, address.c_str(), &where.sin_addr) != 1) return fail(Kind::kInvalid, "'{}' is not an IPv4 address", address);
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("socket", label);
    set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kReceiveBuffer);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) return fail_errno("bind", label);
    if (::listen(fd.get(), 32) != 0) return fail_errno("listen", label);
    return fd;
}

}  // namespace blanket
