// SPDX-License-Identifier: GPL-2.0-or-later
// See machine_facts.hpp.
#include "tests/lab/machine_facts.hpp"

#include <atomic>
#include <chrono>
#include <cmath>
#include <format>
#include <thread>
#include <vector>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {

namespace {

// Million dependent steps of a random walk through 32 MiB each second, per core, all cores at once.
double measure_steps() {
    using Clock = std::chrono::steady_clock;
    constexpr std::size_t kCells = (32u << 20) / sizeof(std::uint32_t);
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    std::atomic<std::uint64_t> steps = 0;
    {
        std::vector<std::jthread> threads;
        for (unsigned core = 0; core < cores; ++core) {
            threads.emplace_back([&steps, core] {
                std::vector<std::uint32_t> cells(kCells);
                std::uint32_t seed = core + 1;
                for (auto& cell : cells) cell = seed = seed * 1664525u + 1013904223u;
                std::uint64_t done = 0;
                std::uint32_t at = core;
                for (const auto until = Clock::now() + std::chrono::milliseconds(500); Clock::now() < until; done += 10'000)
                    for (int i = 0; i < 10'000; ++i) at = cells[at % kCells] ^ static_cast<std::uint32_t>(i);
                steps += done + (at == 1 ? 1 : 0);
            });
        }
    }
    return static_cast<double>(steps) / 0.5e6 / cores;
}

}  // namespace

double huge_page_share(int pid) {
    const auto text = read_file(std::format("/proc/{}/smaps_rollup", pid));
    if (!text) return -1;
    double resident = 0, huge = 0;
    for (const auto& line : split(*text, '\n')) {
        if (line.starts_with("Rss:")) resident = std::strtod(line.c_str() + 4, nullptr);
        if (line.starts_with("AnonHugePages:")) huge = std::strtod(line.c_str() + 14, nullptr);
    }
    return resident > 0 ? huge / resident : -1;
}

Json machine_facts(Accelerator accelerator) {
    std::string cpu = "unknown";
    if (const auto info = read_file("/proc/cpuinfo"); info) {
        for (const auto& line : split(*info, '\n')) {
            if (!line.starts_with("model name")) continue;
            cpu = trim(line.substr(line.find(':') + 1));
            break;
        }
    }
    std::uint64_t ram_mib = 0;
    if (const auto info = read_file("/proc/meminfo"); info && info->starts_with("MemTotal:")) ram_mib = std::strtoull(info->c_str() + 9, nullptr, 10) / 1024;
    return {{"cpu", cpu}, {"cores", std::thread::hardware_concurrency()}, {"ram_mib", ram_mib}, {"accelerator", name_of(accelerator)},
            {"msteps_per_s", std::round(measure_steps() * 10) / 10}};
}

std::string commit_of_tree() {
    const auto head = run({"git", "-c", "safe.directory=*", "-C", BLANKET_LAB_SOURCE_DIR, "rev-parse", "HEAD"});
    return head ? std::string(trim(*head)) : "unknown";
}

Json software_versions(Clouds& clouds) {
    Json versions = Json::object();
    constexpr std::string_view kAsk =
        "say() { local name=$1; shift; printf '%s=%s\\n' \"$name\" \"$(\"$@\" 2>/dev/null | head -n1)\"; }\n"
        "xen() { xl info | sed -n 's/^xen_version *: //p'; }\n"
        "drbd() { modinfo -F version drbd; }\n"
        "debian() { cat /etc/debian_version; }\n"
        "say blanket blanket --version; say xen xen; say dom0_kernel uname -r; say libvirt libvirtd --version; say openvswitch ovs-vswitchd --version\n"
        "say etcd etcd --version; say drbd drbd; say wireguard wg --version; say debian debian\n";
    if (const auto east = clouds.lab.ssh("east"); east) {
        const auto text = (*east)->run_any({"bash", "-s"}, std::chrono::seconds(60), kAsk);
        for (const auto& line : split(text ? text->out : std::string(), '\n')) {
            if (const auto equals = line.find('='); equals != std::string::npos) versions[line.substr(0, equals)] = line.substr(equals + 1);
        }
    }
    if (const auto qemu = run({"qemu-system-x86_64", "--version"}); qemu) versions["qemu"] = qemu->substr(0, qemu->find('\n'));
    return versions;
}

}  // namespace blanket::lab
