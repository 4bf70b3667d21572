// SPDX-License-Identifier: GPL-2.0-or-later
// The REST server against any bytes on its socket: it answers with HTTP or hangs up, nothing of it fails inside, and it goes on serving. And the CLI's own reader of
// answers, whole and in pieces.
#include <array>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/cli/http.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 24u << 20;  // several requests' threads may still be at work

namespace {

// All that comes back, or what came within five seconds. When nothing has come for so many ms, it is said that nothing more will be asked: not at once, for httplib
// answers nobody who has said that.
std::string asked(const std::string& path, std::span<const std::byte> bytes, int patience_ms) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    require(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "the server does not listen any more");
    const timeval patience{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)write_all(fd.get(), bytes);
    std::string answer;
    std::array<std::byte, 4096> part;
    for (bool asking = true;;) {
        pollfd one{fd.get(), POLLIN, 0};
        if (asking && ::poll(&one, 1, patience_ms) == 0) {
            asking = false;
            ::shutdown(fd.get(), SHUT_WR);
        }
        const auto got = read_some(fd.get(), part);
        if (!got || *got == 0) return answer;
        answer.append(reinterpret_cast<const char*>(part.data()), *got);
        require(answer.size() < 8u << 20, "an answer without an end");
    }
}

struct Server {
    RestServer server;
    std::string socket = scratch("rest");
    Server() {
        log::set_level(log::Level::kNone);
        server.route("GET", "/1.0", [](const RestRequest& request) { return RestResponse::of(Json{{"local", request.local}, {"query", request.query}}); });
        server.route("POST", "/1.0/vms/*/start", [](const RestRequest& request) {
            const auto body = request.json();
            if (!body) return RestResponse::of(body.error());
            return RestResponse::of(Json{{"name", request.matches.at(0)}, {"body", *body}}, 202);
        });
        server.route("GET", "/1.0/vms/*", [](const RestRequest& request) { return RestResponse::of(Error{Kind::kNotFound, "no VM " + request.matches.at(0), request.path}); });
        require_value(server.listen_unix(socket, ""), "listen_unix");
    }
};

void reply(Input& input) {
    const std::size_t cut = 1 + input.byte();
    const std::string text = input.rest_text();
    cli::ReplyParser whole, parts;
    Result<void> first = whole.feed(text), second{};
    if (first && !whole.done()) first = whole.end_of_stream();
    for (std::size_t at = 0; at < text.size() && second && !parts.done(); at += cut) second = parts.feed(std::string_view(text).substr(at, cut));
    if (second && !parts.done()) second = parts.end_of_stream();
    require_refusal(first, "an answer", Kind::kIo);
    require(first.has_value() == second.has_value(), "an answer that depends on its pieces");
    if (first) require(whole.status() == parts.status() && whole.body() == parts.body() && whole.body().size() <= text.size(), "an answer that changes with its pieces");
}

}  // namespace

std::vector<std::string> target::seeds() {
    const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";
    return {"qGET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n", "qGET /1.0/vms/web%2f..?a=1&b=%zz&a HTTP/1.1\r\nHost: x\r\n\r\n",
            "qPOST /1.0/vms/web/start HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "qPOST /1.0/vms/web/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
            "qPOST /1.0/vms/web/start HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 60\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nv\r\n--b--\r\n",
            "qPOST /1.0/vms/web/start HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=1", "qPUT * HTTP/1.0\r\n\r\n", "qDELETE /1.0 HTTP/1.1\r\nRange: bytes=0-1,5-\r\n\r\n",
            "qPOST /1.0 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", "qGET /1.0 HTTP/1.1\r\nAccept: */*;q=2\r\nExpect: 100-continue\r\n\r\n",
            "r\x02" + ok, "r\x09HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", "r\x03HTTP/1.0 404 Not Found\r\n\r\nuntil the end"};
}

void target::run(Input input) {
    const char way = static_cast<char>(input.byte());
    if (way == 'r') return reply(input);
    static Server server;
    const std::string answer = asked(server.socket, input.rest(), 10);
    require(answer.empty() || answer.starts_with("HTTP/1."), "an answer that is no HTTP");
    // Not by its words, which an input may say and an answer quote; a body cannot hold the second.
    require(!answer.starts_with("HTTP/1.1 500") && !answer.contains("\r\n\r\nHTTP/1.1 500"), "an exception in the server");
    static unsigned count = 0;
    if (++count % 16 != 0) return;
    const std::string alive = asked(server.socket, as_bytes("GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n"), 5000);
    require(alive.starts_with("HTTP/1.1 200"), "the server serves nobody any more");
}

}  // namespace blanket::fuzz
