// SPDX-License-Identifier: GPL-2.0-or-later
// See uplink_tell.hpp.
#include "tests/bench/uplink_tell.hpp"

#include <algorithm>
#include <format>
#include <iterator>
#include <print>

#include "tests/vm/uplink_rig/pattern.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::rig {
namespace {

bool is_time(const std::string& unit) { return unit == "us"; }
bool is_run_time(const std::string& unit) { return unit == "ms/MiB"; }
bool is_rate(const std::string& unit) { return unit.ends_with("/s"); }

double ratio(double a, double b) { return b > 0 ? a / b : 0; }
double emulated(const Kinds& all, const std::string& name) { return std::max(of(all.ide, name), of(all.ahci, name)); }

std::map<std::string, const Values*> kinds_of(const Kinds& all) {
    return {{"plain", &all.plain}, {"pv_on_hvm", &all.pv_on_hvm}, {"ide", &all.ide}, {"ahci", &all.ahci}, {"dom0", &all.dom0}, {"dom0_copied", &all.copied}, {"guest", &all.domu}};
}

// Of the provider's dom0 and of the machine; 0: not measured.
double run_time(const Values& values, const std::string& work) { return of(values, "cpu_" + work + "_provider") + of(values, "cpu_" + work + "_machine"); }

constexpr const char* kPaper = "near a PV guest of one level";  // the shape of its figures, which are not to be had here

constexpr const char* kWorks[] = {"read_1m", "write_1m", "read_4k_qd32", "write_4k_qd32", "tcp_out", "tcp_in"};

std::string reason_name(std::uint32_t code) {
    static const std::map<std::uint32_t, const char*> names{{0x60, "interrupt"}, {0x64, "interrupt window"}, {0x72, "cpuid"}, {0x78, "hlt"}, {0x7b, "port"}, {0x7c, "msr"}, {kSvmHypercall, "hypercall"}, {0x400, "nested page fault"}};
    const auto found = names.find(code);
    return found != names.end() ? found->second : std::format("{:#x}", code);
}

std::string register_name(std::uint32_t number) {
    static const std::map<std::uint32_t, const char*> names{{0x10, "clock"}, {0x80b, "end of interrupt"}, {0x830, "interrupt of another processor"}, {0x838, "timer"}};
    const auto found = names.find(number);
    return found != names.end() ? found->second : std::format("{:#x}", number);
}

// Of a working stretch, each for a request.
struct Exits {
    double all = 0, idle = 0, kicks = 0, hypercalls = 0;  // idle: of the same machine without work, in the same time
    Json reasons = Json::object();
    std::string text;
};

Exits exits_of(const std::vector<Stretch>& stretches, std::size_t which) {
    const Stretch &now = stretches[which], &idle = stretches.back();
    const auto requests = static_cast<double>(now.requests);
    const auto share_of = [&](std::uint64_t count) { return static_cast<double>(count) / requests; };
    Exits exits;
    exits.all = share_of(now.exits);
    exits.idle = static_cast<double>(idle.exits) / static_cast<double>(idle.cycles) * static_cast<double>(now.cycles) / requests;
    exits.kicks = share_of(now.sends);
    for (const auto& [code, count] : now.reasons) {
        const double share = share_of(count);
        exits.reasons[reason_name(code)] = share;
        if (code == kSvmHypercall) exits.hypercalls = share;
        if (share >= 0.01) exits.text += std::format("{}{} {:.2f}", exits.text.empty() ? "" : ", ", reason_name(code), share);
    }
    std::string writes;
    for (const auto& [number, count] : now.writes) {
        const double share = share_of(count);
        exits.reasons["write " + register_name(number)] = share;
        if (share >= 0.01) writes += std::format("{}{} {:.2f}", writes.empty() ? "; of the msr: " : ", ", register_name(number), share);
    }
    exits.text += writes;
    return exits;
}

}  // namespace

Result<void> keep_best(Values& into, const std::string& console) {
    bool any = false;
    for (const auto& line : split(console, '\n')) {
        const auto at = line.find("PROBE bench ");
        if (at == std::string::npos) continue;
        const auto words = split(std::string(trim(line.substr(at + 12))), ' ');
        if (words.size() != 3) return fail(Kind::kIo, "the probe says: {}", line);
        const double value = std::strtod(words[1].c_str(), nullptr);
        auto [known, fresh] = into.try_emplace(words[0], Value{value, words[2]});
        if (!fresh) known->second.best = is_time(words[2]) || is_run_time(words[2]) ? std::min(known->second.best, value) : std::max(known->second.best, value);
        any = true;
    }
    if (!any || console.contains("FAILED")) return fail(Kind::kIo, "the probe did not end well:\n{}", console);
    return {};
}

