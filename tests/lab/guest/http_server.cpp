// SPDX-License-Identifier: GPL-2.0-or-later
// See http_server.hpp.
#include "tests/lab/guest/http_server.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <thread>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {
namespace {

constexpr std::size_t kMaxHead = 8192;
constexpr int kMaxConnections = 64;

std::string answer_to(std::string_view head, const HttpHandler& handler) {
    const auto request = parse_http_head(head);
    const Result<std::string> body = request ? handler(*request) : std::unexpected(request.error());
    std::string_view status = "200 OK";
    if (!body) status = body.error().kind == Kind::kNotFound ? "404 Not Found" : body.error().kind == Kind::kInvalid ? "400 Bad Request" : "500 Internal Server Error";
    const std::string text = body ? *body : body.error().what + "\n";
    return std::format("HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{}\r\n{}", status, text.size(), wants_close(head) ? "Connection: close\r\n" : "", text);
}

void serve_connection(int fd, const HttpHandler& handler) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::string buffer;
    std::array<std::byte, 4096> chunk{};
    for (;;) {
        const auto end = buffer.find("\r\n\r\n");
        if (end == std::string::npos) {
            if (buffer.size() > kMaxHead) return;
            const auto got = read_some(fd, chunk);
            if (!got || *got == 0) return;
            buffer.append(reinterpret_cast<const char*>(chunk.data()), *got);
            continue;
        }
        const std::string head = buffer.substr(0, end);
        buffer.erase(0, end + 4);
        if (!write_all(fd, as_bytes(answer_to(head, handler))) || wants_close(head)) return;
    }
}

}  // namespace

std::string HttpRequest::get(const std::string& name, const std::string& fallback) const {
    const auto found = query.find(name);
    return found == query.end() ? fallback : found->second;
}

std::uint64_t HttpRequest::number(const std::string& name, std::uint64_t fallback) const {
    const std::string text = get(name);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && !text.empty() ? value : fallback;
}

Result<HttpRequest> parse_http_head(std::string_view head) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    const auto first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || last <= first || !line.substr(last + 1).starts_with("HTTP/1.")) return fail(Kind::kInvalid, "not an HTTP/1 request");
    HttpRequest request;
    request.method = line.substr(0, first);
    std::string_view target = line.substr(first + 1, last - first - 1);
    if (!target.starts_with('/')) return fail(Kind::kInvalid, "the target does not begin with /");
    const auto mark = target.find('?');
    request.path = target.substr(0, mark);
    std::string_view query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
    while (!query.empty()) {
        const auto end = query.find('&');
        const std::string_view item = query.substr(0, end);
        const auto equals = item.find('=');
        request.query.emplace(std::string(item.substr(0, equals)), equals == std::string_view::npos ? std::string() : std::string(item.substr(equals + 1)));
        query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    }
    return request;
}

bool wants_close(std::string_view head) { return head.find("\r\nConnection: close") != std::string_view::npos || head.find("\r\nconnection: close") != std::string_view::npos; }

Result<void> serve_http(std::uint16_t port, const HttpHandler& handler) {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener) return fail_errno("socket", "tcp");
    const int on = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = __builtin_bswap16(port);
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener.get(), 32) != 0)
        return fail_errno("listen", std::format("port {}", port));
    static std::atomic<int> connections = 0;
    for (;;) {
        UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client || connections.load() >= kMaxConnections) continue;
        ++connections;
        std::thread([&handler, fd = std::move(client)] {
            serve_connection(fd.get(), handler);
            --connections;
        }).detach();
    }
}

}  // namespace blanket::lab
