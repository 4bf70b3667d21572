// SPDX-License-Identifier: GPL-2.0-or-later
// The demo's client: one TCP connection, one HTTP request every 50 ms, the latency of each. Used by demo_guest.cpp (in the client VM). Thread safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {

struct ProbeLine {
    std::int64_t t_ms = 0;         // monotonic, when the request was sent
    std::int64_t latency_us = 0;   // until its whole answer was there
    std::uint64_t sequence = 0;    // of the request, from 1
    std::uint64_t acked = 0;       // the highest acknowledged record that the server told
};

class Probe final {
public:
    explicit Probe(std::string log_path) : log_path_(std::move(log_path)) {}
    Result<void> start(const std::string& ip, std::uint16_t port);  // kConflict when it runs
    void stop();
    // {"now_ms","running","requests","reconnects","errors"} in the first line, then "t_ms latency_us sequence acked" from line `since` on (0 = the first), at most 20000.
    [[nodiscard]] std::string log_since(std::uint64_t since);

private:
    void work(const std::stop_token& stop, const std::string& ip, std::uint16_t port);
    Result<UniqueFd> connect_to(const std::string& ip, std::uint16_t port) const;
    // The body of the answer; waits 300 s at most.
    Result<std::string> ask(int fd, const std::stop_token& stop) const;

    const std::string log_path_;
    std::mutex lock_;
    std::vector<ProbeLine> lines_;
    std::atomic<std::uint64_t> reconnects_ = 0, errors_ = 0;
    std::atomic<bool> running_ = false;
    std::jthread thread_;
};

}  // namespace blanket::lab
