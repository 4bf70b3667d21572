// SPDX-License-Identifier: GPL-2.0-or-later
// The only process of a dom0 inside a provider's Xen (its /init): loads the uplink modules and uses what they give. One line "PROBE name ok|FAILED: detail" per
// step on the console, "PROBE end" at last. Static. Parameters come from the kernel's command line:
//   peer=ADDRESS      of the provider                        reloads=N     loads of the modules          garbage=CALLS   from dom0, by privcmd
//   ports=1           takes every port there is              twoway=S      TCP in both directions        domu=1          starts a PV guest that calls, too
//   none=1            there is no provider's Xen to be found  bench=1      measures                      stock=1         as a plain guest, stock frontends
//   none=2            its events come by a line, which this machine has not
//   refused=CALLS     as that PV guest                       hold=1        stays: disks and cards come and go, the backend as well; until the provider ends it
// Run as /sbin/poweroff (the kernel does so then) it ends the machine. `probe serve`: the other end of the measured network.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <set>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/probe.hpp"

namespace blanket::rig {

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

bool wait_for(const std::function<bool()>& there, std::chrono::seconds deadline) {
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

std::string load(const char* name, const char* options) {
    const int fd = ::open((std::string("/modules/") + name + ".ko").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::string("open ") + name + ": " + errno_text();
    const long rc = ::syscall(SYS_finit_module, fd, options, 0);
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

std::string use_disk(bool write, const std::string& name) {
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
        else if (!holds(words, at / 8, kProviderSeed)) wrong = "wrong data in the piece at " + std::to_string(at);
    }
    for (std::uint64_t at = 0; write && at < kRegionBytes && wrong.empty(); at += kPiece) {
        fill(words, at / 8, kInsideSeed);
        if (::pwrite(fd, memory, kPiece, static_cast<off_t>(kRegionBytes + at)) != static_cast<ssize_t>(kPiece)) wrong = "write: " + errno_text();
    }
    if (write && wrong.empty() && ::fsync(fd) != 0) wrong = "fsync: " + errno_text();
    std::free(memory);
    ::close(fd);
    return wrong;
}

// The frontends; what else is loaded is for single steps.
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

// A table of grants that is there once does not grow with each load.
std::string reload(int times) {
    const std::string frames = read_text("/sys/bus/blanket/grant_frames");
    for (int i = 0; i < times; ++i) {
        std::string wrong = nothing_left();
        if (wrong.empty()) wrong = load_all();
        if (wrong.empty()) wrong = use_disk(false);
        if (wrong.empty()) wrong = use_network();
        if (wrong.empty() && read_text("/sys/bus/blanket/grant_frames") != frames) wrong = frames + " grant frames before, now" + counters();
        if (!wrong.empty()) return "round " + std::to_string(i) + ": " + wrong;
    }
    return "";
}

// ---- measuring: the same work with each way to the disk and the network; only the ratio of two ways means anything under emulation ----

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
                const std::uint64_t place = (anywhere ? word_at(step, 1) : step) % places;
                const auto at = static_cast<off_t>(base + place * size);
                if (write) fill({static_cast<std::uint64_t*>(memory), size / 8}, static_cast<std::uint64_t>(at) / 8 - kRegionBytes / 8, kInsideSeed);
                const ssize_t done = write ? ::pwrite(fd, memory, size, at) : ::pread(fd, memory, size, at);
                const bool right = done == static_cast<ssize_t>(size) &&
                                   (write || holds({static_cast<std::uint64_t*>(memory), size / 8}, static_cast<std::uint64_t>(at) / 8, kProviderSeed));
                if (!right) std::printf("PROBE bench FAILED: wrong data or error at %lld\n", static_cast<long long>(at));
            }
            std::free(memory);
            ::close(fd);
        });
    }
}

// What one request costs at the hypervisor's door: events sent to the provider (a hypercall each) and events of the provider that came. Only inside.
void count_events(const char* name, int count, int depth) {
    if (!exists("/sys/bus/blanket/sends")) return;
    const auto counted = [](const char* what) { return std::strtod(read_text(std::string("/sys/bus/blanket/") + what).c_str(), nullptr); };
    const double sends = counted("sends"), upcalls = counted("upcalls");
    disk_work(false, 4096, count, true, depth);
    told((std::string("kicks_") + name).c_str(), (counted("sends") - sends) / count, "per_request");
    told((std::string("events_") + name).c_str(), (counted("upcalls") - upcalls) / count, "per_request");
}

