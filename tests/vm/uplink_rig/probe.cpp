// SPDX-License-Identifier: GPL-2.0-or-later
// The only process of a dom0 inside a provider's Xen (its /init): loads the uplink modules and uses what they give. One line "PROBE name ok|FAILED: detail" per
// step on the console, "PROBE end" at last. Static; parameters come from the kernel's command line: reloads=N, peer=ADDRESS, garbage=CALLS, bench=1: measure,
// stock=1: as a plain guest with the kernel's own frontends, and hold=1: stay, and tell of a
// second disk that comes and goes, until the provider asks for the end. Run as /sbin/poweroff (the kernel does so then) it ends the machine. `probe serve`: the other end of the measured network.
#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <memory>
#include <net/if.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "hypercall-passthrough/abi/xblanket.h"
#include "tests/vm/uplink_rig/pattern.hpp"

namespace {

using blanket::rig::kRegionBytes;
using Clock = std::chrono::steady_clock;

std::string errno_text() { return std::strerror(errno); }

std::string read_text(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string parameter(const std::string& name, const std::string& otherwise) {
    std::ifstream file("/proc/cmdline");
    for (std::string word; file >> word;)
        if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
    return otherwise;
}

bool wait_for(const std::function<bool()>& there, std::chrono::seconds deadline = std::chrono::seconds(60)) {
    for (const auto until = Clock::now() + deadline; Clock::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(50)))
        if (there()) return true;
    return there();
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// A step's function returns "" or what is wrong.
bool step(const char* name, const std::function<std::string()>& work) {
    const auto start = Clock::now();
    const std::string wrong = work();
    std::printf("PROBE %s %s%s (%.2f s)\n", name, wrong.empty() ? "ok" : "FAILED: ", wrong.c_str(), std::chrono::duration<double>(Clock::now() - start).count());
    std::fflush(stdout);
    return wrong.empty();
}

std::string load(const char* name) {
    const int fd = ::open((std::string("/modules/") + name + ".ko").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::string("open ") + name + ": " + errno_text();
    const long rc = ::syscall(SYS_finit_module, fd, "", 0);
    const std::string why = errno_text();
    ::close(fd);
    return rc == 0 ? "" : std::string("load ") + name + ": " + why;
}

std::string unload(const char* name) {
    return ::syscall(SYS_delete_module, name, O_NONBLOCK) == 0 ? "" : std::string("unload ") + name + ": " + errno_text();
}

std::string counters() {
    std::string text;
    for (const char* name : {"ports", "grants", "grant_frames", "upcalls", "forwarded", "dropped", "sends", "send_failures"})
        text += std::string(" ") + name + "=" + read_text(std::string("/sys/bus/blanket/") + name);
    return text;
}

std::string network_card() {
    std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/sys/bus/blanket/devices/vif-0/net"), ::closedir);
    if (!folder) folder.reset(::opendir("/sys/bus/xen/devices/vif-0/net"));
    if (!folder) return "";
    while (const dirent* entry = ::readdir(folder.get()))
        if (entry->d_name[0] != '.') return entry->d_name;
    return "";
}

std::string use_disk(bool write, const std::string& name = "/dev/xvda") {
    if (!wait_for([&] { return exists(name); })) return "no " + name + "; state " + read_text("/sys/bus/blanket/devices/vbd-51712/state");
    int fd = -1;  // the name is there a moment before the disk is
    if (!wait_for([&] { return (fd = ::open(name.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)) >= 0; }, std::chrono::seconds(10))) return "open: " + errno_text();
    constexpr std::size_t kPiece = 1 << 20;
    void* memory = nullptr;
    if (::posix_memalign(&memory, 4096, kPiece) != 0) return "no memory";
    const std::span<std::uint64_t> words(static_cast<std::uint64_t*>(memory), kPiece / 8);
    std::string wrong;
    for (std::uint64_t at = 0; at < kRegionBytes && wrong.empty(); at += kPiece) {
        if (::pread(fd, memory, kPiece, static_cast<off_t>(at)) != static_cast<ssize_t>(kPiece)) wrong = "read: " + errno_text();
        else if (!blanket::rig::holds(words, at / 8, blanket::rig::kProviderSeed)) wrong = "wrong data in the piece at " + std::to_string(at);
    }
    for (std::uint64_t at = 0; write && at < kRegionBytes && wrong.empty(); at += kPiece) {
        blanket::rig::fill(words, at / 8, blanket::rig::kInsideSeed);
        if (::pwrite(fd, memory, kPiece, static_cast<off_t>(kRegionBytes + at)) != static_cast<ssize_t>(kPiece)) wrong = "write: " + errno_text();
    }
    if (write && wrong.empty() && ::fsync(fd) != 0) wrong = "fsync: " + errno_text();
    std::free(memory);
    ::close(fd);
    return wrong;
}

std::string bring_up(const std::string& card) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    card.copy(request.ifr_name, IFNAMSIZ - 1);
    auto* address = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
    address->sin_family = AF_INET;
    ::inet_pton(AF_INET, "10.99.0.2", &address->sin_addr);
    std::string wrong;
    if (::ioctl(fd, SIOCSIFADDR, &request) != 0) wrong = "address: " + errno_text();
    ::inet_pton(AF_INET, "255.255.255.0", &address->sin_addr);
    if (wrong.empty() && ::ioctl(fd, SIOCSIFNETMASK, &request) != 0) wrong = "netmask: " + errno_text();
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (wrong.empty() && ::ioctl(fd, SIOCSIFFLAGS, &request) != 0) wrong = "up: " + errno_text();
    ::close(fd);
    return wrong;
}

// The peer's sshd speaks first: one line of it proves both directions.
std::string use_network() {
    if (!wait_for([] { return !network_card().empty(); })) return "no network card; state " + read_text("/sys/bus/blanket/devices/vif-0/state");
    if (const std::string wrong = bring_up(network_card()); !wrong.empty()) return wrong;
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(22);
    ::inet_pton(AF_INET, parameter("peer", "10.99.0.1").c_str(), &peer.sin_addr);
    std::string wrong;
    const bool answered = wait_for([&] {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        std::array<char, 64> line{};
        bool good = false;
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) wrong = "connect: " + errno_text();
        else if (::recv(fd, line.data(), line.size() - 1, 0) <= 0) wrong = "receive: " + errno_text();
        else good = std::string(line.data()).starts_with("SSH-");
        ::close(fd);
        return good;
    });
    return answered ? "" : wrong;
}

std::string load_all() {
    for (const char* name : {"uplink", "uplink-blk", "uplink-net"})
        if (const std::string wrong = load(name); !wrong.empty()) return wrong;
    return "";
}

// What is left of a load when the frontends have gone: the store's port, and no grant.
std::string nothing_left() {
    for (const char* name : {"uplink_net", "uplink_blk"})
        if (const std::string wrong = unload(name); !wrong.empty()) return wrong;
    wait_for([] { return read_text("/sys/bus/blanket/grants") == "0"; }, std::chrono::seconds(10));
    const std::string ports = read_text("/sys/bus/blanket/ports"), grants = read_text("/sys/bus/blanket/grants");
    if (ports != "1" || grants != "0") return "left:" + counters();
    return unload("uplink");
}

long hypercall(int privcmd, unsigned cmd, void* arg) {
    struct {
        std::uint64_t op, arg[5];
    } call{XBLANKET_HYPERCALL, {cmd, reinterpret_cast<std::uint64_t>(arg), 0, 0, 0}};
    const long rc = ::ioctl(privcmd, _IOC(_IOC_NONE, 'P', 0, sizeof call), &call);
    return rc < 0 ? -errno : rc;
}

// Garbage from dom0, with the modules away: the hypervisor lives, nothing is left, and the modules work again. Left out: what is meant to end the machine, and
// grant frames over pages of dom0 that it uses (it may do that to itself).
std::string garbage(int calls) {
    if (const std::string wrong = nothing_left(); !wrong.empty()) return wrong;
    const int privcmd = ::open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
    if (privcmd < 0) return "privcmd: " + errno_text();
    alignas(4096) static std::array<std::uint64_t, 512> page{};
    ::mlock(page.data(), sizeof page);
    std::uint64_t state = 1;
    const auto random = [&state] { return blanket::rig::word_at(state++, 0x66757a7a); };
    int refused = 0;
    for (int i = 0; i < calls; ++i) {
        auto cmd = static_cast<unsigned>(random() % 14);
        if (random() % 8 == 0) cmd = static_cast<unsigned>(random());
        if (cmd == XBLANKET_SHUTDOWN || cmd == XBLANKET_UNPLUG) continue;
        for (auto& word : page) word = random() % 4 == 0 ? random() : random() % 4;
        if (cmd == XBLANKET_GNTTAB_MAP)
            for (std::size_t at = 2; at < 2 + XBLANKET_GRANT_BATCH; ++at) page[at] |= std::uint64_t{1} << 45;
        void* const arg = random() % 16 == 0 ? reinterpret_cast<void*>(random()) : page.data() + random() % 500;
        refused += hypercall(privcmd, cmd, arg) < 0 ? 1 : 0;
    }
    xblanket_stats stats{};
    ::mlock(&stats, sizeof stats);
    const long reset = hypercall(privcmd, XBLANKET_RESET, nullptr), told = hypercall(privcmd, XBLANKET_STATS, &stats);
    ::close(privcmd);
    if (reset != 0 || told != 0) return "reset " + std::to_string(reset) + ", stats " + std::to_string(told);
    if (stats.ports != 0) return std::to_string(stats.ports) + " ports left";
    if (refused < calls / 4) return "only " + std::to_string(refused) + " of " + std::to_string(calls) + " calls refused";
    if (const std::string wrong = load_all(); !wrong.empty()) return wrong;
    if (const std::string wrong = use_disk(false); !wrong.empty()) return wrong;
    return use_network();
}

std::string reload(int times) {
    for (int i = 0; i < times; ++i) {
        std::string wrong = nothing_left();
        if (wrong.empty()) wrong = load_all();
        if (wrong.empty()) wrong = use_disk(false);
        if (wrong.empty()) wrong = use_network();
        if (!wrong.empty()) return "round " + std::to_string(i) + ": " + wrong;
    }
    return "";
}

// ---- measuring: the same work with each way to the disk and the network; only the ratio of two ways means anything under emulation ----

constexpr std::size_t kMeg = 1 << 20;
constexpr std::size_t kStream = 24 * kMeg;

void told(const char* name, double value, const char* unit) { std::printf("PROBE bench %s %.2f %s\n", name, value, unit); }

double seconds_of(const std::function<void()>& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// `count` pieces of `size` bytes at places of the region that starts at `base`: in order, or anywhere; by as many threads as the queue is deep.
void disk_work(bool write, std::size_t size, int count, bool anywhere, int depth) {
    const std::uint64_t base = write ? kRegionBytes : 0, places = kRegionBytes / size;
    std::vector<std::jthread> threads;
    for (int t = 0; t < depth; ++t) {
        threads.emplace_back([=] {
            const int fd = ::open("/dev/xvda", O_RDWR | O_DIRECT | O_CLOEXEC);
            void* memory = nullptr;
            if (fd < 0 || ::posix_memalign(&memory, 4096, size) != 0) return;
            for (int i = 0; i < count / depth; ++i) {
                const auto step = static_cast<std::uint64_t>(t) * 1'000'003 + static_cast<std::uint64_t>(i);
                const std::uint64_t place = (anywhere ? blanket::rig::word_at(step, 1) : step) % places;
                const auto at = static_cast<off_t>(base + place * size);
                if (write) blanket::rig::fill({static_cast<std::uint64_t*>(memory), size / 8}, static_cast<std::uint64_t>(at) / 8 - kRegionBytes / 8, blanket::rig::kInsideSeed);
                const ssize_t done = write ? ::pwrite(fd, memory, size, at) : ::pread(fd, memory, size, at);
                const bool right = done == static_cast<ssize_t>(size) &&
                                   (write || blanket::rig::holds({static_cast<std::uint64_t*>(memory), size / 8}, static_cast<std::uint64_t>(at) / 8, blanket::rig::kProviderSeed));
                if (!right) std::printf("PROBE bench FAILED: wrong data or error at %lld\n", static_cast<long long>(at));
            }
            std::free(memory);
            ::close(fd);
        });
    }
}

int dial() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(7777);
    ::inet_pton(AF_INET, parameter("peer", "10.99.0.1").c_str(), &peer.sin_addr);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) == 0) return fd;
    ::close(fd);
    return -1;
}

