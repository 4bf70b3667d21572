// SPDX-License-Identifier: GPL-2.0-or-later
// TAP and namespaces; see tap.hpp.
#include "tests/lab/tap.hpp"

#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <memory>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "toolstack/base/process.hpp"

namespace blanket::lab {

Result<void> require_own_network() {
    const std::unique_ptr<struct if_nameindex, decltype(&::if_freenameindex)> list(::if_nameindex(), &::if_freenameindex);
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!list || !fd) return fail_errno("if_nameindex", "interfaces");
    for (const auto* item = list.get(); item->if_index != 0; ++item) {
        ifreq request{};
        std::strncpy(request.ifr_name, item->if_name, IFNAMSIZ - 1);
        if (::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("SIOCGIFFLAGS", item->if_name);
        if ((request.ifr_flags & IFF_LOOPBACK) != 0 || (request.ifr_flags & IFF_UP) == 0) continue;
        return fail_hint(Kind::kPrecondition, std::format("this network namespace is in use: '{}' is up", item->if_name), "start it as: ./dev root unshare -n PROGRAM ...");
    }
    return {};
}

Result<void> enter_network_of(int pid) {
    const std::string path = std::format("/proc/{}/ns/net", pid);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    if (::setns(fd.get(), CLONE_NEWNET) != 0) return fail_errno("setns", path);
    return {};
}

Result<UniqueFd> create_tap(const std::string& name, const std::string& cidr) {
    if (name.empty() || name.size() >= IFNAMSIZ) return fail(Kind::kInvalid, "'{}' is no interface name", name);
    UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return fail_errno("open", "/dev/net/tun");
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return fail_errno("TUNSETIFF", name);
    BLANKET_CHECK(run({"ip", "link", "set", "lo", "up"}));
    BLANKET_CHECK(run({"ip", "address", "add", cidr, "dev", name}));
    BLANKET_CHECK(run({"ip", "link", "set", name, "txqueuelen", "2000", "up"}));
    const std::string setting = "/proc/sys/net/unix/max_dgram_qlen";  // of this namespace; the default is 10
    const UniqueFd qlen(::open(setting.c_str(), O_WRONLY | O_CLOEXEC));
    if (!qlen) return fail_errno("open", setting);
    BLANKET_CHECK(write_all(qlen.get(), as_bytes("512")));
    return fd;
}

}  // namespace blanket::lab
