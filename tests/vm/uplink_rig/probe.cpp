// SPDX-License-Identifier: GPL-2.0-or-later
// The only process of a dom0 inside a provider's Xen (its /init): loads the uplink modules and uses what they give. One line "PROBE name ok|FAILED: detail" per
// step on the console, "PROBE end" at last. Static; parameters come from the kernel's command line: reloads=N, peer=ADDRESS.
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
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

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
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/sys/bus/blanket/devices/vif-0/net"), ::closedir);
    if (!folder) return "";
    while (const dirent* entry = ::readdir(folder.get()))
        if (entry->d_name[0] != '.') return entry->d_name;
    return "";
}

std::string use_disk(bool write) {
    if (!wait_for([] { return exists("/dev/xvda"); })) return "no /dev/xvda; state " + read_text("/sys/bus/blanket/devices/vbd-51712/state");
    const int fd = ::open("/dev/xvda", O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) return "open: " + errno_text();
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

// What is left of a load when the frontends have gone: the store's port, and no grant.
std::string nothing_left() {
    for (const char* name : {"uplink_net", "uplink_blk"})
        if (const std::string wrong = unload(name); !wrong.empty()) return wrong;
    wait_for([] { return read_text("/sys/bus/blanket/grants") == "0"; }, std::chrono::seconds(10));
    const std::string ports = read_text("/sys/bus/blanket/ports"), grants = read_text("/sys/bus/blanket/grants");
    if (ports != "1" || grants != "0") return "left:" + counters();
    return unload("uplink");
}

std::string load_all() {
    for (const char* name : {"uplink", "uplink-blk", "uplink-net"})
        if (const std::string wrong = load(name); !wrong.empty()) return wrong;
    return "";
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

}  // namespace

int main() {
    ::mkdir("/proc", 0755);
    ::mkdir("/sys", 0755);
    ::mkdir("/dev", 0755);
    ::mount("proc", "/proc", "proc", 0, nullptr);
    ::mount("sysfs", "/sys", "sysfs", 0, nullptr);
    ::mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr);
    if (const int console = ::open("/dev/console", O_RDWR); console >= 0) {
        for (int fd = 0; fd < 3; ++fd) ::dup2(console, fd);
    }
    std::printf("PROBE start %s\n", read_text("/proc/version").c_str());
    step("load", load_all);
    std::printf("PROBE provider %s\n", read_text("/sys/bus/blanket/provider").c_str());
    step("disk", [] { return use_disk(true); });
    step("network", use_network);
    std::printf("PROBE counters%s\n", counters().c_str());
    step("reload", [] { return reload(std::atoi(parameter("reloads", "3").c_str())); });
    std::printf("PROBE counters%s\n", counters().c_str());
    std::printf("PROBE end\n");
    std::fflush(stdout);
    ::sync();
    ::reboot(RB_POWER_OFF);
    for (;;) ::pause();
}
