// SPDX-License-Identifier: GPL-2.0-or-later
// See fake_daemon.hpp.
#include "tests/unit/cli/fake_daemon.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "toolstack/base/text.hpp"

namespace blanket::cli {
namespace {
constexpr std::string_view kHang = "hang";
}

FakeDaemon::FakeDaemon() {
    folder_ = std::filesystem::temp_directory_path() / "fake.XXXXXX";
    if (::mkdtemp(folder_.data()) == nullptr) std::abort();
    socket_ = folder_ + "/blanketd.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(socket_, static_cast<char*>(address.sun_path));
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_.get(), 16) != 0) std::abort();
    thread_ = std::jthread([this](std::stop_token stop) { serve(std::move(stop)); });
}

FakeDaemon::~FakeDaemon() {
    thread_.request_stop();
    thread_.join();
    std::filesystem::remove_all(folder_);
}

void FakeDaemon::on(const std::string& request, int status, const std::string& body) {
    on_raw(request, std::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", status, body.size(), body));
}
void FakeDaemon::on_raw(const std::string& request, const std::string& reply) {
    const std::lock_guard lock(mutex_);
    replies_[request].push_back(reply);
}
void FakeDaemon::hang(const std::string& request) { on_raw(request, std::string(kHang)); }

std::vector<FakeDaemon::Asked> FakeDaemon::asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
}

void FakeDaemon::serve(std::stop_token stop) {
    while (!stop.stop_requested()) {
        pollfd ready{listener_.get(), POLLIN, 0};
        if (::poll(&ready, 1, 20) > 0) answer(UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    }
}

void FakeDaemon::answer(UniqueFd connection) {
    std::string text;
    std::array<std::byte, 4096> buffer;
    std::size_t end = std::string::npos, length = 0;
    while (end == std::string::npos || text.size() < end + 4 + length) {
        const auto got = read_some(connection.get(), buffer);
        if (!got || *got == 0) return;
        text.append(reinterpret_cast<const char*>(buffer.data()), *got);
        end = text.find("\r\n\r\n");
        if (const auto at = text.find("Content-Length: "); at < end) length = std::strtoul(text.c_str() + at + 16, nullptr, 10);
    }
    const auto words = split(text.substr(0, text.find("\r\n")), ' ');
    const std::lock_guard lock(mutex_);
    asked_.push_back({words[0], words[1], length == 0 ? Json() : Json::parse(text.substr(end + 4), nullptr, false)});
    auto at = replies_.find(words[0] + " " + words[1]);
    if (at == replies_.end()) at = replies_.find(words[0] + " " + words[1].substr(0, words[1].find('?')));
    std::string reply = "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n";
    if (at != replies_.end()) {
        reply = at->second.front();
        if (at->second.size() > 1) at->second.pop_front();
    }
    if (reply == kHang) hanging_.push_back(std::move(connection));
    else (void)write_all(connection.get(), as_bytes(reply));
}

}  // namespace blanket::cli
