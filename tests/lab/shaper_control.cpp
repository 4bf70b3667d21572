// SPDX-License-Identifier: GPL-2.0-or-later
// The control socket, both ends; see shaper_control.hpp.
#include "tests/lab/shaper_control.hpp"

#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace blanket::lab {
namespace {

constexpr std::size_t kMaxLine = 1u << 20;

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is empty or too long", path);
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

// A line without its end; empty at the end of the stream.
Result<std::string> read_line(int fd, std::chrono::milliseconds deadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    std::string line;
    while (line.size() < kMaxLine) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
        pollfd item{fd, POLLIN, 0};
        if (left <= 0) return fail(Kind::kTimeout, "no line within {} ms", deadline.count());
        if (::poll(&item, 1, static_cast<int>(std::min<long long>(left, 1000))) <= 0) continue;
        std::array<std::byte, 4096> chunk{};
        BLANKET_TRY(const std::size_t got, read_some(fd, chunk));
        if (got == 0) return std::string();
        line.append(reinterpret_cast<const char*>(chunk.data()), got);
        if (line.back() == '\n') {
            line.pop_back();
            return line;
        }
    }
    return fail(Kind::kInvalid, "line longer than {} bytes", kMaxLine);
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(const std::string& path, Handler handler) {
    BLANKET_TRY(const sockaddr_un address, address_of(path));
    std::unique_ptr<ControlServer> server(new ControlServer());
    server->path_ = path;
    server->handler_ = std::move(handler);
    server->wake_.reset(::eventfd(0, EFD_CLOEXEC));
    server->listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!server->listener_ || !server->wake_) return fail_errno("socket", path);
    ::unlink(path.c_str());
    if (::bind(server->listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::chmod(path.c_str(), 0600) != 0 ||
        ::listen(server->listener_.get(), 8) != 0)
        return fail_errno("bind", path);
    server->thread_ = std::jthread([self = server.get()](const std::stop_token& stop) { self->work(stop); });
    return server;
}

ControlServer::~ControlServer() {
    thread_.request_stop();
    const std::uint64_t one = 1;
    if (wake_) [[maybe_unused]] const auto put = ::write(wake_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
    if (!path_.empty()) ::unlink(path_.c_str());
}

void ControlServer::work(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        std::array<pollfd, 2> polls{pollfd{wake_.get(), POLLIN, 0}, pollfd{listener_.get(), POLLIN, 0}};
        if (::poll(polls.data(), polls.size(), -1) < 0) continue;
        if ((polls[1].revents & POLLIN) == 0) continue;
        const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (client) serve(client.get());
    }
}

void ControlServer::serve(int fd) {
    const auto line = read_line(fd, std::chrono::seconds(5));
    if (!line || line->empty()) return;
    Result<Json> answer = parse_json(*line, kMaxLine);
    if (answer) answer = handler_(*answer);
    const std::string text = (answer ? Json{{"ok", *answer}} : to_json(answer.error())).dump() + "\n";
    [[maybe_unused]] const auto sent = write_all(fd, as_bytes(text));
}

Result<Json> control_request(const std::string& path, const Json& request, std::chrono::milliseconds deadline) {
    BLANKET_TRY(const sockaddr_un address, address_of(path));
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return fail_hint(Kind::kUnavailable, std::format("nobody answers at {}: {}", path, std::strerror(errno)), "is the lab up? try: ./dev lab up");
    BLANKET_CHECK(write_all(fd.get(), as_bytes(request.dump() + "\n")));
    BLANKET_TRY(const std::string line, read_line(fd.get(), deadline));
    BLANKET_TRY(Json answer, parse_json(line, kMaxLine));
    if (answer.contains("ok")) return std::move(answer["ok"]);
    return std::unexpected(error_from_json(answer));
}

}  // namespace blanket::lab
