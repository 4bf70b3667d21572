// SPDX-License-Identifier: GPL-2.0-or-later
// Control by one-line JSON over a unix stream socket: a request line in, an answer line out. Used by blanket-shaper and the lab, and by whoever talks to them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::lab {

class ControlServer final {
public:
    using Handler = std::function<Result<Json>(const Json& request)>;  // called on the server's thread, one request at a time
    static Result<std::unique_ptr<ControlServer>> create(const std::string& path, Handler handler);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

private:
    ControlServer() = default;
    void work(const std::stop_token& stop);
    void serve(int fd);

    std::string path_;
    UniqueFd listener_, wake_;
    Handler handler_;
    std::jthread thread_;
};

// One request to the server at `path`. Errors: kUnavailable (nobody listens), or the one that the handler gave.
Result<Json> control_request(const std::string& path, const Json& request, std::chrono::milliseconds deadline = std::chrono::seconds(20));

}  // namespace blanket::lab
