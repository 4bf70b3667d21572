// SPDX-License-Identifier: GPL-2.0-or-later
// The only process of a dom0 inside a provider's Xen (its /init): loads the uplink modules and uses what they give. One line "PROBE name ok|FAILED: detail" per
// step on the console, "PROBE end" at last. Static. Parameters come from the kernel's command line:
//   peer=ADDRESS      of the provider                        reloads=N     loads of the modules          garbage=CALLS   from dom0, by privcmd
//   ports=1           takes every port there is              twoway=S      TCP in both directions        domu=1          starts a PV guest that calls, too
//   none=1            there is no provider's Xen to be found  bench=N      measures N times              stock=1         as a plain guest, stock frontends
//   exits=1           work between marks in the provider's trace               emulated=1      as a plain guest, with emulated devices
//   none=2            its events come by a line, which this machine has not
//   refused=CALLS     as that PV guest                       hold=1        stays: disks and cards come and go, the backend as well; until the provider ends it
// Run as /sbin/poweroff (the kernel does so then) it ends the machine. `probe serve`: the other end of the measured network.
#include <algorithm>
#include <atomic>
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
    for (const char* name : {"ports", "grants", "grant_frames", "upcalls", "forwarded", "dropped", "sends", "send_failures", "granted_own", "granted_guests"})
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

// The modules that /modules/NAME.list names, in its order.
std::string load_list(const std::string& name) {
    std::ifstream file("/modules/" + name + ".list");
    std::string wrong = file ? "" : "no list of the modules '" + name + "'";
    for (std::string module; wrong.empty() && file >> module;) wrong = load(module.c_str());
    return wrong;
}

// The frontends; what else is loaded is for single steps.
std::string load_all() {
    const bool selftest = parameter("selftest", "0") == "1";
    if (const std::string wrong = load("uplink", selftest ? "selftest=1" : ""); !wrong.empty()) return wrong;
    if (const std::string is = read_text("/sys/module/uplink/parameters/selftest"); is != (selftest ? "Y" : "N")) return "the module's self-test is '" + is + "'";
    if (const std::string wrong = load("uplink-blk", parameter("persistent", "0") == "1" ? "" : "feature_persistent=0"); !wrong.empty()) return wrong;
    return load("uplink-net");
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

// Tells of what comes and goes, each by a step of its own; every five seconds, that the first disk and the network are as they were; and as often, of a second card that it serves.
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
    static std::atomic<bool> second_card = false;  // it has served once
    std::thread([] {
        for (int round = 1;; std::this_thread::sleep_for(std::chrono::seconds(5))) {
            if (!second_card) continue;
            const std::string wrong = use_second_card(false);
            if (second_card) std::printf("PROBE card-alive-%d %s%s\n", round++, wrong.empty() ? "ok" : "not: ", wrong.c_str());
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
    const auto there = [] { return !network_card(1).empty() || (second_card = false); };
    follow("card", there, [] {
        const std::string wrong = use_second_card(true);
        second_card = true;
        return wrong;
    });
    follow("rogue", [] { return exists("/dev/xvdc"); }, rogue_disk);
    follow("rogue-card", [] { return !network_card(9).empty(); }, rogue_card);
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
        if (number("none") == 2 && number("garbage") > 0) step("line-garbage", [&] { return garbage_by_line(number("garbage")); });
        std::printf("PROBE end\n");
        power_off();
    }
    if (number("stock") == 1 || number("emulated") == 1) {
        const bool emulated = number("emulated") == 1;
        step("load", [emulated] { return load_list(emulated ? "emulated" : "stock"); });
        step("disk", [emulated] { return use_disk(true, emulated ? "/dev/sda" : "/dev/xvda"); });
        if (number("exits") == 1) count_exits();
        if (number("bench") > 0) step("network", use_network);
        for (int round = 0; round < number("bench"); ++round) bench();
        std::printf("PROBE end\n");
        power_off();
    }
    step("load", load_all);
    std::printf("PROBE provider %s\n", read_text("/sys/bus/blanket/provider").c_str());
    step("disk", [] { return use_disk(true); });
    step("network", use_network);
    std::printf("PROBE counters%s\n", counters().c_str());
    if (number("exits") == 1) count_exits();
    for (int round = 0; round < number("bench"); ++round) bench();
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