double of(const Values& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? 0 : found->second.best;
}

void tell_rates(const Kinds& all, Json& metrics) {
    std::println("{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}  {:<6} {:>6} {:>6} {:>9} {:>9}", "", "plain", "emulated", "(ahci)", "dom0", "guest", "", "dom0", "guest", "dom0", "guest");
    std::println("{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}  {:<6} {:>6} {:>6} {:>9} {:>9}   goals: >= 0.9, >= 0.9, >= 5, >= 5", "", "PVH guest", "ide,e1000", "", "inside", "of it", "", ":plain", ":plain", ":emulated", ":emulated");
    for (const auto& [name, value] : all.plain) {
        if (!is_rate(value.unit)) continue;
        const double slow = emulated(all, name), dom0 = of(all.dom0, name), guest = of(all.domu, name);
        metrics.push_back(lab::metric(name, dom0 / value.best, "ratio to a plain PVH guest", ">= 0.9", dom0 >= 0.9 * value.best, {{"plain_pvh_guest", value.best}, {"uplink", dom0}, {"unit", value.unit}}));
        metrics.push_back(lab::metric(name + "_guest", guest / value.best, "ratio to a plain PVH guest", ">= 0.9", guest >= 0.9 * value.best, {{"guest_of_the_blanket", guest}}));
        if (slow > 0) {
            const Json peers{{"ide_e1000", of(all.ide, name)}, {"ahci_e1000", of(all.ahci, name)}};
            metrics.push_back(lab::metric(name + "_emulated", dom0 / slow, "ratio to emulated devices", ">= 5", dom0 >= 5 * slow, peers));
            metrics.push_back(lab::metric(name + "_guest_emulated", guest / slow, "ratio to emulated devices", ">= 5", guest >= 5 * slow, peers));
        }
        std::println("{:<14} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f}  {:<6} {:>6.2f} {:>6.2f} {:>9.2f} {:>9.2f}", name, value.best, of(all.ide, name), of(all.ahci, name), dom0, guest, value.unit, dom0 / value.best,
                     guest / value.best, ratio(dom0, slow), ratio(guest, slow));
    }
    for (const auto& [name, value] : all.copied) {
        if (!all.plain.contains(name) || !is_rate(value.unit)) continue;
        metrics.push_back(lab::metric(name + "_persistent", of(all.dom0, name) / value.best, "ratio to dom0 with persistent grants", nullptr, true, {{"persistent", value.best}}));
        std::println("{:<14} {:>50.1f}  {:<6} {:>6.2f}        in dom0 with persistent grants (copied), and without to with", name, value.best, value.unit, of(all.dom0, name) / value.best);
    }
    for (const auto& [name, value] : all.pv_on_hvm) {
        if (!is_rate(value.unit)) continue;
        const double dom0 = of(all.dom0, name), guest = of(all.domu, name);
        metrics.push_back(lab::metric(name + "_pv_on_hvm", dom0 / value.best, "ratio to a plain PV-on-HVM guest", ">= 0.9", dom0 >= 0.9 * value.best, {{"plain_pv_on_hvm_guest", value.best}}));
        metrics.push_back(lab::metric(name + "_guest_pv_on_hvm", guest / value.best, "ratio to a plain PV-on-HVM guest", ">= 0.9", guest >= 0.9 * value.best, {{"guest_of_the_blanket", guest}}));
        std::println("{:<14} {:>9.1f} {:>39}  {:<6} {:>6.2f} {:>6.2f} in a plain PV-on-HVM guest, and dom0 and guest to it", name, value.best, "", value.unit, dom0 / value.best, guest / value.best);
    }
    for (const auto& [name, value] : all.dom0) {  // what only the blanket's hypervisor counts
        if (all.plain.contains(name)) continue;
        metrics.push_back(lab::metric(name, value.best, value.unit.c_str(), nullptr, true, {}));
        std::println("{:<14} {:>9} {:>9} {:>9} {:>9.2f}             {}", name, "", "", "", value.best, value.unit);
    }
}

