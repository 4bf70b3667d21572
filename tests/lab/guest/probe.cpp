// SPDX-License-Identifier: GPL-2.0-or-later
// See probe.hpp. A request that waits is waited for: no second one is sent meanwhile, so a stall shows as one long latency.
#include "tests/lab/guest/probe.hpp"

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/lab/guest/load.hpp"

namespace blanket::lab {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
constexpr milliseconds kInterval(50);
constexpr std::chrono::seconds kPatience(300);  // much longer than any stop: a connection that TCP still keeps is not ended by this program
constexpr std::string_view kRequest = "GET /ping HTTP/1.1\r\nHost: web\r\n\r\n";
constexpr std::size_t kMaxLines = 20'000;

std::size_t content_length(std::string_view head) {
    for (const std::string_view name : {"\r\nContent-Length: ", "\r\ncontent-length: "}) {
        const auto at = head.find(name);
        if (at == std::string_view::npos) continue;
        std::size_t length = 0;
        std::from_chars(head.data() + at + name.size(), head.data() + head.size(), length);
        return length;
    }
    return 0;
}

}  // namespace

Result<void> Probe::start(const std::string& ip, std::uint16_t port) {
    if (running_.exchange(true)) return fail(Kind::kConflict, "the probe runs already");
    if (thread_.joinable()) thread_.join();
    thread_ = std::jthread([this, ip, port](const std::stop_token& stop) {
        work(stop, ip, port);
        running_ = false;
    });
    return {};
}

void Probe::stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

Result<UniqueFd> Probe::connect_to(const std::string& ip, std::uint16_t port) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (::inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1) return fail(Kind::kInvalid, "'{}' is no IPv4 address", ip);
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket", "tcp");
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval patience{10, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("connect", ip);
    return fd;
}

Result<std::string> Probe::ask(int fd, const std::stop_token& stop) const {
    BLANKET_CHECK(write_all(fd, as_bytes(kRequest)));
    const auto until = Clock::now() + kPatience;
    std::string answer;
    std::array<std::byte, 4096> chunk{};
    while (Clock::now() < until && !stop.stop_requested()) {
        pollfd item{fd, POLLIN, 0};
        if (::poll(&item, 1, 200) <= 0) continue;
        BLANKET_TRY(const std::size_t got, read_some(fd, chunk));
        if (got == 0) return fail(Kind::kUnavailable, "the server closed the connection");
        answer.append(reinterpret_cast<const char*>(chunk.data()), got);
        const auto head = answer.find("\r\n\r\n");
        if (head == std::string::npos || answer.size() < head + 4 + content_length(std::string_view(answer).substr(0, head + 2))) continue;
        if (!answer.starts_with("HTTP/1.1 200")) return fail(Kind::kIo, "the server answers {}", answer.substr(0, 40));
        return answer.substr(head + 4);
    }
    return fail(Kind::kTimeout, "no answer within {} s", kPatience.count());
}

void Probe::work(const std::stop_token& stop, const std::string& ip, std::uint16_t port) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> log(std::fopen(log_path_.c_str(), "ae"), &std::fclose);
    UniqueFd fd;
    bool first = true;
    std::uint64_t sequence = 0;
    auto next = Clock::now();
    while (!stop.stop_requested()) {
        if (!fd) {
            auto connected = connect_to(ip, port);
            if (!connected) {
                ++errors_;
                std::this_thread::sleep_for(milliseconds(500));
                continue;
            }
            if (!first) ++reconnects_;
            first = false;
            fd = std::move(*connected);
        }
        ProbeLine line{.t_ms = monotonic_ms(), .latency_us = 0, .sequence = ++sequence, .acked = 0};
        const auto begin = Clock::now();
        const auto body = ask(fd.get(), stop);
        if (stop.stop_requested()) return;
        line.latency_us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
        if (!body) {
            std::fprintf(stderr, "probe: %s\n", body.error().what.c_str());
            ++errors_;
            fd.reset();
        } else if (const auto space = body->find(' '); space != std::string::npos) {  // "count acked"
            std::from_chars(body->data() + space + 1, body->data() + body->size(), line.acked);
        }
        {
            const std::scoped_lock lock(lock_);
            lines_.push_back(line);
        }
        if (log) {
            std::fprintf(log.get(), "%lld %lld %llu %llu\n", static_cast<long long>(line.t_ms), static_cast<long long>(line.latency_us),
                         static_cast<unsigned long long>(line.sequence), static_cast<unsigned long long>(line.acked));
            std::fflush(log.get());
        }
        next = std::max(next + kInterval, Clock::now());
        std::this_thread::sleep_until(next);
    }
}

std::string Probe::log_since(std::uint64_t since) {
    const std::scoped_lock lock(lock_);
    std::string text = std::format("{{\"now_ms\":{},\"running\":{},\"requests\":{},\"reconnects\":{},\"errors\":{}}}\n", monotonic_ms(), running_.load(), lines_.size(),
                                   reconnects_.load(), errors_.load());
    for (std::size_t i = since; i < std::min<std::size_t>(lines_.size(), since + kMaxLines); ++i)
        text += std::format("{} {} {} {}\n", lines_[i].t_ms, lines_[i].latency_us, lines_[i].sequence, lines_[i].acked);
    return text;
}

}  // namespace blanket::lab
