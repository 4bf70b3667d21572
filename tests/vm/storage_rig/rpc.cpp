// SPDX-License-Identifier: GPL-2.0-or-later
// See rpc.hpp.
#include "tests/vm/storage_rig/rpc.hpp"

#include <arpa/inet.h>
#include <array>
#include <chrono>
#include <cstring>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <thread>

namespace blanket::rig {
namespace {

sockaddr_in address(const std::string& ip, std::uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    ::inet_pton(AF_INET, ip.c_str(), &to.sin_addr);
    return to;
}

}  // namespace

Result<UniqueFd> listen_and_accept(std::uint16_t port) {
    UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(server.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    auto any = address("0.0.0.0", port);
    if (::bind(server.get(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0) return fail_errno("bind", std::to_string(port));
    if (::listen(server.get(), 1) != 0) return fail_errno("listen", std::to_string(port));
    UniqueFd peer(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer) return fail_errno("accept", std::to_string(port));
    ::setsockopt(peer.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return peer;
}

Result<UniqueFd> connect_to(const std::string& ip, std::uint16_t port, int attempts) {
    const auto to = address(ip, port);
    for (int i = 0; i < attempts; ++i) {
        UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) {
            const int on = 1;
            ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return fail(Kind::kUnavailable, "no answer from {}:{}", ip, port);
}

Result<void> send_frame(int fd, const Json& head, std::span<const std::byte> data) {
    const std::string text = head.dump();
    const std::array<std::uint32_t, 2> sizes{static_cast<std::uint32_t>(text.size()), static_cast<std::uint32_t>(data.size())};
    BLANKET_CHECK(write_all(fd, std::as_bytes(std::span(sizes))));
    BLANKET_CHECK(write_all(fd, as_bytes(text)));
    return write_all(fd, data);
}

Result<Frame> receive_frame(int fd) {
    std::array<std::uint32_t, 2> sizes{};
    BLANKET_CHECK(read_all(fd, std::as_writable_bytes(std::span(sizes))));
    if (sizes[0] > (1u << 20) || sizes[1] > (4u << 20)) return fail(Kind::kInvalid, "a frame of {}+{} bytes", sizes[0], sizes[1]);
    std::string text(sizes[0], '\0');
    BLANKET_CHECK(read_all(fd, std::as_writable_bytes(std::span(text))));
    Frame frame;
    BLANKET_TRY(frame.head, parse_json(text));
    frame.data.resize(sizes[1]);
    BLANKET_CHECK(read_all(fd, frame.data));
    return frame;
}

Result<Json> call(int fd, const Json& head, std::span<const std::byte> data) {
    BLANKET_CHECK(send_frame(fd, head, data));
    BLANKET_TRY(auto answer, receive_frame(fd));
    if (answer.head.contains("error")) return std::unexpected(error_from_json(answer.head).context("target"));
    return std::move(answer.head);
}

}  // namespace blanket::rig
