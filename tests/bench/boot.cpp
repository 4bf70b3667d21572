// SPDX-License-Identifier: GPL-2.0-or-later
// bench-boot: from power-on until `blanket doctor` is green, by phase: the first start of a machine (which grows its disk and makes its keys) and the next ones. Writes DESIGN.md section 6's JSON and a
// plot; exits 0 when it could measure.
//   bench-boot --image FILE [--report FILE] [--runs N]   (--domu is accepted and not needed)
#include <algorithm>
#include <print>
#include <thread>

#include "tests/bench/boot_phases.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/tool.hpp"
#include "tests/vm/boot_rig/machine.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::minutes;

constexpr const char* kDir = "/cache/lab/boot";
constexpr double kGoal = 60;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Result<std::string> seed() {
    BLANKET_TRY(const std::string key, boot_rig::public_key(std::string(kDir) + "/bench"));
    const std::string path = std::string(kDir) + "/bench-seed.img";
    BLANKET_CHECK(lab::make_seed({.meta_data = "instance-id: bench\nlocal-hostname: bench\npublic-keys: [\"" + key + "\"]\n", .user_data = "#cloud-config\n",
                                  .network_config = "version: 2\nethernets:\n  all:\n    match: {name: \"e*\"}\n    dhcp4: true\n"}, kDir, path));
    return path;
}

Result<Boot> start(const boot_rig::MachineKind& kind, const boot_rig::Media& media, bool keep_disk) {
    SeenTimes seen;
    BLANKET_TRY(const auto machine, boot_rig::Machine::start(kind, media, std::string(kDir) + "/bench", keep_disk));
    const auto power_on = Clock::now();
    BLANKET_CHECK(lab::wait_until("GRUB speaks", minutes(3), std::chrono::milliseconds(20), [&]() -> Result<bool> { return machine->console().contains("GRUB"); }));
    seen.grub = seconds_since(power_on);
    BLANKET_CHECK(lab::wait_until("Xen speaks", minutes(3), std::chrono::milliseconds(20), [&]() -> Result<bool> { return machine->console().contains("(XEN) "); }));
    seen.xen = seconds_since(power_on);
    BLANKET_CHECK(machine->wait_ssh(minutes(6)));
    // One connection and a loop there: asking from here again and again would slow the start down.
    BLANKET_CHECK(machine->ssh("for i in $(seq 300); do blanket doctor --output json 2>/dev/null | grep -q '\"checks\"' && ! blanket doctor --output json | grep -q '\"fail\"' && exit 0; sleep 0.5; done; exit 1", minutes(5)));
    seen.green = seconds_since(power_on);
    const double asked = seconds_since(power_on);
    BLANKET_TRY(const std::string uptime, machine->ssh("cat /proc/uptime"));
    const double answered = seconds_since(power_on);
    seen.linux_began = (asked + answered) / 2 - std::strtod(uptime.c_str(), nullptr);
    BLANKET_TRY(const std::string told, machine->ssh(kProbe));
    BLANKET_TRY(const GuestTimes guest, parse_guest_times(told));
    BLANKET_CHECK(machine->ssh("sync"));
    return phases_of(seen, guest);
}

Json to_json(const NamedBoot& one) {
    Json json{{"name", one.name}, {"total_s", one.boot.total_s()}, {"phases", Json::array()}, {"units", Json::array()}};
    const auto add = [](Json& list, const Span& span) { list.push_back({{"name", span.name}, {"begin_s", span.begin_s}, {"end_s", span.end_s}}); };
    for (const auto& span : one.boot.phases) add(json["phases"], span);
    for (const auto& span : one.boot.units) add(json["units"], span);
    return json;
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values.empty() ? 0 : values[values.size() / 2];
}

Result<int> run_bench(const std::vector<std::string>& args, const std::string&) {
    std::uint64_t runs = 1;
    BLANKET_TRY(const lab::ToolOptions options, lab::parse_tool(args, "bench-boot", {{"--runs", lab::take_number(runs, 1, 20, "number of runs")}}));
    BLANKET_CHECK(run({"ip", "link", "set", "lo", "up"}));  // ./dev bench runs in a network of its own
    BLANKET_TRY(const std::string cidata, seed());
    std::vector<NamedBoot> boots;
    std::vector<double> first, next;
    for (const auto& kind : {boot_rig::MachineKind{}, boot_rig::MachineKind{.chipset = "q35", .uefi = true, .disk = boot_rig::Disk::kNvme, .nic = "e1000e"}}) {
        for (std::uint64_t run = 0; run < runs; ++run) {
            for (const bool again : {false, true}) {
                BLANKET_TRY(Boot boot, start(kind, {.image = options.lab.image, .seed = cidata}, again));
                (again ? next : first).push_back(boot.total_s());
                boots.push_back({std::format("{}: {}", describe(kind), again ? "next start" : "first start"), std::move(boot)});
                std::println("{}: green after {:.1f} s", boots.back().name, boots.back().boot.total_s());
                for (const auto& phase : boots.back().boot.phases) std::println("    {:<24}{:6.1f} s", phase.name, phase.length());
            }
        }
    }
    Json metrics = Json::array(), all = Json::array();
    metrics.push_back(lab::metric("first_start_median", median(first), "s", "<= 60", median(first) <= kGoal));
    metrics.push_back(lab::metric("first_start_worst", std::ranges::max(first), "s", "<= 60", std::ranges::max(first) <= kGoal));
    metrics.push_back(lab::metric("next_start_median", median(next), "s", "<= 60", median(next) <= kGoal));
    for (const auto& one : boots) all.push_back(to_json(one));
    const Json report{{"bench", "boot"}, {"commit", lab::commit_of_tree()}, {"machine", lab::machine_facts(lab::Accelerator::kTcg)}, {"metrics", metrics}, {"boots", all}};
    std::println("{}", metrics.dump(2));
    if (!options.report.empty()) {
        BLANKET_CHECK(write_file(options.report, report.dump(2) + "\n"));
        BLANKET_CHECK(write_file(lab::html_path(options.report), boot_plot(boots)));
    }
    return 0;
}

}  // namespace
}  // namespace blanket::bench

int main(int argc, char** argv) { return blanket::lab::run_tool("bench-boot", argc, argv, blanket::bench::run_bench); }
