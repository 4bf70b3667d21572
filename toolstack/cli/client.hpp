// SPDX-License-Identifier: GPL-2.0-or-later
// Requests to blanketd over its unix socket, each on a connection of its own, with a deadline. Called by the verbs.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"

namespace blanket::cli {

struct Request {
    std::string method = "GET";
    std::string path;  // with its query, encoded
    Json body = nullptr;
    std::chrono::milliseconds deadline{60'000};  // for the whole exchange
};

class Client final {
public:
    // `interrupt_fd`: when it becomes readable, a call ends with kCancelled; -1 = never.
    explicit Client(std::string socket, int interrupt_fd = -1) : socket_(std::move(socket)), interrupt_fd_(interrupt_fd) {}

    // The JSON of a 2xx answer. Otherwise the daemon's own error, or kUnavailable (not running, or gone in the middle), kDenied (no right to the socket), kTimeout,
    // kIo (the answer makes no sense), kCancelled.
    [[nodiscard]] Result<Json> call(const Request& request) const;
    [[nodiscard]] Result<Json> get(std::string path) const { return call({.path = std::move(path)}); }
    // Sleeps, but wakes up with kCancelled on an interrupt.
    [[nodiscard]] Result<void> pause(std::chrono::milliseconds time) const;

private:
    std::string socket_;
    int interrupt_fd_;
};

}  // namespace blanket::cli