std::size_t receive(int fd, std::size_t want) {
    std::vector<char> buffer(64 * 1024);
    std::size_t got = 0;
    while (got < want) {
        const ssize_t some = ::recv(fd, buffer.data(), std::min(buffer.size(), want - got), 0);
        if (some <= 0) break;
        got += static_cast<std::size_t>(some);
    }
    return got;
}

bool send_bytes(int fd, std::size_t count) {
    const std::vector<char> buffer(64 * 1024, 'x');
    while (count > 0) {
        const ssize_t some = ::send(fd, buffer.data(), std::min(buffer.size(), count), MSG_NOSIGNAL);
        if (some <= 0) return false;
        count -= static_cast<std::size_t>(some);
    }
    return true;
}

// One request per connection: 'S' takes kStream bytes and says so, 'G' gives them, 'E' echoes pieces of 64 bytes until the end.
void answer(int fd) {
    char what = 0;
    if (::recv(fd, &what, 1, 0) == 1) {
        if (what == 'S' && receive(fd, kStream) == kStream) send_bytes(fd, 1);
        if (what == 'G') send_bytes(fd, kStream);
        while (what == 'E' && receive(fd, 64) == 64 && send_bytes(fd, 64)) {
        }
    }
    ::close(fd);
}

int serve() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_port = htons(7777);
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 || ::listen(listener, 8) != 0) return 1;
    for (;;)
        if (const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0) answer(fd);
}