void bench() {
    disk_work(false, kMeg, 4, false, 1);  // warm
    told("read_1m", 64 / seconds_of([] { disk_work(false, kMeg, 64, false, 1); }), "MiB/s");
    told("write_1m", 32 / seconds_of([] { disk_work(true, kMeg, 32, false, 1); }), "MiB/s");
    told("read_4k_qd1", 800 / seconds_of([] { disk_work(false, 4096, 800, true, 1); }), "1/s");
    told("write_4k_qd1", 800 / seconds_of([] { disk_work(true, 4096, 800, true, 1); }), "1/s");
    told("read_4k_qd32", 3200 / seconds_of([] { disk_work(false, 4096, 3200, true, 32); }), "1/s");
    count_events("qd1", 800, 1);
    count_events("qd8", 1600, 8);
    network_work("tcp_out", 'S');
    network_work("tcp_in", 'G');
    network_work("tcp_request", 'E');
}

[[noreturn]] void power_off() {
    ::sync();
    ::reboot(RB_POWER_OFF);
    for (;;) ::pause();
}

// A disk whose provider lies from the sector on that is read first here: what is asked after that ends with an error, and soon.
std::string rogue_disk() {
    int fd = -1;
    if (!wait_for([&] { return (fd = ::open("/dev/xvdc", O_RDWR | O_DIRECT | O_CLOEXEC)) >= 0; }, std::chrono::seconds(10))) return "open: " + errno_text();
    void* memory = nullptr;
    if (::posix_memalign(&memory, 4096, 4096) != 0) return "no memory";
    const ssize_t before = ::pread(fd, memory, 4096, 8 * kMeg);  // with this one it may still be honest
    const ssize_t after = ::pread(fd, memory, 4096, 12 * kMeg);  // the end of the disk, where it has gone meanwhile
    std::free(memory);
    ::close(fd);
    return after < 0 || (before < 0 && after == 0) ? "" : "the disk is still believed";
}

// Tells of what comes and goes, each by a step of its own; every five seconds, that the first disk and the network are as they were.
[[noreturn]] void hold() {
    std::printf("PROBE waiting\n");
    std::thread([] {
        for (int round = 1;; ++round) {
            std::this_thread::sleep_for(std::chrono::seconds(5));
            const std::string disk = parameter("alive", "1") == "1" ? use_disk(false) : "", net = use_network();
            if (disk.empty() && net.empty()) std::printf("PROBE alive-%d ok\n", round);
            else std::printf("PROBE alive-%d not: %s %s\n", round, disk.c_str(), net.c_str());
        }
    }).detach();
    const auto follow = [](const char* what, const std::function<bool()>& there, const std::function<std::string()>& use) {
        std::thread([=] {
            for (int round = 1;; ++round) {
                while (!there()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
                step((std::string(what) + "-attach-" + std::to_string(round)).c_str(), use);
                while (there()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
                std::printf("PROBE %s-detach-%d ok\n", what, round);
            }
        }).detach();
    };
    follow("disk", [] { return exists("/dev/xvdb"); }, [] { return use_disk(false, "/dev/xvdb"); });
    follow("card", [] { return !network_card(1).empty(); }, [] { return std::string(); });
    follow("rogue", [] { return exists("/dev/xvdc"); }, rogue_disk);
    for (;;) ::pause();
}

}  // namespace blanket::rig

using namespace blanket::rig;

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
    const auto number = [](const char* name) { return std::atoi(parameter(name, "0").c_str()); };
    if (const int calls = number("refused"); calls > 0 || number("none") > 0) {
        // Linux refuses the calls of a guest's user space by itself; here the hypervisor's answer is wanted.
        step("load", [] { return load("xen-privcmd", "unrestricted=1"); });
        if (calls > 0) step("refused", [calls] { return refused_in_domu(calls); });
        if (number("none") == 1) step("none", no_provider);
        if (number("none") == 2) step("no-line", no_line);
        std::printf("PROBE end\n");
        power_off();
    }
    if (number("stock") == 1) {
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
    if (number("bench") == 1) bench();
    if (number("twoway") > 0) step("both-ways", [&] { return both_ways(number("twoway")); });
    step("reload", [&] { return reload(number("reloads")); });
    std::printf("PROBE counters%s\n", counters().c_str());
    if (number("garbage") > 0 || number("ports") == 1 || number("domu") == 1) load("xen-privcmd");
    if (number("ports") == 1) step("ports", exhaustion);
    if (number("garbage") > 0) step("garbage", [&] { return garbage(number("garbage")); });
    if (number("domu") == 1) step("domu", start_domu);
    std::printf("PROBE counters%s\n", counters().c_str());
    if (number("hold") == 1) hold();
    std::printf("PROBE end\n");
    std::fflush(stdout);
    power_off();
}
