// SPDX-License-Identifier: GPL-2.0-or-later
// bench-moves: ten moves in a row in one running lab, between two sites, under a client's eyes. Writes DESIGN.md section 6's JSON and a plot; exits 0 when it could measure.
//   bench-moves --image FILE --domu FILE [--report FILE] [--moves N] [--without LIST/LIST...]
// --without: what moves do without, a list as `vm migrate --without` takes it, or all; the first list for the first move there and back, and so on, and again from
// the front: all/references compares both ways in one boot.
#include <algorithm>
#include <cstdio>
#include <map>
#include <print>
#include <thread>

#include "tests/lab/deadline.hpp"
#include "tests/lab/demo_checks.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/report_plot.hpp"
#include "tests/lab/tool.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

// Stock `xl migrate` of a 128 MiB VM between two dom0s without any WAN, on the machine of DESIGN.md section 5: 3.6-6.9 s.
constexpr double kStockBestMs = 3600, kStockWorstMs = 6900;

struct Series {
    std::vector<double> values;
    void add(double value) { values.push_back(value); }
    [[nodiscard]] double worst() const { return values.empty() ? 0 : std::ranges::max(values); }
    [[nodiscard]] double median() const {
        if (values.empty()) return 0;
        auto sorted = values;
        std::ranges::sort(sorted);
        return sorted[sorted.size() / 2];
    }
};

// Resident memory of a site's idle blanketd, in MiB.
Result<double> daemon_memory(Clouds& clouds, const std::string& site) {
    BLANKET_TRY(Ssh* const ssh, clouds.lab.ssh(site));
    BLANKET_TRY(const std::string text, ssh->run({"ps", "-o", "rss=", "-C", "blanketd"}));
    BLANKET_TRY(const std::uint64_t kib, parse_number(trim(text), 1, 1u << 30, "resident memory"));
    return static_cast<double>(kib) / 1024;
}

Json report_of(const DemoResult& result, std::uint64_t wanted, const std::map<std::string, double>& memory_of) {
    Series stall, down, total, memory, disk;
    std::uint64_t done = 0, reconnects = 0, lost = 0;
    for (const auto& move : result.migrations) {
        done += move.ok ? 1 : 0;
        reconnects += move.tcp_reconnects;
        lost += move.lost_writes;
        stall.add(move.client_stall_ms);
        down.add(move.downtime_ms);
        total.add(move.total_s);
        memory.add(static_cast<double>(move.memory_wire_bytes));
        disk.add(static_cast<double>(move.disk_wire_bytes));
    }
    const auto whole = [](std::uint64_t value) { return static_cast<double>(value); };
    Json metrics = Json::array();
    metrics.push_back(metric("moves_done", whole(done), "moves", wanted, done == wanted));
    metrics.push_back(metric("client_stall_worst", stall.worst(), "ms", "<= 5000", done > 0 && stall.worst() <= 5000, {{"stock xl migrate, no WAN, best", kStockBestMs}, {"stock xl migrate, no WAN, worst", kStockWorstMs}}));
    metrics.push_back(metric("client_stall_median", stall.median(), "ms", nullptr, true));
    metrics.push_back(metric("tcp_reconnects", whole(reconnects), "connections", 0, reconnects == 0));
    metrics.push_back(metric("lost_writes", whole(lost), "records", 0, lost == 0));
    metrics.push_back(metric("downtime_median", down.median(), "ms", nullptr, true));
    metrics.push_back(metric("downtime_worst", down.worst(), "ms", nullptr, true));
    metrics.push_back(metric("total_median", total.median(), "s", nullptr, true));
    metrics.push_back(metric("memory_wire_median", memory.median(), "bytes", nullptr, true));
    metrics.push_back(metric("disk_wire_median", disk.median(), "bytes", nullptr, true));
    for (const auto& [site, mib] : memory_of) metrics.push_back(metric(std::format("idle_blanketd_{}", site), mib, "MiB", "<= 30", mib <= 30));
    return {{"bench", "moves"}, {"commit", result.commit}, {"machine", result.machine}, {"metrics", metrics}, {"failure", result.failure},
            {"migrations", report_json(result)["migrations"]}};
}

