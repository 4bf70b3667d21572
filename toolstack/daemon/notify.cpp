// SPDX-License-Identifier: GPL-2.0-or-later
// See notify.hpp.
#include "toolstack/daemon/notify.hpp"

#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {

void notify_systemd(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path == nullptr || std::strlen(path) >= sizeof address.sun_path) return;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path, std::strlen(path));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd) (void)::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length);
}

std::chrono::milliseconds watchdog_interval() {
    const char* text = std::getenv("WATCHDOG_USEC");
    if (text == nullptr) return {};
    const auto usec = parse_number(text, 1, std::uint64_t{1} << 40, "WATCHDOG_USEC");
    return usec ? std::chrono::milliseconds(*usec / 2000) : std::chrono::milliseconds{};
}

}  // namespace blanket
