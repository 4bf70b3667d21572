// SPDX-License-Identifier: GPL-2.0-or-later
// See console_attach.hpp.
#include "tests/lab/console_attach.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {
namespace {

constexpr auto kLeave = std::byte{0x1d};  // Ctrl-]

class RawTerminal {
public:
    RawTerminal() : active_(::tcgetattr(STDIN_FILENO, &saved_) == 0) {
        if (!active_) return;
        termios raw = saved_;
        ::cfmakeraw(&raw);
        ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    ~RawTerminal() {
        if (active_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

private:
    termios saved_{};
    bool active_;
};

}  // namespace

Result<void> attach_console(const std::string& socket_path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is too long", socket_path);
    std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
    const UniqueFd console(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!console || ::connect(console.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("connect", socket_path);
    const RawTerminal raw;
    std::array<std::byte, 4096> buffer{};
    for (;;) {
        std::array<pollfd, 2> polls{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{console.get(), POLLIN, 0}};
        if (::poll(polls.data(), polls.size(), -1) < 0) continue;
        if (polls[0].revents != 0) {
            BLANKET_TRY(const std::size_t got, read_some(STDIN_FILENO, buffer));
            const auto data = std::span(buffer).first(got);
            if (got == 0 || std::ranges::contains(data, kLeave)) return {};
            BLANKET_CHECK(write_all(console.get(), data));
        }
        if (polls[1].revents != 0) {
            BLANKET_TRY(const std::size_t got, read_some(console.get(), buffer));
            if (got == 0) return {};
            BLANKET_CHECK(write_all(STDOUT_FILENO, std::span(buffer).first(got)));
        }
    }
}

}  // namespace blanket::lab
