// SPDX-License-Identifier: GPL-2.0-or-later
// A TCP relay between two ends that cuts, stalls and slows connections at chosen bytes: the WAN of tests over real sockets.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "toolstack/peer/wire.hpp"

namespace blanket::fakes {

class Relay final {
public:
    static constexpr int kBuffer = 64 << 10;  // bytes asked of the kernel for each of its sockets' buffers: what is in flight is bounded by them
    explicit Relay(std::uint16_t to) : to_(to), listener_(listen_tcp("127.0.0.1", 0).value()) {
        small(listener_.get());
        sockaddr_in at{};
        socklen_t size = sizeof at;
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size);
        port_ = ntohs(at.sin_port);
        acceptor_ = std::jthread([this](const std::stop_token& stop) { accept_all(stop); });
    }
    ~Relay() {
        acceptor_.request_stop();
        acceptor_.join();
        cut();
        pairs_.clear();
    }
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] unsigned connections() const { return connections_; }

    // Every connection: reset after so many bytes of either direction (drawn for each one), 0: never.
    std::function<std::uint64_t()> cut_after = [] { return std::uint64_t{0}; };
    std::atomic<bool> refuse = false;  // new connections end at once
    std::atomic<bool> stall = false;   // nothing passes, and nothing ends: as a router that drops all
    std::atomic<std::uint64_t> forward_rate = 0;  // bytes per second to the target, 0: as they come
    void cut() {                       // all that are open, now
        const std::scoped_lock lock(mutex_);
        for (auto& pair : pairs_) pair.cut = true;
    }
    void cut_one() { first_open([](Pair& pair) { pair.cut = true; }); }
    void stall_one() { first_open([](Pair& pair) { pair.stall = true; }); }  // for good

private:
    using Clock = std::chrono::steady_clock;
    static constexpr Clock::duration kLook = std::chrono::milliseconds(10);  // how often somebody who waits looks whether it is cut
    struct Way {  // of one direction: what has come and is not sent on yet. The other direction does not wait for it
        std::array<char, 16 << 10> piece;
        std::size_t at = 0, size = 0;
        Clock::time_point due{};  // not before
    };
    struct Pair {
        std::atomic<bool> cut = false, done = false, stall = false;
        std::jthread thread;
    };
    void first_open(const std::function<void(Pair&)>& what) {
        const std::scoped_lock lock(mutex_);
        for (auto& pair : pairs_)
            if (!pair.done && !pair.cut && !pair.stall) return what(pair);
    }
    static void small(int fd) {
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kBuffer, sizeof kBuffer);
        ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kBuffer, sizeof kBuffer);
    }
    void accept_all(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            pollfd poll{listener_.get(), POLLIN, 0};
            if (::poll(&poll, 1, 20) <= 0) continue;
            UniqueFd in(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!in || refuse) continue;
            const std::scoped_lock lock(mutex_);
            pairs_.remove_if([](const Pair& pair) { return pair.done.load(); });
            ++connections_;
            Pair& pair = pairs_.emplace_back();
            pair.thread = std::jthread([this, &pair, fd = std::move(in), most = cut_after()]() mutable {
                relay(pair, std::move(fd), most);
                pair.done = true;
            });
        }
    }
    void relay(Pair& pair, UniqueFd in, std::uint64_t most) {
        small(in.get());
        UniqueFd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        small(out.get());
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(to_);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(out.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return;
        std::uint64_t passed = 0;
        const std::array<int, 2> ends{in.get(), out.get()};
        std::array<Way, 2> ways;  // ways[0]: to the target
        for (bool open = true; open && !pair.cut;) {
            if (stall || pair.stall) {
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
                continue;
            }
            // An end of which nothing is wanted now is not looked at: its error would come again and again.
            const auto now = Clock::now();
            auto wait = kLook;
            std::array<pollfd, 2> polls{pollfd{-1, 0, 0}, pollfd{-1, 0, 0}};
            std::array<std::size_t, 2> wish{};
            for (std::size_t side = 0; side < 2; ++side) {
                const Way& way = ways[side];
                const auto want = [&](std::size_t end, short event) {
                    polls[end].fd = ends[end];
                    polls[end].events |= event;
                };
                if (way.size == 0) {
                    wish[side] = most == 0 ? way.piece.size() : std::min<std::uint64_t>(way.piece.size(), most - passed - ways[1 - side].size);
                    if (wish[side] > 0) want(side, POLLIN);
                } else if (way.due <= now) {
                    want(1 - side, POLLOUT);
                } else {
                    wait = std::min<Clock::duration>(wait, way.due - now);
                }
            }
            const timespec most_wait{0, std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count()};
            if (::ppoll(polls.data(), polls.size(), &most_wait, nullptr) <= 0) continue;
            for (std::size_t side = 0; side < 2 && open; ++side) {
                Way& way = ways[side];
                if (way.size == 0) {
                    if (wish[side] == 0 || (polls[side].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
                    const ssize_t got = ::recv(ends[side], way.piece.data(), wish[side], MSG_DONTWAIT);
                    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
                    if (got <= 0) return;  // an end by intent passes as one
                    way.at = 0;
                    way.size = static_cast<std::size_t>(got);
                    const std::uint64_t rate = forward_rate;
                    way.due = Clock::now() + std::chrono::microseconds(side == 0 && rate > 0 ? way.size * 1'000'000 / rate : 0);
                } else if (way.due <= now && polls[1 - side].revents != 0) {
                    const ssize_t put = ::send(ends[1 - side], way.piece.data() + way.at, way.size, MSG_DONTWAIT | MSG_NOSIGNAL);
                    if (put < 0 && errno != EAGAIN) open = false;
                    if (put <= 0) continue;
                    way.at += static_cast<std::size_t>(put);
                    way.size -= static_cast<std::size_t>(put);
                    passed += static_cast<std::uint64_t>(put);
                    if (most != 0 && passed >= most) open = false;
                }
            }
        }
        for (const int fd : ends) {  // a cut is a reset: what is on its way is lost
            const linger hard{1, 0};
            ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
    }

    const std::uint16_t to_;
    UniqueFd listener_;
    std::uint16_t port_ = 0;
    std::mutex mutex_;
    std::list<Pair> pairs_;
    std::atomic<unsigned> connections_ = 0;
    std::jthread acceptor_;
};

}  // namespace blanket::fakes
