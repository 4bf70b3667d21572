// SPDX-License-Identifier: GPL-2.0-or-later
// See hold.hpp.
#include "net/hold.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

constexpr std::size_t kMaxFrame = 65'536;

class TapDevice final : public HoldDevice {
public:
    explicit TapDevice(UniqueFd fd) : fd_(std::move(fd)) {}

    Result<unsigned> deliver() override {
        std::array<std::byte, kMaxFrame> frame;
        for (unsigned count = 0;; ++count) {
            const ssize_t got = ::read(fd_.get(), frame.data(), frame.size());
            if (got < 0 && errno == EINTR) continue;
            if (got < 0 && errno == EAGAIN) return count;
            if (got <= 0) return fail(Kind::kIo, "reading held frames: {}", got == 0 ? "end of file" : std::strerror(errno));
            // A frame that the bridge does not take now is lost like any other; the rest goes on.
            if (::write(fd_.get(), frame.data(), static_cast<std::size_t>(got)) < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
                return fail(Kind::kIo, "sending held frames on: {}", std::strerror(errno));
        }
    }

private:
    UniqueFd fd_;
};

void set_name(ifreq& request, const std::string& name) { name.copy(request.ifr_name, IFNAMSIZ - 1); }

}  // namespace

Result<std::unique_ptr<HoldDevice>> SystemHoldHost::open(const std::string& name) {
    if (name.empty() || name.size() >= IFNAMSIZ) return fail(Kind::kInvalid, "'{}' cannot be the name of a network device", name);
    if (::if_nametoindex(name.c_str()) != 0) return fail(Kind::kConflict, "there is a network device '{}' already", name);
    const auto failed = [&](const char* what) { return fail(Kind::kIo, "device '{}': {}: {}", name, what, std::strerror(errno)); };
    UniqueFd tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!tap) return failed("/dev/net/tun");
    ifreq request{};
    set_name(request, name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return failed("TUNSETIFF");
    // The host itself must not talk into it; without IPv6 in the kernel there is no such file.
    (void)write_control("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6", "1");
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return failed("socket");
    ifreq change{};
    set_name(change, name);
    change.ifr_qlen = kHoldFrames;
    if (::ioctl(socket.get(), SIOCSIFTXQLEN, &change) != 0) return failed("SIOCSIFTXQLEN");
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &change) != 0) return failed("SIOCGIFFLAGS");
    change.ifr_flags |= IFF_UP;
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &change) != 0) return failed("SIOCSIFFLAGS");
    return std::make_unique<TapDevice>(std::move(tap));
}

bool SystemHoldHost::carrier(const std::string& vif) {
    const auto text = read_file("/sys/class/net/" + vif + "/carrier", 16);  // unreadable while the device is down
    return text && text->starts_with('1');
}

std::uint64_t SystemHoldHost::sent(const std::string& vif) {
    const auto text = read_file("/sys/class/net/" + vif + "/statistics/rx_packets", 32);
    return text ? parse_number(trim(*text), 0, ~0ull, "frames").value_or(0) : 0;
}

}  // namespace blanket::net