void tell_times(const Kinds& all, Json& metrics) {
    std::println("\n{:<16} {:>10} {:>10} {:>10}   {:>8} {:>8}", "microseconds", "plain", "dom0", "guest", "dom0", "guest");
    std::println("{:<16} {:>10} {:>10} {:>10}   {:>8} {:>8}", "", "PVH guest", "inside", "of it", ":plain", ":plain");
    for (const auto& [name, value] : all.plain) {
        if (!is_time(value.unit)) continue;
        const double dom0 = of(all.dom0, name), guest = of(all.domu, name);
        metrics.push_back(lab::metric(name, guest, "us", nullptr, true, {{"plain_pvh_guest", value.best}, {"dom0_inside", dom0}}));
        std::println("{:<16} {:>10.1f} {:>10.1f} {:>10.1f}   {:>8.2f} {:>8.2f}", name, value.best, dom0, guest, dom0 / value.best, guest / value.best);
    }
}

void tell_run_times(const Kinds& all, Json& metrics) {
    std::println("\nThe provider's processor for a MiB, in milliseconds: its dom0 + the machine with all that is in it");
    std::println("{:<14} {:>22} {:>22} {:>22} {:>22} {:>22} {:>7} {:>9}", "", "plain PVH guest", "ide, e1000", "ahci, e1000", "dom0 inside", "guest of it", ":plain", ":emulated");
    for (const char* const work : kWorks) {
        const std::string name = std::string("cpu_") + work;
        Json peers = Json::object();
        std::string line = std::format("{:<14}", work);
        for (const auto& [kind, values] : {std::pair("plain_pvh_guest", &all.plain), {"ide_e1000", &all.ide}, {"ahci_e1000", &all.ahci}, {"dom0_inside", &all.dom0}, {"guest_of_the_blanket", &all.domu}}) {
            const double provider = of(*values, name + "_provider"), machine = of(*values, name + "_machine");
            peers[kind] = {{"provider", provider}, {"machine", machine}};
            line += std::format(" {:>22}", std::format("{:.1f} + {:.1f}", provider, machine));
        }
        peers["guest_of_the_blanket"]["machines_own_dom0"] = of(all.domu, name + "_dom0");
        peers["guest_of_the_blanket"]["machines_own_guest"] = of(all.domu, name + "_guest");
        const double dom0 = run_time(all.dom0, work), plain = run_time(all.plain, work), ide = run_time(all.ide, work), ahci = run_time(all.ahci, work);
        const double best = ide > 0 && ahci > 0 ? std::min(ide, ahci) : std::max(ide, ahci);
        metrics.push_back(lab::metric(name, dom0, "ms of the provider's processor for a MiB", nullptr, true, peers));
        std::println("{} {:>7.2f} {:>9.2f}", line, ratio(dom0, plain), ratio(dom0, best));
    }
}

void tell_exits(const Kinds& all, Json& metrics) {
    constexpr double kGoal = 1.5, kOneKick = 1.05;  // one, but for what is cut off at a stretch's ends
    for (const auto& [kind, stretches] : all.exits) {
        for (std::size_t i = 0; i + 1 < stretches.size(); ++i) {
            const Exits exits = exits_of(stretches, i);
            const std::string what = kExitStretches[i], name = std::format("exits_{}_{}", what, kind);
            const bool judged = kind == "dom0" && (what == "read_qd8" || what == "write_qd8"), met = exits.all <= kGoal;
            Json peers{{"idle_machine_in_the_same_time", exits.idle}, {"reasons", exits.reasons}};
            if (exits.kicks > 0) {
                peers["kicks_per_request"] = exits.kicks;
                peers["hypercall_exits_per_kick"] = exits.hypercalls / exits.kicks;
                metrics.push_back(lab::metric(std::format("kick_{}_{}", what, kind), exits.hypercalls / exits.kicks, "hypercall exits per kick", 1, exits.hypercalls <= kOneKick * exits.kicks,
                                              {{"kicks_per_request", exits.kicks}}));
            }
            metrics.push_back(lab::metric(name, exits.all, "exits per request", judged ? Json("<= 1.5") : Json(), !judged || met, peers));
            std::println("{:<22} {:>7.2f} exits a request ({}); the same machine idle for as long: {:.2f}{}{}", name, exits.all, exits.text, exits.idle,
                         exits.kicks > 0 ? std::format("; kicks {:.2f}, hypercall exits a kick {:.2f}", exits.kicks, exits.hypercalls / exits.kicks) : "",
                         judged ? (met ? "  <= 1.5 met" : "  <= 1.5 NOT MET") : "");
        }
    }
}

