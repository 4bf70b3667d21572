// SPDX-License-Identifier: GPL-2.0-or-later
// A client in the world outside: one TCP connection to a public port, asked ten times a second, never made again. For the VM tests; uses the network namespace
// that it is made in. Thread safe.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {

class OutsideClient final {
public:
    static bool connects(const std::string& ip, std::uint16_t port);  // within 3 s
    OutsideClient(const std::string& ip, std::uint16_t port);
    [[nodiscard]] std::uint64_t answers() const { return answers_; }
    [[nodiscard]] std::int64_t longest_ms() const { return longest_ms_; }
    [[nodiscard]] std::string error() const;  // what ended the connection; empty: it stands

private:
    void ask(const std::stop_token& stop, const std::string& ip, std::uint16_t port);
    void give_up(const std::string& why);
    std::atomic<std::uint64_t> answers_ = 0;
    std::atomic<std::int64_t> longest_ms_ = 0;
    mutable std::mutex mutex_;
    std::string error_;
    std::jthread thread_;
};

}  // namespace blanket::lab
