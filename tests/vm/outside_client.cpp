// SPDX-License-Identifier: GPL-2.0-or-later
// See outside_client.hpp.
#include "tests/vm/outside_client.hpp"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sys/socket.h>

#include "toolstack/base/text.hpp"
#include "toolstack/core/addresses.hpp"

namespace blanket::lab {
namespace {

constexpr int kPatience = 60, kConnectPatience = 3;  // seconds
constexpr std::string_view kQuestion = "GET /ping HTTP/1.1\r\nHost: outside\r\n\r\n";

UniqueFd connect_to(const std::string& ip, std::uint16_t port) {
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    timeval patience{kConnectPatience, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(parse_ipv4(ip).value_or(0));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
    patience.tv_sec = kPatience;
    for (const int option : {SO_SNDTIMEO, SO_RCVTIMEO}) ::setsockopt(socket.get(), SOL_SOCKET, option, &patience, sizeof patience);
    return socket;
}

// One answer, head and body; its size by Content-Length.
bool hear(int fd, std::string& input) {
    for (;;) {
        if (const auto end = input.find("\r\n\r\n"); end != std::string::npos) {
            const auto at = input.find("Content-Length: ");
            if (!input.starts_with("HTTP/1.1 200") || at == std::string::npos || at > end) return false;
            const auto length = parse_number(input.substr(at + 16, input.find('\r', at) - at - 16), 0, 65536, "length");
            if (!length) return false;
            if (input.size() >= end + 4 + *length) {
                input.erase(0, end + 4 + *length);
                return true;
            }
        }
        std::array<char, 4096> chunk;
        const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), 0);
        if (got <= 0 || input.size() > 65536) return false;
        input.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

}  // namespace

bool OutsideClient::connects(const std::string& ip, std::uint16_t port) { return static_cast<bool>(connect_to(ip, port)); }

OutsideClient::OutsideClient(const std::string& ip, std::uint16_t port) : thread_([this, ip, port](const std::stop_token& stop) { ask(stop, ip, port); }) {}

std::string OutsideClient::error() const {
    const std::lock_guard hold(mutex_);
    return error_;
}

void OutsideClient::give_up(const std::string& why) {
    const std::lock_guard hold(mutex_);
    error_ = std::format("after {} answers: {}", answers_.load(), why);
}

void OutsideClient::ask(const std::stop_token& stop, const std::string& ip, std::uint16_t port) {
    const UniqueFd socket = connect_to(ip, port);
    if (!socket) return give_up("it cannot be connected");
    std::string input;
    while (!stop.stop_requested()) {
        const auto begin = std::chrono::steady_clock::now();
        if (::send(socket.get(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kQuestion.size())) return give_up(std::strerror(errno));
        if (!hear(socket.get(), input)) return give_up(std::format("no answer: {}; {}", std::strerror(errno), input.substr(0, 100)));
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
        longest_ms_ = std::max<std::int64_t>(longest_ms_, took);
        ++answers_;
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

}  // namespace blanket::lab
