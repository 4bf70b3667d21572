// SPDX-License-Identifier: GPL-2.0-or-later
// QMP: greeting, qmp_capabilities, then {"execute"} -> {"return"} | {"error"}, one JSON text per line; see qmp.hpp.
#include "tests/lab/qmp.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

namespace blanket::lab {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxMessage = 4u << 20;

}  // namespace

Result<Qmp> Qmp::connect(const std::string& path, std::chrono::milliseconds deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is too long", path);
    std::memcpy(address.sun_path, path.data(), path.size());
    const auto until = Clock::now() + deadline;
    for (;;) {
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!fd) return fail_errno("socket", path);
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
            Qmp qmp(std::move(fd));
            BLANKET_TRY(const Json greeting, qmp.read_message(until));
            if (!greeting.contains("QMP")) return fail(Kind::kIo, "{} does not greet like QEMU", path);
            BLANKET_CHECK(qmp.execute("qmp_capabilities"));
            return qmp;
        }
        if (Clock::now() >= until) return fail(Kind::kTimeout, "QEMU did not open {} within {} ms", path, deadline.count());
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

Result<Json> Qmp::read_message(Clock::time_point until) {
    for (;;) {
        if (const auto end = buffer_.find('\n'); end != std::string::npos) {
            const std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            return parse_json(line, kMaxMessage);
        }
        if (buffer_.size() > kMaxMessage) return fail(Kind::kIo, "QEMU's answer is longer than {} bytes", kMaxMessage);
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
        if (left <= 0) return fail(Kind::kTimeout, "QEMU does not answer");
        pollfd item{fd_.get(), POLLIN, 0};
        if (::poll(&item, 1, static_cast<int>(std::min<long long>(left, 1000))) <= 0) continue;
        std::array<std::byte, 8192> chunk{};
        BLANKET_TRY(const std::size_t got, read_some(fd_.get(), chunk));
        if (got == 0) return fail(Kind::kUnavailable, "QEMU closed its control socket");
        buffer_.append(reinterpret_cast<const char*>(chunk.data()), got);
    }
}

Result<Json> Qmp::execute(const std::string& command, const Json& arguments, std::chrono::milliseconds deadline) {
    Json request{{"execute", command}};
    if (!arguments.empty()) request["arguments"] = arguments;
    BLANKET_CHECK(write_all(fd_.get(), as_bytes(request.dump() + "\n")));
    const auto until = Clock::now() + deadline;
    for (;;) {
        BLANKET_TRY(Json message, read_message(until));
        if (message.contains("event")) {
            if (events_.size() >= 1000) events_.erase(events_.begin());
            events_.push_back(std::move(message));
            continue;
        }
        if (message.contains("return")) return std::move(message["return"]);
        return fail(Kind::kInvalid, "QEMU refuses '{}': {}", command, json_string_or(message.value("error", Json::object()), "desc", message.dump()));
    }
}

}  // namespace blanket::lab
