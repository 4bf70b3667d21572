// SPDX-License-Identifier: GPL-2.0-or-later
// The probe calls the hypervisor itself: with garbage, until nothing is left, from where it must not, and where there is no provider.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "hypercall-passthrough/abi/xblanket.h"
#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/probe.hpp"

namespace blanket::rig {
namespace {

struct Privcmd {
    int fd = ::open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
    Privcmd() = default;
    Privcmd(const Privcmd&) = delete;
    Privcmd& operator=(const Privcmd&) = delete;
    ~Privcmd() { ::close(fd); }
};

long any_hypercall(int privcmd, std::uint64_t op, std::uint64_t cmd, void* arg) {
    struct {
        std::uint64_t op, arg[5];
    } call{op, {cmd, reinterpret_cast<std::uint64_t>(arg), 0, 0, 0}};
    const long rc = ::ioctl(privcmd, _IOC(_IOC_NONE, 'P', 0, sizeof call), &call);
    return rc < 0 ? -errno : rc;
}

long hypercall(int privcmd, unsigned cmd, void* arg) { return any_hypercall(privcmd, XBLANKET_HYPERCALL, cmd, arg); }

// One that every domain may call: major << 16 | minor of the Xen below, or what stands in the way, Linux included.
long version_of_xen(int privcmd) {
    constexpr std::uint64_t kXenVersion = 17, kVersion = 0;
    return any_hypercall(privcmd, kXenVersion, kVersion, nullptr);
}

// An argument of a call: in memory that stays where it is.
template <typename T>
T& argument() {
    alignas(4096) static std::array<std::byte, 4096> page;
    page = {};
    ::mlock(page.data(), page.size());
    return *reinterpret_cast<T*>(page.data());
}

std::uint64_t ports_of(int privcmd) {
    auto& stats = argument<xblanket_stats>();
    return hypercall(privcmd, XBLANKET_STATS, &stats) == 0 ? stats.ports : ~std::uint64_t{0};
}

std::string everything_again() {
    if (const std::string wrong = load_all(); !wrong.empty()) return wrong;
    if (const std::string wrong = use_disk(false); !wrong.empty()) return wrong;
    return use_network();
}

// Garbage from dom0: the hypervisor lives, and nothing is left. What would end the machine is kept from doing so: a shutdown has a
// reason that there is not (and 2, a suspend, which is refused), and a grant frame lies over nothing that dom0 uses (it may do that to itself): it is beyond all memory, or in the
// first MiB, which is no domain's. No emulated device is there to be taken away, and the provider says so.
std::string call_with_garbage(int privcmd, int calls) {
    alignas(4096) static std::array<std::uint64_t, 512> page{};
    ::mlock(page.data(), sizeof page);
    std::uint64_t state = 1;
    const auto random = [&state] { return word_at(state++, 0x66757a7a); };
    int refused = 0, shutdowns = 0, unplugs = 0;
    for (int i = 0; i < calls; ++i) {
        auto cmd = static_cast<unsigned>(random() % 14);
        if (random() % 8 == 0) cmd = static_cast<unsigned>(random());
        for (auto& word : page) word = random() % 4 == 0 ? random() : random() % 4;
        std::uint64_t* const words = page.data() + random() % (page.size() - sizeof(xblanket_gnttab_map) / 8);
        if (cmd == XBLANKET_SHUTDOWN) words[0] = (words[0] & ~std::uint64_t{0xffffffff}) | (random() % 2 == 0 ? 2 : 4 + random() % 0xfffffff0);
        if (cmd == XBLANKET_GNTTAB_MAP) {
            if (random() % 4 != 0) words[0] = random() % 8 | random() % (XBLANKET_GRANT_BATCH + 2) << 32;  // first and count: as far as to the frames
            for (std::size_t at = 2; at < 2 + XBLANKET_GRANT_BATCH; ++at) words[at] = random() % 2 == 0 ? random() % 256 : words[at] | std::uint64_t{1} << (24 + random() % 40);
        }
        const bool ends = cmd == XBLANKET_SHUTDOWN;
        void* const arg = !ends && random() % 16 == 0 ? reinterpret_cast<void*>(random()) : words;
        const long rc = hypercall(privcmd, cmd, arg);
        refused += rc < 0 ? 1 : 0;
        if (ends && rc != -EINVAL) return "a shutdown for reason " + std::to_string(words[0] & 0xffffffff) + " says " + std::to_string(rc);
        if (cmd == XBLANKET_UNPLUG && rc != -EINVAL && rc != -EOPNOTSUPP && rc != -EFAULT) return "unplug says " + std::to_string(rc);
        shutdowns += ends ? 1 : 0;
        unplugs += cmd == XBLANKET_UNPLUG ? 1 : 0;
    }
    xblanket_stats stats{};
    ::mlock(&stats, sizeof stats);
    const long reset = hypercall(privcmd, XBLANKET_RESET, nullptr), told_rc = hypercall(privcmd, XBLANKET_STATS, &stats);
    if (reset != 0 || told_rc != 0) return "reset " + std::to_string(reset) + ", stats " + std::to_string(told_rc);
    if (stats.ports != 0) return std::to_string(stats.ports) + " ports left";
    if (refused < calls / 4) return "only " + std::to_string(refused) + " of " + std::to_string(calls) + " calls refused";
    if (shutdowns < calls / 100 || unplugs < calls / 100) return "only " + std::to_string(shutdowns) + " shutdowns and " + std::to_string(unplugs) + " unplugs";
    std::printf("PROBE garbage %d calls, %d refused, %d of them shutdowns; %d unplugs\n", calls, refused, shutdowns, unplugs);
    return "";
}

}  // namespace

// With the modules away; they work again afterwards.
std::string garbage(int calls) {
    if (const std::string wrong = nothing_left(); !wrong.empty()) return wrong;
    const Privcmd privcmd;
    if (privcmd.fd < 0) return "privcmd: " + errno_text();
    if (const std::string wrong = call_with_garbage(privcmd.fd, calls); !wrong.empty()) return wrong;
    return everything_again();
}

// The provider has XBLANKET_MAX_PORTS, less port 0, the store's and the console's; there may be one or the other of its own besides.
std::string exhaustion() {
    constexpr std::size_t kLeast = 4000;
    if (const std::string wrong = nothing_left(); !wrong.empty()) return wrong;
    const Privcmd privcmd;
    if (const auto left = ports_of(privcmd.fd); left != 0) return std::to_string(left) + " ports before";
    auto& query = argument<xblanket_query>();
    if (const long rc = hypercall(privcmd.fd, XBLANKET_QUERY, &query); rc != 0 || query.delivery != XBLANKET_DELIVERY_VECTOR || query.max_ports != XBLANKET_MAX_PORTS)
        return "query " + std::to_string(rc) + ", delivery " + std::to_string(query.delivery) + ", " + std::to_string(query.max_ports) + " ports";
    std::vector<std::uint32_t> ports;
    long rc = 0;
    for (; ports.size() < XBLANKET_MAX_PORTS; ) {
        auto& bind = argument<xblanket_evtchn_bind>();
        rc = hypercall(privcmd.fd, XBLANKET_EVTCHN_BIND, &bind);
        if (rc != 0) break;
        ports.push_back(bind.port);
    }
    std::printf("PROBE exhaustion %zu ports, then %ld\n", ports.size(), rc);
    if (rc != -ENOSPC) return "the last bind says " + std::to_string(rc);
    if (ports.size() < kLeast) return "only " + std::to_string(ports.size()) + " ports";
    if (std::set(ports.begin(), ports.end()).size() != ports.size()) return "a port was given twice";
    if (const auto now = ports_of(privcmd.fd); now != ports.size()) return "counted: " + std::to_string(now);
    // One goes back and can be had again; half by hand, the rest by a reset.
    for (std::size_t i = 0; i < ports.size() / 2; ++i) {
        auto& port = argument<xblanket_evtchn_port>();
        port.port = ports[i];
        if (hypercall(privcmd.fd, XBLANKET_EVTCHN_UNBIND, &port) != 0) return "port " + std::to_string(ports[i]) + " cannot be given back";
        if (i != 0) continue;
        auto& bind = argument<xblanket_evtchn_bind>();
        if (hypercall(privcmd.fd, XBLANKET_EVTCHN_BIND, &bind) != 0 || bind.port != ports[0]) return "the one that was given back cannot be had";
        auto& again = argument<xblanket_evtchn_port>();
        again.port = ports[0];
        hypercall(privcmd.fd, XBLANKET_EVTCHN_UNBIND, &again);
    }
    if (const auto now = ports_of(privcmd.fd); now != ports.size() - ports.size() / 2) return "counted after half: " + std::to_string(now);
    if (hypercall(privcmd.fd, XBLANKET_RESET, nullptr) != 0) return "reset";
    if (const auto left = ports_of(privcmd.fd); left != 0) return std::to_string(left) + " ports left";
    return everything_again();
}

std::string no_provider() {
    const Privcmd privcmd;
    for (unsigned cmd = 0; cmd < 64; ++cmd) {
        auto& any = argument<xblanket_query>();
        if (const long rc = hypercall(privcmd.fd, cmd, &any); rc != -ENOSYS) return "command " + std::to_string(cmd) + " says " + std::to_string(rc);
    }
    return load("uplink").contains("No such device") ? "" : "the module has loaded";
}

std::string no_line() {
    const Privcmd privcmd;
    auto& query = argument<xblanket_query>();
    if (const long rc = hypercall(privcmd.fd, XBLANKET_QUERY, &query); rc != 0 || query.delivery != XBLANKET_DELIVERY_INTX)
        return "query " + std::to_string(rc) + ", delivery " + std::to_string(query.delivery);
    if (const long rc = hypercall(privcmd.fd, XBLANKET_POLL, nullptr); rc < 0) return "poll " + std::to_string(rc);
    auto& line = argument<xblanket_intx>();
    line.pin = 4;
    if (const long rc = hypercall(privcmd.fd, XBLANKET_INTX, &line); rc != -EINVAL) return "a bad pin: " + std::to_string(rc);
    return load("uplink").contains("No such device") ? "" : "the module has loaded";
}

// The same garbage where INTX and POLL are not refused. The provider takes any line of a machine that has none, and raises none.
std::string garbage_by_line(int calls) {
    const Privcmd privcmd;
    if (privcmd.fd < 0) return "privcmd: " + errno_text();
    auto& line = argument<xblanket_intx>();
    line.devfn = 0x10;
    if (const long rc = hypercall(privcmd.fd, XBLANKET_INTX, &line); rc != 0) return "a line: " + std::to_string(rc);
    if (const std::string wrong = call_with_garbage(privcmd.fd, calls); !wrong.empty()) return wrong;
    auto& query = argument<xblanket_query>();
    if (const long rc = hypercall(privcmd.fd, XBLANKET_QUERY, &query); rc != 0 || query.delivery != XBLANKET_DELIVERY_INTX) return "query afterwards " + std::to_string(rc) + ", delivery " + std::to_string(query.delivery);
    if (const long rc = hypercall(privcmd.fd, XBLANKET_POLL, nullptr); rc < 0) return "poll afterwards " + std::to_string(rc);
    return "";
}

// The hypervisor must not even look at the argument of anybody but dom0.
std::string refused_in_domu(int calls) {
    const Privcmd privcmd;
    if (privcmd.fd < 0) return "privcmd: " + errno_text();
    // Linux says -EPERM, too, when it lets nobody call. So by the same way first a call that is everybody's, and again behind the last one.
    const long version = version_of_xen(privcmd.fd);
    if (version < 0x40000) return "a call that every domain may make says " + std::to_string(version);
    std::uint64_t state = 1;
    const auto random = [&state] { return word_at(state++, 0x646f6d75); };
    for (int i = 0; i < calls; ++i) {
        const auto cmd = static_cast<unsigned>(i < 64 ? i : static_cast<int>(random()));
        auto& words = argument<std::array<std::uint64_t, 512>>();
        for (auto& word : words) word = random() % 4 == 0 ? random() : random() % 4;
        void* const arg = i % 3 == 0 ? nullptr : i % 3 == 1 ? words.data() : reinterpret_cast<void*>(random());
        if (const long rc = hypercall(privcmd.fd, cmd, arg); rc != -EPERM) return "command " + std::to_string(cmd) + " says " + std::to_string(rc);
    }
    if (const long again = version_of_xen(privcmd.fd); again != version) return "the call that every domain may make says " + std::to_string(again) + " afterwards";
    std::printf("PROBE domu xen %ld.%ld by the same way\n", version >> 16, version & 0xffff);
    std::printf("PROBE domu %d calls, all -EPERM\n", calls);
    return "";
}

std::string start_domu() {
    const pid_t child = ::fork();
    if (child == 0) {
        ::execl("/start-domu", "start-domu", "/domu/vmlinuz", "/domu/initrd.img", nullptr);
        ::_exit(127);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) return "fork: " + errno_text();
    if (status != 0) return "start-domu ended with status " + std::to_string(WEXITSTATUS(status));
    if (const std::string wrong = use_disk(false); !wrong.empty()) return "afterwards: " + wrong;
    return "";
}

}  // namespace blanket::rig
