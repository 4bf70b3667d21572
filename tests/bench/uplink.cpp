// SPDX-License-Identifier: GPL-2.0-or-later
// bench-uplink: the provider's disk and network from the dom0 of a Xen inside that provider's Xen and from a guest of it, beside the same kernel as a plain PVH guest of the provider with its
// paravirtual devices, as an HVM guest with them, and as an HVM guest with emulated ones; what a MiB costs the provider's processor; the processor's work in such guests; the exits of a disk request. One emulated
// processor does everything, so a rate is the work per byte; only ratios mean anything. JSON of DESIGN.md section 6.
//   bench-uplink --image FILE --device-model FILE [--rounds N] [--only PART,...] [--report FILE]   (--domu is accepted and not needed)
// parts: plain, pvhvm, dom0, copied, emulated, exits, guest. A part by itself has nothing to be compared with: for who works on it. The report of a run with all of them has everything that was
// measured, and the tables of blanket-drivers/README.md as lines ("readme").
#include <chrono>
#include <print>
#include <set>

#include "tests/bench/uplink_domu.hpp"
#include "tests/bench/uplink_tell.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/vm/uplink_rig/rig.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::rig {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::set<std::string>> parts_of(const std::string& only) {
    std::set<std::string> parts;
    for (const auto& part : split(only, ',')) {
        if (!std::set<std::string>{"plain", "pvhvm", "dom0", "copied", "emulated", "exits", "guest"}.contains(part))
            return fail_hint(Kind::kInvalid, std::format("'{}' is no part of this bench", part), "give some of plain,pvhvm,dom0,copied,emulated,exits,guest");
        parts.insert(part);
    }
    return parts;
}

// Everything that one provider serves, one kind of guest after the other. What fails is told at the end: the rest has cost too much to be lost.
void measure(Rig& rig, const std::set<std::string>& parts, std::uint64_t rounds, bool emulated, Kinds& all, Result<void>& missing) {
    // Each way in turn: the machine is not as fast at every minute.
    for (std::uint64_t round = 0; round < rounds; ++round) {
        const auto run = [&](const char* part, Values& into, const Inside& inside) {
            if (!parts.contains(part)) return;
            const auto said = rig.run(inside);
            const auto kept = said ? keep_best(into, *said) : std::unexpected(said.error());
            if (kept) return;
            if (missing) missing = kept;
            (void)rig.provider().run_any({"xl", "destroy", "inside"});  // or the next one of this name could not begin
        };
        run("plain", all.plain, {.words = "bench=1", .blanket = false});
        run("dom0", all.dom0, {.words = "bench=1 reloads=0"});
        run("copied", all.copied, {.words = "bench=1 only=disk reloads=0 persistent=1"});
        if (!emulated) continue;
        run("pvhvm", all.pv_on_hvm, {.words = "bench=1", .blanket = false, .emulated = "ahci", .pv_on_hvm = true});
        run("emulated", all.ide, {.words = "bench=1 slow=1", .blanket = false, .emulated = "ide"});
        run("emulated", all.ahci, {.words = "bench=1 slow=1", .blanket = false, .emulated = "ahci"});
    }
    if (!parts.contains("exits")) return;
    const auto exits = [&](const char* kind, const Inside& inside) {
        auto found = rig.run_exits(inside);
        if (found) {
            all.exits[kind] = std::move(*found);
            return;
        }
        if (missing) missing = std::unexpected(found.error());
        (void)rig.provider().run_any({"xl", "destroy", "inside"});  // or the next one of this name could not begin
    };
    exits("plain", {.words = "exits=1", .blanket = false});
    exits("dom0", {.words = "exits=1 reloads=0"});
    if (!emulated) return;
    exits("ide", {.words = "exits=1 slow=1", .blanket = false, .emulated = "ide"});
    exits("ahci", {.words = "exits=1 slow=1", .blanket = false, .emulated = "ahci"});
}

Result<int> run_bench(const std::vector<std::string>& args, const std::string&) {
    std::string device_model, only = "plain,pvhvm,dom0,copied,emulated,exits,guest";
    std::uint64_t rounds = 1;
    BLANKET_TRY(const lab::ToolOptions options,
                lab::parse_tool(args, "bench-uplink", {{"--device-model", lab::take_text(device_model)}, {"--rounds", lab::take_number(rounds, 1, 20, "rounds")}, {"--only", lab::take_text(only)}}));
    BLANKET_TRY(const std::set<std::string> parts, parts_of(only));
    const auto began = Clock::now();
    Kinds all;
    Result<void> missing;
    Json facts = Json::object();
    if (parts.size() > 1 || !parts.contains("guest")) {
        BLANKET_TRY(const auto rig, Rig::create("bench-uplink", options.lab.image, device_model, true));
        facts = lab::machine_facts(rig->machine().accelerator());
        BLANKET_TRY(const bool direct, rig->direct_io());
        facts["provider_disk_by_direct_io"] = direct;
        measure(*rig, parts, rounds, !device_model.empty(), all, missing);
    }
    if (parts.contains("guest")) {
        const auto domu = run_in_domu(options.lab.image, std::format("bench={}", rounds));
        const auto kept = domu ? keep_best(all.domu, *domu) : std::unexpected(domu.error());
        if (!kept && missing) missing = kept;
    }
    Json metrics = Json::array();
    if (all.plain.empty()) tell_alone(all);
    else tell_rates(all, metrics);
    if (parts.contains("guest")) {
        const double granted = of(all.domu, "granted_guests");
        metrics.push_back(lab::metric("granted_guests", granted, "pages of the blanket's guest granted on as they are", "> 0", granted > 0, {}));
        std::println("{:.0f} pages of the guest of the blanket were granted on to the provider as they are, without a copy", granted);
        if (granted == 0 && missing) missing = fail(Kind::kIo, "no page of the blanket's guest was granted on to the provider as it is: its disk was copied, or nobody counted");
    }
    if (!all.plain.empty()) {
        tell_times(all, metrics);
        tell_run_times(all, metrics);
    }
    std::println("");
    tell_exits(all, metrics);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - began).count();
    const Json report{{"bench", "uplink"}, {"commit", lab::commit_of_tree()}, {"machine", facts}, {"parts", Json(parts)}, {"rounds", rounds}, {"seconds", seconds},
                      {"metrics", metrics}, {"measured", everything(all)}, {"readme", readme_lines(all)}};
    if (!options.report.empty()) BLANKET_CHECK(write_file(options.report, report.dump(2) + "\n"));
    if (missing && parts.contains("plain") && of(all.plain, "cpu_read_1m_machine") == 0) missing = fail(Kind::kIo, "nobody told how long the provider's domains have run");
    BLANKET_CHECK(missing);
    return 0;
}

}  // namespace
}  // namespace blanket::rig

int main(int argc, char** argv) { return blanket::lab::run_tool("bench-uplink", argc, argv, blanket::rig::run_bench); }