void network_work(const char* name, char what) {
    const int fd = dial();
    constexpr int kRounds = 400;
    bool good = fd >= 0 && ::send(fd, &what, 1, MSG_NOSIGNAL) == 1;
    const double s = seconds_of([&] {
        if (what == 'S') good = good && send_bytes(fd, kStream) && receive(fd, 1) == 1;
        if (what == 'G') good = good && receive(fd, kStream) == kStream;
        for (int i = 0; what == 'E' && good && i < kRounds; ++i) good = send_bytes(fd, 64) && receive(fd, 64) == 64;
    });
    ::close(fd);
    if (!good) std::printf("PROBE bench FAILED: %s\n", name);
    else told(name, what == 'E' ? kRounds / s : static_cast<double>(kStream) / kMeg / s, what == 'E' ? "1/s" : "MiB/s");
}

void bench() {
    disk_work(false, kMeg, 4, false, 1);  // warm
    told("read_1m", 64 / seconds_of([] { disk_work(false, kMeg, 64, false, 1); }), "MiB/s");
    told("write_1m", 32 / seconds_of([] { disk_work(true, kMeg, 32, false, 1); }), "MiB/s");
    told("read_4k_qd1", 800 / seconds_of([] { disk_work(false, 4096, 800, true, 1); }), "1/s");
    told("write_4k_qd1", 800 / seconds_of([] { disk_work(true, 4096, 800, true, 1); }), "1/s");
    told("read_4k_qd32", 3200 / seconds_of([] { disk_work(false, 4096, 3200, true, 32); }), "1/s");
    network_work("tcp_out", 'S');
    network_work("tcp_in", 'G');
    network_work("tcp_request", 'E');
}

