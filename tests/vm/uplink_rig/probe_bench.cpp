// SPDX-License-Identifier: GPL-2.0-or-later
// The probe's measuring: the same work with each way to the disk and the network, and in each kind of guest; only the ratio of two ways means anything under emulation.
#include <algorithm>
#include <cpuid.h>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <set>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/probe.hpp"

namespace blanket::rig {

double seconds_of(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void told(const char* name, double value, const char* unit) {
    std::printf("PROBE bench %s %.3f %s\n", name, value, unit);
    std::fflush(stdout);
}

namespace {

// A mark in the provider's trace: a program's CPUID leaves the machine, in dom0 as in a plain guest (exits.hpp).
void mark() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid(0, a, b, c, d);
}

const std::string& disk() {
    static const std::string name = exists("/dev/sda") ? "/dev/sda" : "/dev/xvda";
    return name;
}

struct Work {
    bool write;
    std::size_t size;
    int count;
    bool anywhere;  // or in order
    int depth;      // threads, each with one request at a time
    bool marked = false;  // in the provider's trace, from the first to the last
    const char* meter = nullptr;  // the name under which the processor's time is told
};

double counted(const char* what) { return std::strtod(read_text(std::string("/sys/bus/blanket/") + what).c_str(), nullptr); }

// What is on the disk where pieces were written, read past this kernel's caches. The whole MiB around them: that is quicker than each by itself.
bool is_written(const std::set<std::uint64_t>& places, std::size_t size, std::uint64_t seed) {
    const int fd = ::open(disk().c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    void* memory = nullptr;
    if (::posix_memalign(&memory, 4096, kMeg) != 0) std::abort();
    bool good = fd >= 0;
    std::uint64_t there = ~std::uint64_t{0};
    for (const std::uint64_t place : places) {
        const std::uint64_t at = place * size, start = at / kMeg * kMeg;
        if (start != there) good = good && ::pread(fd, memory, kMeg, static_cast<off_t>(kRegionBytes + start)) == static_cast<ssize_t>(kMeg);
        there = start;
        good = good && holds(std::span(static_cast<const std::uint64_t*>(memory) + (at - start) / 8, size / 8), at / 8, seed);
    }
    std::free(memory);
    ::close(fd);
    return good;
}

// `count` pieces of `size` bytes of the region to be read, or the one to be written; the seconds that it took. What was read is looked at afterwards, and what was written is read back: that
// is no part of the time. Each work writes something else, so that nothing that was there before passes for it.
double disk_seconds(const Work& work) {
    static std::uint64_t works = 0;
    const std::uint64_t seed = kInsideSeed + ++works * 0x9e3779b97f4a7c15;
    std::set<std::uint64_t> places_written;
    const std::uint64_t base = work.write ? kRegionBytes : 0, places = kRegionBytes / work.size;
    const int each = work.count / work.depth;
    const auto place_of = [&](int thread, int i) {
        const auto step = static_cast<std::uint64_t>(thread) * 1'000'003 + static_cast<std::uint64_t>(i);
        return (work.anywhere ? word_at(step, 1) : step) % places;
    };
    const auto words_of = [&](char* memory) { return std::span(reinterpret_cast<std::uint64_t*>(memory), work.size / 8); };
    void* all = nullptr;
    if (::posix_memalign(&all, 4096, work.size * static_cast<std::size_t>(each * work.depth)) != 0) std::abort();
    const auto piece = [&](int thread, int i) { return static_cast<char*>(all) + work.size * static_cast<std::size_t>(thread * each + i); };
    for (int t = 0; t < work.depth; ++t)
        for (int i = 0; i < each; ++i) {
            if (work.write) fill(words_of(piece(t, i)), place_of(t, i) * work.size / 8, seed);
            if (work.write) places_written.insert(place_of(t, i));
            else std::fill_n(piece(t, i), work.size, 0);  // and so there: no first touch inside the time
        }
    std::vector<int> files;
    for (int t = 0; t < work.depth; ++t) files.push_back(::open(disk().c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    std::optional<Meter> meter;
    if (work.meter != nullptr) meter.emplace(work.meter);
    const double sends = counted("sends");
    if (work.marked) mark();
    const double seconds = seconds_of([&] {
        std::vector<std::jthread> threads;
        for (int t = 0; t < work.depth; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < each; ++i) {
                    const auto at = static_cast<off_t>(base + place_of(t, i) * work.size);
                    const ssize_t done = work.write ? ::pwrite(files[static_cast<std::size_t>(t)], piece(t, i), work.size, at) : ::pread(files[static_cast<std::size_t>(t)], piece(t, i), work.size, at);
                    if (done != static_cast<ssize_t>(work.size)) std::printf("PROBE bench FAILED: %s at %lld\n", errno_text().c_str(), static_cast<long long>(at));
                }
            });
    });
    if (work.marked) mark();
    if (work.marked) std::printf("PROBE sends %.0f\n", counted("sends") - sends);
    if (meter) meter->stop(static_cast<double>(work.size) * each * work.depth / kMeg);
    if (work.write && !is_written(places_written, work.size, seed)) std::printf("PROBE bench FAILED: what was written is not there\n");
    for (int t = 0; !work.write && t < work.depth; ++t)
        for (int i = 0; i < each; ++i)
            if (!holds(words_of(piece(t, i)), place_of(t, i) * work.size / 8, kProviderSeed)) std::printf("PROBE bench FAILED: wrong data\n");
    for (const int fd : files) ::close(fd);
    std::free(all);
    return seconds;
}

void disk_rates() {
    const int part = parameter("slow", "") == "1" ? 8 : 1;  // of the requests, for a device that takes minutes for all
    const auto rate = [](const char* name, const Work& work, const char* unit) { told(name, work.count / work.depth * work.depth / disk_seconds(work), unit); };
    disk_seconds({false, kMeg, 4, false, 1});  // warm
    rate("read_1m", {.write = false, .size = kMeg, .count = 32 / part, .anywhere = false, .depth = 1, .meter = "read_1m"}, "MiB/s");
    rate("write_1m", {.write = true, .size = kMeg, .count = 32 / part, .anywhere = false, .depth = 1, .meter = "write_1m"}, "MiB/s");
    rate("read_4k_qd1", {false, 4096, 800 / part, true, 1}, "1/s");
    rate("write_4k_qd1", {true, 4096, 800 / part, true, 1}, "1/s");
    rate("read_4k_qd32", {.write = false, .size = 4096, .count = 3200 / part, .anywhere = true, .depth = 32, .meter = "read_4k_qd32"}, "1/s");
    rate("write_4k_qd32", {.write = true, .size = 4096, .count = 3200 / part, .anywhere = true, .depth = 32, .meter = "write_4k_qd32"}, "1/s");
}

// What one request costs at the hypervisor's door: events sent to the provider (a hypercall each) and events of the provider that came. Only in a dom0 inside.
void count_events(const char* name, int count, int depth) {
    const double sends = counted("sends"), upcalls = counted("upcalls");
    disk_seconds({false, 4096, count, true, depth});
    told((std::string("kicks_") + name).c_str(), (counted("sends") - sends) / count, "per_request");
    told((std::string("events_") + name).c_str(), (counted("upcalls") - upcalls) / count, "per_request");
}

// Each an operation of lmbench's kind: the microseconds of one.
void processor_times() {
    constexpr int kCalls = 20'000, kTurns = 1'000, kForks = 60;
    told("syscall_null", seconds_of([] { for (int i = 0; i < kCalls; ++i) ::syscall(SYS_getppid); }) / kCalls * 1e6, "us");
    int there[2], back[2];
    if (::pipe2(there, O_CLOEXEC) != 0 || ::pipe2(back, O_CLOEXEC) != 0) std::abort();
    const pid_t other = ::fork();
    char token = 0;
    if (other == 0) {
        ::close(there[1]);
        while (::read(there[0], &token, 1) == 1 && ::write(back[1], &token, 1) == 1) {
        }
        ::_exit(0);
    }
    const double turns = seconds_of([&] {
        for (int i = 0; i < kTurns; ++i)
            if (::write(there[1], &token, 1) != 1 || ::read(back[0], &token, 1) != 1) std::printf("PROBE bench FAILED: the other process\n");
    });
    told("context_switch", turns / kTurns / 2 * 1e6, "us");  // two a turn, each with a pipe's write and read
    for (const int fd : {there[0], there[1], back[0], back[1]}) ::close(fd);
    ::waitpid(other, nullptr, 0);
    told("fork_exit", seconds_of([] {
             for (int i = 0; i < kForks; ++i) {
                 const pid_t child = ::fork();
                 if (child == 0) ::_exit(0);
                 ::waitpid(child, nullptr, 0);
             }
         }) / kForks * 1e6, "us");
    constexpr std::size_t kPages = 2048;
    void* const memory = ::mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ::madvise(memory, kPages * 4096, MADV_NOHUGEPAGE);
    told("page_fault", seconds_of([&] { for (std::size_t i = 0; i < kPages; ++i) static_cast<volatile char*>(memory)[i * 4096] = 1; }) / kPages * 1e6, "us");
    ::munmap(memory, kPages * 4096);
}

}  // namespace

// Between two marks each: the requests, and the same machine idle.
void count_exits() {
    disk_seconds({false, kMeg, 4, false, 1});
    std::printf("PROBE exits soon\n");
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::seconds(10));  // the trace begins
    const int requests = parameter("slow", "") == "1" ? kSlowExitRequests : kExitRequests;
    for (const bool write : {false, true})
        for (const int depth : {1, 8}) disk_seconds({write, 4096, requests, true, depth, true});
    mark();
    std::this_thread::sleep_for(std::chrono::seconds(4));
    mark();
    std::printf("PROBE exits done\n");
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::seconds(3));
}

void bench() {
    disk_rates();
    if (exists("/sys/bus/blanket/sends")) {
        count_events("qd1", 800, 1);
        count_events("qd8", 1600, 8);
    }
    if (parameter("only", "") == "disk") return;
    network_work("tcp_out", 'S');
    network_work("tcp_in", 'G');
    network_work("tcp_request", 'E');
    processor_times();
}

}  // namespace blanket::rig
