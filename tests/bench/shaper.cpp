// SPDX-License-Identifier: GPL-2.0-or-later
// bench-shaper: how exactly the lab's WAN keeps its delay and rate, with idle and with busy processors. Two datagram sockets play the machines. JSON of DESIGN.md section 6.
//   bench-shaper [--report FILE]   (--image and --domu are accepted and not needed)
#include <algorithm>
#include <cstring>
#include <poll.h>
#include <print>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "tests/lab/machine_facts.hpp"
#include "tests/lab/shaper.hpp"
#include "tests/lab/tool.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::lab {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

Result<UniqueFd> machine(const std::string& ours, const std::string& shaper) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, ours.c_str(), sizeof address.sun_path - 1);
    ::unlink(ours.c_str());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("bind", ours);
    std::strncpy(address.sun_path, shaper.c_str(), sizeof address.sun_path - 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("connect", shaper);
    return fd;
}

std::string frame(char to, char from, std::size_t size) {
    std::string data{2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x12, 0x34};
    data.resize(std::max(size, data.size()), 'x');
    return data;
}

bool receive(int fd, milliseconds deadline) {
    pollfd item{fd, POLLIN, 0};
    char buffer[2048];
    return ::poll(&item, 1, static_cast<int>(deadline.count())) == 1 && ::recv(fd, buffer, sizeof buffer, 0) > 0;
}

struct Outcome {
    double rtt_median_ms = 0, rtt_p99_ms = 0, rtt_min_ms = 0, rate_mbit_s = 0, peak_mbit_s = 0, applied_mean_ms = 0, applied_max_ms = 0;
};

Result<Outcome> measure(const std::string& dir, unsigned busy) {
    std::vector<std::jthread> burners;
    for (unsigned i = 0; i < busy; ++i) {
        burners.emplace_back([](const std::stop_token& stop) {
            volatile std::uint64_t sink = 0;
            while (!stop.stop_requested()) sink = sink + 1;
        });
    }
    BLANKET_TRY(const auto shaper, Shaper::create());
    for (const std::string name : {"east", "west"}) BLANKET_CHECK(shaper->add_machine(name, dir + name + ".sw", dir + name + ".vm"));
    BLANKET_TRY(const UniqueFd east, machine(dir + "east.vm", dir + "east.sw"));
    BLANKET_TRY(const UniqueFd west, machine(dir + "west.vm", dir + "west.sw"));
    const std::string ping = frame('w', 'e', 64), pong = frame('e', 'w', 64), big = frame('w', 'e', 1514);
    const auto send = [](int fd, const std::string& data) { return ::send(fd, data.data(), data.size(), 0) > 0; };

    Outcome outcome;
    std::vector<double> times;
    for (int i = 0; i < 100; ++i) {
        const auto begin = Clock::now();
        if (!send(east.get(), ping) || !receive(west.get(), seconds(2)) || !send(west.get(), pong) || !receive(east.get(), seconds(2))) return fail(Kind::kIo, "an echo was lost");
        times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
    std::ranges::sort(times);
    outcome.rtt_min_ms = times.front();
    outcome.rtt_median_ms = times[times.size() / 2];
    outcome.rtt_p99_ms = times[times.size() * 99 / 100];

    const Json idle = shaper->stats()["links"];
    for (const char* way : {"east>west", "west>east"}) {
        outcome.applied_mean_ms += idle[way]["mean_delay_ms"].get<double>() / 2;
        outcome.applied_max_ms = std::max(outcome.applied_max_ms, idle[way]["max_delay_ms"].get<double>());
    }

    // 10 s of a sender that always has more: its socket holds it back, as a machine's NIC does, and the full queue drops the rest.
    std::jthread sender([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            for (int i = 0; i < 30; ++i) {
                if (!send(east.get(), big)) return;
            }
            std::this_thread::sleep_for(milliseconds(2));
        }
    });
    while (!receive(west.get(), seconds(2))) {
    }
    const auto begin = Clock::now();
    std::uint64_t bytes = 0;
    while (Clock::now() - begin < seconds(10)) bytes += receive(west.get(), seconds(2)) ? big.size() : 0;
    outcome.rate_mbit_s = static_cast<double>(bytes) * 8 / 1e6 / std::chrono::duration<double>(Clock::now() - begin).count();
    sender.request_stop();
    const Json link = shaper->stats()["links"]["east>west"];
    outcome.peak_mbit_s = link["peak_bps_1s"].get<double>() / 1e6;
    return outcome;
}

Result<void> run_bench(const std::string& report_path) {
    const std::string dir = "/tmp/blanket-bench-shaper-";
    Json metrics = Json::array();
    for (const unsigned busy : {0u, std::thread::hardware_concurrency() * 2}) {
        BLANKET_TRY(const Outcome outcome, measure(dir, busy));
        const std::string with = busy == 0 ? "" : "_busy";
        // What the shaper itself applies has goals; what the two ends see includes their own wait for a processor.
        metrics.push_back(metric("one_way_applied_mean" + with, outcome.applied_mean_ms, "ms", "25..26", outcome.applied_mean_ms >= 25 && outcome.applied_mean_ms <= 26));
        metrics.push_back(metric("one_way_applied_max" + with, outcome.applied_max_ms, "ms", "<= 30", outcome.applied_max_ms <= 30));
        metrics.push_back(metric("busiest_second" + with, outcome.peak_mbit_s, "Mbit/s", "98..102", outcome.peak_mbit_s >= 98 && outcome.peak_mbit_s <= 102));
        metrics.push_back(metric("rtt_min" + with, outcome.rtt_min_ms, "ms", ">= 50", outcome.rtt_min_ms >= 50));
        metrics.push_back(metric("rtt_median" + with, outcome.rtt_median_ms, "ms", nullptr, true));
        metrics.push_back(metric("rtt_p99" + with, outcome.rtt_p99_ms, "ms", nullptr, true));
        metrics.push_back(metric("rate_received" + with, outcome.rate_mbit_s, "Mbit/s", nullptr, true));
    }
    const Json report{{"bench", "shaper"}, {"commit", commit_of_tree()}, {"machine", machine_facts(Accelerator::kTcg)}, {"metrics", metrics}};
    for (const auto& one : metrics) std::println("{:<22} {:>9.3f} {:<7} goal {:<8} {}", one["name"].get<std::string>(), one["value"].get<double>(), one["unit"].get<std::string>(), one["goal"].is_string() ? one["goal"].get<std::string>() : "-", one["met"].get<bool>() ? "met" : "NOT MET");
    if (!report_path.empty()) BLANKET_CHECK(write_file(report_path, report.dump(2) + "\n"));
    return {};
}

}  // namespace
}  // namespace blanket::lab

int main(int argc, char** argv) {
    std::string report;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (std::string_view(argv[i]) == "--report") report = argv[i + 1];
    }
    const auto done = blanket::lab::run_bench(report);
    if (!done) std::println(stderr, "bench-shaper: {}", done.error().what);
    return done ? 0 : 1;
}