[[noreturn]] void power_off() {
    ::sync();
    ::reboot(RB_POWER_OFF);
    for (;;) ::pause();
}

[[noreturn]] void hold() {
    std::printf("PROBE waiting\n");
    for (int round = 1;; ++round) {
        while (!exists("/dev/xvdb")) std::this_thread::sleep_for(std::chrono::milliseconds(100));
        step(("attach-" + std::to_string(round)).c_str(), [] { return use_disk(false, "/dev/xvdb"); });
        while (exists("/dev/xvdb")) std::this_thread::sleep_for(std::chrono::milliseconds(100));
        std::printf("PROBE detach-%d ok\n", round);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (std::string(argv[0]).ends_with("poweroff")) power_off();
    if (argc == 2 && std::string(argv[1]) == "serve") return serve();
    if (::getpid() != 1) return 2;
    ::mkdir("/proc", 0755);
    ::mkdir("/sbin", 0755);
    if (::link("/init", "/sbin/poweroff") != 0) std::printf("PROBE no /sbin/poweroff: %s\n", errno_text().c_str());
    ::mkdir("/sys", 0755);
    ::mkdir("/dev", 0755);
    ::mount("proc", "/proc", "proc", 0, nullptr);
    ::mount("sysfs", "/sys", "sysfs", 0, nullptr);
    ::mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr);
    if (const int console = ::open("/dev/console", O_RDWR); console >= 0) {
        for (int fd = 0; fd < 3; ++fd) ::dup2(console, fd);
    }
    std::printf("PROBE start %s\n", read_text("/proc/version").c_str());
    if (parameter("stock", "0") == "1") {
        step("load", [] {
            const std::string wrong = load("xen-blkfront");
            return wrong.empty() ? load("xen-netfront") : wrong;
        });
        step("disk", [] { return use_disk(true); });
        step("network", use_network);
        bench();
        std::printf("PROBE end\n");
        power_off();
    }
    step("load", load_all);
    std::printf("PROBE provider %s\n", read_text("/sys/bus/blanket/provider").c_str());
    step("disk", [] { return use_disk(true); });
    step("network", use_network);
    std::printf("PROBE counters%s\n", counters().c_str());
    if (parameter("bench", "0") == "1") bench();
    step("reload", [] { return reload(std::atoi(parameter("reloads", "3").c_str())); });
    std::printf("PROBE counters%s\n", counters().c_str());
    if (const int calls = std::atoi(parameter("garbage", "0").c_str()); calls > 0) {
        load("xen-privcmd");
        step("garbage", [calls] { return garbage(calls); });
        std::printf("PROBE counters%s\n", counters().c_str());
    }
    if (parameter("hold", "0") == "1") hold();
    std::printf("PROBE end\n");
    std::fflush(stdout);
    power_off();
}
