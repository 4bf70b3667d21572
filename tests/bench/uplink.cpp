// SPDX-License-Identifier: GPL-2.0-or-later
// bench-uplink: the provider's disk and network from the dom0 of a Xen inside that provider's Xen and from a guest of it, beside the same kernel as a plain guest of the provider with its
// paravirtual and with its emulated devices; the processor's work in such guests; the exits of a disk request. One emulated processor does everything, so a rate is the work per byte; only
// ratios mean anything. JSON of DESIGN.md section 6.
//   bench-uplink --image FILE --device-model FILE [--rounds N] [--only PART,...] [--report FILE]   (--domu is accepted and not needed)
// parts: plain, dom0, copied, emulated, exits, guest. A part by itself has nothing to be compared with: for who works on it.
#include <map>
#include <print>
#include <set>

#include "tests/bench/uplink_domu.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/tool.hpp"
#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/rig.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::rig {
namespace {

struct Value {
    double best = 0;
    std::string unit;
};
using Values = std::map<std::string, Value>;

bool is_time(const std::string& unit) { return unit == "us"; }

// The lines "PROBE bench NAME VALUE UNIT" into the best of all rounds.
Result<void> keep_best(Values& into, const std::string& console) {
    bool any = false;
    for (const auto& line : split(console, '\n')) {
        const auto at = line.find("PROBE bench ");
        if (at == std::string::npos) continue;
        const auto words = split(std::string(trim(line.substr(at + 12))), ' ');
        if (words.size() != 3) return fail(Kind::kIo, "the probe says: {}", line);
        const double value = std::strtod(words[1].c_str(), nullptr);
        auto [known, fresh] = into.try_emplace(words[0], Value{value, words[2]});
        if (!fresh) known->second.best = is_time(words[2]) ? std::min(known->second.best, value) : std::max(known->second.best, value);
        any = true;
    }
    if (!any || console.contains("FAILED")) return fail(Kind::kIo, "the probe did not end well:\n{}", console);
    return {};
}

struct Kinds {
    Values plain, ide, ahci, dom0, copied, domu;  // copied: dom0 with the disk's persistent grants, whose pages are copied
};

double of(const Values& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? 0 : found->second.best;
}

void tell_rates(const Kinds& all, Json& metrics) {
    std::println("{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}  {:<6} {:>6} {:>6} {:>9}", "", "plain", "emulated", "(ahci)", "dom0", "guest", "", "dom0", "guest", "dom0");
    std::println("{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}  {:<6} {:>6} {:>6} {:>9}   goals: >= 0.9, >= 0.9, >= 5", "", "PV", "ide,e1000", "", "inside", "of it", "", ":plain", ":plain", ":emulated");
    for (const auto& [name, value] : all.plain) {
        if (is_time(value.unit)) continue;
        const double emulated = std::max(of(all.ide, name), of(all.ahci, name)), dom0 = of(all.dom0, name), guest = of(all.domu, name);
        metrics.push_back(lab::metric(name, dom0 / value.best, "ratio to a plain guest", ">= 0.9", dom0 >= 0.9 * value.best, {{"plain_guest", value.best}, {"uplink", dom0}, {"unit", value.unit}}));
        metrics.push_back(lab::metric(name + "_guest", guest / value.best, "ratio to a plain guest", ">= 0.9", guest >= 0.9 * value.best, {{"guest_of_the_blanket", guest}}));
        if (emulated > 0) metrics.push_back(lab::metric(name + "_emulated", dom0 / emulated, "ratio to emulated devices", ">= 5", dom0 >= 5 * emulated, {{"emulated", emulated}}));
        std::println("{:<14} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f}  {:<6} {:>6.2f} {:>6.2f} {:>9.1f}", name, value.best, of(all.ide, name), of(all.ahci, name), dom0, guest, value.unit, dom0 / value.best,
                     guest / value.best, emulated > 0 ? dom0 / emulated : 0.0);
    }
    for (const auto& [name, value] : all.copied) {
        if (!all.plain.contains(name)) continue;
        metrics.push_back(lab::metric(name + "_persistent", of(all.dom0, name) / value.best, "ratio to dom0 with persistent grants", nullptr, true, {{"persistent", value.best}}));
        std::println("{:<14} {:>50.1f}  {:<6} {:>6.2f}        in dom0 with persistent grants (copied), and without to with", name, value.best, value.unit, of(all.dom0, name) / value.best);
    }
    for (const auto& [name, value] : all.dom0) {  // what only the blanket's hypervisor counts
        if (all.plain.contains(name)) continue;
        metrics.push_back(lab::metric(name, value.best, value.unit.c_str(), nullptr, true, {}));
        std::println("{:<14} {:>9} {:>9} {:>9} {:>9.2f}             {}", name, "", "", "", value.best, value.unit);
    }
}

void tell_times(const Kinds& all, Json& metrics) {
    std::println("\n{:<16} {:>10} {:>10} {:>10}   {:>8} {:>8}", "microseconds", "plain", "dom0", "guest", "dom0", "guest");
    std::println("{:<16} {:>10} {:>10} {:>10}   {:>8} {:>8}", "", "guest", "inside", "of it", ":plain", ":plain");
    for (const auto& [name, value] : all.plain) {
        if (!is_time(value.unit)) continue;
        const double dom0 = of(all.dom0, name), guest = of(all.domu, name);
        metrics.push_back(lab::metric(name, guest, "us", nullptr, true, {{"plain_guest", value.best}, {"dom0_inside", dom0}}));
        std::println("{:<16} {:>10.1f} {:>10.1f} {:>10.1f}   {:>8.2f} {:>8.2f}", name, value.best, dom0, guest, dom0 / value.best, guest / value.best);
    }
}

// Of parts without a plain guest beside them.
void tell_alone(const Kinds& all) {
    for (const auto& [kind, values] : {std::pair("dom0", &all.dom0), {"dom0, copied", &all.copied}, {"ide", &all.ide}, {"ahci", &all.ahci}, {"guest", &all.domu}})
        for (const auto& [name, value] : *values) std::println("{:<14} {:<14} {:>9.1f} {}", kind, name, value.best, value.unit);
}

std::string reason_name(std::uint32_t code) {
    static const std::map<std::uint32_t, const char*> names{{0x60, "interrupt"}, {0x64, "interrupt window"}, {0x72, "cpuid"}, {0x78, "hlt"}, {0x7b, "port"}, {0x7c, "msr"}, {0x81, "hypercall"}, {0x400, "nested page fault"}};
    const auto found = names.find(code);
    return found != names.end() ? found->second : std::format("{:#x}", code);
}

std::string register_name(std::uint32_t number) {
    static const std::map<std::uint32_t, const char*> names{{0x10, "clock"}, {0x80b, "end of interrupt"}, {0x830, "interrupt of another processor"}, {0x838, "timer"}};
    const auto found = names.find(number);
    return found != names.end() ? found->second : std::format("{:#x}", number);
}

void tell_exits(const std::string& kind, const std::vector<Stretch>& stretches, Json& metrics) {
    const Stretch& idle = stretches.back();
    for (std::size_t i = 0; i + 1 < stretches.size(); ++i) {
        const Stretch& now = stretches[i];
        const double each = static_cast<double>(now.exits) / kExitRequests;
        const double clock = static_cast<double>(idle.exits) / static_cast<double>(idle.cycles) * static_cast<double>(now.cycles) / kExitRequests;
        Json reasons = Json::object();
        std::string text;
        for (const auto& [code, count] : now.reasons) {
            const double share = static_cast<double>(count) / kExitRequests;
            reasons[reason_name(code)] = share;
            if (share >= 0.01) text += std::format("{}{} {:.2f}", text.empty() ? "" : ", ", reason_name(code), share);
        }
        std::string writes;
        for (const auto& [number, count] : now.writes) {
            const double share = static_cast<double>(count) / kExitRequests;
            reasons["write " + register_name(number)] = share;
            if (share >= 0.01) writes += std::format("{}{} {:.2f}", writes.empty() ? "; of the msr: " : ", ", register_name(number), share);
        }
        const std::string name = std::format("exits_{}_{}", i == 0 ? "qd1" : "qd8", kind);
        const bool judged = i == 1 && kind == "dom0";
        metrics.push_back(lab::metric(name, each, "exits per request", judged ? Json("<= 1.5") : Json(), !judged || each <= 1.5, {{"idle_machine_in_the_same_time", clock}, {"reasons", reasons}}));
        std::println("{:<16} {:>6.2f} exits a request ({}{}); the same machine idle for as long: {:.2f}{}", name, each, text, writes, clock, judged ? (each <= 1.5 ? "  <= 1.5 met" : "  <= 1.5 NOT MET") : "");
    }
}

Result<std::set<std::string>> parts_of(const std::string& only) {
    std::set<std::string> parts;
    for (const auto& part : split(only, ',')) {
        if (!std::set<std::string>{"plain", "dom0", "copied", "emulated", "exits", "guest"}.contains(part))
            return fail_hint(Kind::kInvalid, std::format("'{}' is no part of this bench", part), "give some of plain,dom0,copied,emulated,exits,guest");
        parts.insert(part);
    }
    return parts;
}

Result<int> run_bench(const std::vector<std::string>& args, const std::string&) {
    std::string device_model, only = "plain,dom0,copied,emulated,exits,guest";
    std::uint64_t rounds = 2;
    BLANKET_TRY(const lab::ToolOptions options,
                lab::parse_tool(args, "bench-uplink", {{"--device-model", lab::take_text(device_model)}, {"--rounds", lab::take_number(rounds, 1, 20, "rounds")}, {"--only", lab::take_text(only)}}));
    BLANKET_TRY(const std::set<std::string> parts, parts_of(only));
    Kinds all;
    Result<std::vector<Stretch>> exits_plain, exits_dom0;
    Json facts = Json::object();
    if (parts.size() > 1 || !parts.contains("guest")) {
        BLANKET_TRY(const auto rig, Rig::create("bench-uplink", options.lab.image, device_model));
        facts = lab::machine_facts(rig->machine().accelerator());
        // Each way in turn: the machine is not as fast at every minute.
        for (std::uint64_t round = 0; round < rounds; ++round) {
            const auto measure = [&](const char* part, Values& into, const Inside& inside) -> Result<void> {
                if (!parts.contains(part)) return {};
                BLANKET_TRY(const std::string said, rig->run(inside));
                return keep_best(into, said);
            };
            BLANKET_CHECK(measure("plain", all.plain, {.words = "bench=1", .blanket = false}));
            BLANKET_CHECK(measure("dom0", all.dom0, {.words = "bench=1 reloads=0"}));
            BLANKET_CHECK(measure("copied", all.copied, {.words = "bench=1 only=disk reloads=0 persistent=1"}));
            if (device_model.empty()) continue;
            BLANKET_CHECK(measure("emulated", all.ide, {.words = "bench=1 slow=1", .blanket = false, .emulated = "ide"}));
            BLANKET_CHECK(measure("emulated", all.ahci, {.words = "bench=1 slow=1", .blanket = false, .emulated = "ahci"}));
        }
        if (parts.contains("exits")) {
            exits_plain = rig->run_exits({.words = "exits=1", .blanket = false});
            exits_dom0 = rig->run_exits({.words = "exits=1 reloads=0"});
        }
    }
    Result<void> kept;
    if (parts.contains("guest")) {
        const auto domu = run_in_domu(options.lab.image, std::format("bench={}", rounds));
        kept = domu ? keep_best(all.domu, *domu) : std::unexpected(domu.error());
    }
    Json metrics = Json::array();
    if (all.plain.empty()) tell_alone(all);
    else tell_rates(all, metrics);
    if (parts.contains("guest")) {
        const double granted = of(all.domu, "granted_guests");
        metrics.push_back(lab::metric("granted_guests", granted, "pages of the blanket's guest granted on as they are", "> 0", granted > 0, {}));
        std::println("{:.0f} pages of the guest of the blanket were granted on to the provider as they are, without a copy", granted);
    }
    tell_times(all, metrics);
    std::println("");
    if (exits_plain && !exits_plain->empty()) tell_exits("plain", *exits_plain, metrics);
    if (exits_dom0 && !exits_dom0->empty()) tell_exits("dom0", *exits_dom0, metrics);
    const Json report{{"bench", "uplink"}, {"commit", lab::commit_of_tree()}, {"machine", facts}, {"metrics", metrics}};
    if (!options.report.empty()) BLANKET_CHECK(write_file(options.report, report.dump(2) + "\n"));
    for (const auto& missing : {kept, exits_plain.transform([](const auto&) {}), exits_dom0.transform([](const auto&) {})}) BLANKET_CHECK(missing);
    return 0;
}

}  // namespace
}  // namespace blanket::rig

int main(int argc, char** argv) { return blanket::lab::run_tool("bench-uplink", argc, argv, blanket::rig::run_bench); }
