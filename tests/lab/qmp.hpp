// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's machine protocol over its unix socket: one command at a time, events that arrive in between are kept. Used by Machine. Not thread safe.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::lab {

class Qmp final {
public:
    // Waits until QEMU has made the socket, connects and leaves the capabilities mode.
    static Result<Qmp> connect(const std::string& path, std::chrono::milliseconds deadline);

    // Returns the "return" member. kInvalid carries QEMU's own text when it refuses.
    Result<Json> execute(const std::string& command, const Json& arguments = Json::object(), std::chrono::milliseconds deadline = std::chrono::seconds(10));
    [[nodiscard]] const std::vector<Json>& events() const { return events_; }  // the last 1000

private:
    explicit Qmp(UniqueFd fd) : fd_(std::move(fd)) {}
    Result<Json> read_message(std::chrono::steady_clock::time_point until);

    UniqueFd fd_;
    std::string buffer_;
    std::vector<Json> events_;
};

}  // namespace blanket::lab