void tell_alone(const Kinds& all) {
    for (const auto& [kind, values] : kinds_of(all))
        for (const auto& [name, value] : *values) std::println("{:<14} {:<26} {:>9.1f} {}", kind, name, value.best, value.unit);
}

Json everything(const Kinds& all) {
    Json kinds = Json::object(), exits = Json::object();
    for (const auto& [kind, values] : kinds_of(all))
        for (const auto& [name, value] : *values) kinds[kind][name] = {{"value", value.best}, {"unit", value.unit}};
    for (const auto& [kind, stretches] : all.exits)
        for (std::size_t i = 0; i + 1 < stretches.size(); ++i) {
            const Exits one = exits_of(stretches, i);
            exits[kind][kExitStretches[i]] = {{"requests", stretches[i].requests}, {"exits", one.all}, {"idle", one.idle}, {"kicks", one.kicks}, {"reasons", one.reasons}};
        }
    return {{"kinds", kinds}, {"exits", exits}};
}

Json readme_lines(const Kinds& all) {
    Json lines = Json::array();
    const auto number = [](double value) { return value == 0 ? std::string("-") : value >= 99.5 ? std::format("{:.0f}", value) : value >= 9.95 ? std::format("{:.1f}", value) : std::format("{:.2f}", value); };
    lines.push_back("| | plain PVH guest | IDE, e1000 | AHCI, e1000 | dom0 inside | guest of it | dom0 : plain | guest : plain | dom0 : emulated | guest : emulated |");
    lines.push_back("|---|---|---|---|---|---|---|---|---|---|");
    for (const auto& [name, value] : all.plain) {
        if (!is_rate(value.unit)) continue;
        const double slow = emulated(all, name), dom0 = of(all.dom0, name), guest = of(all.domu, name);
        lines.push_back(std::format("| {} ({}) | {} | {} | {} | {} | {} | {} | {} | {} | {} |", name, value.unit, number(value.best), number(of(all.ide, name)), number(of(all.ahci, name)), number(dom0), number(guest),
                                    number(ratio(dom0, value.best)), number(ratio(guest, value.best)), number(ratio(dom0, slow)), number(ratio(guest, slow))));
    }
    lines.push_back("");
    lines.push_back("| ms of the provider's processor for a MiB | plain PVH guest | IDE, e1000 | AHCI, e1000 | dom0 inside | guest of it |");
    lines.push_back("|---|---|---|---|---|---|");
    for (const char* const work : kWorks)
        lines.push_back(std::format("| {} | {} | {} | {} | {} | {} |", work, number(run_time(all.plain, work)), number(run_time(all.ide, work)), number(run_time(all.ahci, work)), number(run_time(all.dom0, work)),
                                    number(run_time(all.domu, work))));
    lines.push_back("");
    lines.push_back("| exits for a request of 4 KiB | plain PVH guest | IDE | AHCI | dom0 inside | its kicks | hypercall exits a kick |");
    lines.push_back("|---|---|---|---|---|---|---|");
    for (std::size_t i = 0; i < std::size(kExitStretches); ++i) {
        const auto one = [&](const char* kind) {
            const auto found = all.exits.find(kind);
            return found == all.exits.end() || i + 1 >= found->second.size() ? Exits{} : exits_of(found->second, i);
        };
        const Exits dom0 = one("dom0");
        lines.push_back(std::format("| {} | {} | {} | {} | {} | {} | {} |", kExitStretches[i], number(one("plain").all), number(one("ide").all), number(one("ahci").all), number(dom0.all), number(dom0.kicks),
                                    number(ratio(dom0.hypercalls, dom0.kicks))));
    }
    lines.push_back("");
    lines.push_back("| microseconds | plain PVH guest | dom0 inside | guest of it | dom0 : plain | guest : plain | Xen-Blanket paper, on hardware |");
    lines.push_back("|---|---|---|---|---|---|---|");
    for (const auto& [name, value] : all.plain) {
        if (!is_time(value.unit)) continue;
        const double dom0 = of(all.dom0, name), guest = of(all.domu, name);
        lines.push_back(std::format("| {} | {} | {} | {} | {} | {} | {} |", name, number(value.best), number(dom0), number(guest), number(ratio(dom0, value.best)), number(ratio(guest, value.best)), kPaper));
    }
    return lines;
}

}  // namespace blanket::rig