Result<void> measure(Clouds& clouds, DemoResult& result, const std::string& domu, std::uint64_t moves, const std::vector<std::string>& without, std::map<std::string, double>& memory_of) {
    BLANKET_CHECK(bring_up(clouds, domu));
    BLANKET_CHECK(create_vms(clouds));
    BLANKET_CHECK(start_traffic(clouds));
    std::string here = "east", there = "west";
    for (std::uint64_t i = 1; i <= moves; ++i) {
        const std::string& left_out = without[(i - 1) / 2 % without.size()];
        clouds.story.chapter("move {} of {}: {} -> {}{}", i, moves, here, there, left_out == "all" ? "" : ", without " + left_out);
        BLANKET_TRY(MigrationResult move, move_web(clouds, here, there, left_out == "all" ? "" : left_out));
        result.migrations.push_back(move);
        if (!move.ok) return fail(Kind::kIo, "move {} failed: {}", i, move.error);
        clouds.story.say("memory: {}", move.memory.dump());
        clouds.story.say("{:.1f} s, down {:.0f} ms, stall {:.0f} ms, {} reconnects, {} lost writes", move.total_s, move.downtime_ms, move.client_stall_ms, move.tcp_reconnects, move.lost_writes);
        std::swap(here, there);
        std::this_thread::sleep_for(scaled(std::chrono::seconds(3)));
    }
    std::this_thread::sleep_for(scaled(std::chrono::seconds(40)));  // blanketd gives memory back twice a minute
    for (const char* site : {"east", "west"}) {
        BLANKET_TRY(memory_of[site], daemon_memory(clouds, site));
    }
    return {};
}

Result<int> run_bench(const std::vector<std::string>& args, const std::string& folder) {
    std::uint64_t moves = 10;
    std::string without = "all";
    BLANKET_TRY(const ToolOptions options, parse_tool(args, "bench-moves", {{"--moves", take_number(moves, 1, 1000, "number of moves")}, {"--without", take_text(without)}}));
    Story story;
    LabOptions lab_options = options.lab;
    if (lab_options.witness_program.empty()) lab_options.witness_program = folder + "blanket-witness";
    lab_options.forbidden = forbidden_plaintext();
    lab_options.capture_bytes = 0;
    BLANKET_TRY(const auto lab, Lab::create(lab_options));
    Clouds clouds{*lab, story};
    DemoResult result;
    std::map<std::string, double> memory_of;
    result.machine = machine_facts(lab->accelerator());
    result.commit = commit_of_tree();
    if (const auto measured = measure(clouds, result, options.domu, moves, split(without, '/'), memory_of); !measured) {
        result.failure = measured.error().what;
        story.say("ended early: {}", result.failure);
        lab->collect_logs();
    }
    result.client = clouds.client.samples();
    const Json report = report_of(result, moves, memory_of);
    std::println("{}", report["metrics"].dump(2));
    if (!options.report.empty()) {
        BLANKET_CHECK(write_file(options.report, report.dump(2) + "\n"));
        BLANKET_CHECK(write_file(html_path(options.report), std::format("<!doctype html><meta charset=utf-8><title>Blanket: moves</title><style>:root{{--line:#ccc;--accent:#06c;--band:#06c2}}"
                                                                        "text{{font:11px sans-serif}}</style>{}{}",
                                                                        latency_plot(result), phases_plot(result))));
    }
    return result.migrations.empty() ? 1 : 0;  // whatever the goals say: it could measure
}

}  // namespace
}  // namespace blanket::lab

int main(int argc, char** argv) { return blanket::lab::run_tool("bench-moves", argc, argv, blanket::lab::run_bench); }
