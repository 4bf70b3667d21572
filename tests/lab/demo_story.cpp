// SPDX-License-Identifier: GPL-2.0-or-later
// The demo's chapters in their order; see demo.hpp.
#include <cstdio>
#include <thread>
#include <unistd.h>

#include "tests/lab/deadline.hpp"
#include "tests/lab/demo.hpp"
#include "tests/lab/demo_checks.hpp"
#include "tests/lab/machine_facts.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

void add(Clouds& clouds, DemoResult& result, CheckResult check) {
    clouds.story.say("{} {}: {}", check.ok ? "ok:" : "FAILED:", check.name, check.detail);
    result.checks.push_back(std::move(check));
}

Result<void> move_and_check(Clouds& clouds, DemoResult& result, const std::string& from, const std::string& to) {
    clouds.story.chapter("web moves {} -> {}, live, while the client asks 20 times a second and web writes", from, to);
    BLANKET_TRY(MigrationResult move, move_web(clouds, from, to));
    result.migrations.push_back(move);
    if (!move.ok) return fail(Kind::kIo, "the move {} -> {} failed: {}", from, to, move.error);
    clouds.story.say("web runs at {}: {:.1f} s in all, down {:.0f} ms, the client's longest wait {:.0f} ms, {} reconnects, {} lost writes; on the wire: memory {}, disk {}", to, move.total_s,
                     move.downtime_ms, move.client_stall_ms, move.tcp_reconnects, move.lost_writes, format_bytes(move.memory_wire_bytes), format_bytes(move.disk_wire_bytes));
    add(clouds, result, check_same_vm(clouds, to));
    add(clouds, result, check_no_trace(clouds, from));
    std::this_thread::sleep_for(scaled(seconds(4)));
    return {};
}

bool inside_xen(const Clouds& clouds, const std::string& site) {
    const auto& providers = clouds.lab.options().providers;
    return providers.contains(site);
}

Result<void> tell(Clouds& clouds, DemoResult& result, const DemoOptions& options) {
    Story& story = clouds.story;
    story.chapter("two clouds boot the same image on different virtual hardware");
    BLANKET_CHECK(boot_site(clouds, east_profile()));
    BLANKET_CHECK(boot_site(clouds, west_profile()));
    for (const char* site : {"east", "west"}) BLANKET_CHECK(wait_green(clouds, site));
    BLANKET_CHECK(send_canary(clouds));
    result.versions = software_versions(clouds);

    story.chapter("they become one federation over a WAN of 50 ms and 100 Mbit/s");
    BLANKET_CHECK(federate(clouds));

    // Inside an emulated Xen a VM takes more than 20 minutes to boot; it boots in the other cloud then and first moves there.
    const bool west_first = inside_xen(clouds, "east") && !inside_xen(clouds, "west");
    if (west_first) clouds.home = "west";
    story.chapter("a Debian VM starts at {}, and a client beside it", clouds.home);
    BLANKET_CHECK(add_image(clouds, options.domu));
    BLANKET_CHECK(create_vms(clouds));
    BLANKET_CHECK(start_traffic(clouds));
    std::this_thread::sleep_for(scaled(seconds(5)));

    result.moves = west_first ? 3 : 2;
    if (west_first) BLANKET_CHECK(move_and_check(clouds, result, "west", "east"));
    BLANKET_CHECK(move_and_check(clouds, result, "east", "west"));
    BLANKET_CHECK(move_and_check(clouds, result, "west", "east"));

    if (options.south) {
        story.chapter("a third site joins whose CPU lacks features; the move there must be refused");
        BLANKET_CHECK(boot_site(clouds, south_profile()));
        BLANKET_CHECK(wait_green(clouds, "south"));
        BLANKET_CHECK(join_site(clouds, "south"));
        BLANKET_TRY(CheckResult check, check_refusal(clouds, "east", "south", result.refusal));
        story.say("blanket says: {}", result.refusal.message);
        add(clouds, result, std::move(check));
    }

    story.chapter("what the world outside saw");
    add(clouds, result, check_connection(clouds));
    add(clouds, result, check_acknowledged(clouds, "east"));
    for (const char* site : {"east", "west"})
        if (inside_xen(clouds, site)) add(clouds, result, check_granted(clouds, site));
    if (const auto load = clouds.guest("east", clouds.web, "GET", "/load"); load) {
        result.dirty_mib_per_s = load->value("dirty_mib_per_s", 0.0);
        const double least = clouds.lab.options().providers.empty() ? 2 : 0.1;  // start_traffic asks for less where one machine is inside a Xen
        add(clouds, result, {std::format("web dirtied >= {} MiB/s of memory", least), result.dirty_mib_per_s >= least,
                             std::format("{:.2f} MiB/s on average, {} records written", result.dirty_mib_per_s, json_number_or(*load, "acked", 0))});
    }
    BLANKET_CHECK(clouds.guest("east", clouds.web, "POST", "/load/stop"));
    BLANKET_TRY(BlanketCli east, clouds.at("east"));
    const bool slow = inside_xen(clouds, "east");  // where a guest's services do not end within two minutes
    BLANKET_CHECK(east.run({"vm", "stop", "web", "--timeout", slow ? "15m" : "2m"}, minutes(slow ? 16 : 4)));
    for (auto& check : check_volume(clouds, "east")) add(clouds, result, std::move(check));
    for (auto& check : check_wan(clouds, result.wan)) add(clouds, result, std::move(check));
    add(clouds, result, check_consoles(clouds));
    return {};
}

bool everything_holds(const DemoResult& result, bool south) {
    bool good = result.failure.empty() && result.moves > 0 && result.migrations.size() == result.moves && !result.checks.empty() && (!south || result.refusal.refused);
    for (const auto& check : result.checks) good = good && check.ok;
    for (const auto& move : result.migrations) good = good && move.ok && move.tcp_reconnects == 0 && move.lost_writes == 0;
    return good;
}

}  // namespace

Result<int> run_demo(DemoOptions options) {
    Story story;
    if (::access(options.domu.c_str(), R_OK) != 0) return fail_hint(Kind::kNotFound, std::format("no guest image at '{}'", options.domu), "give --domu FILE (raw or .raw.zst)");
    options.lab.forbidden = forbidden_plaintext();
    BLANKET_TRY(const auto lab, Lab::create(options.lab));
    DemoResult result;
    result.machine = machine_facts(lab->accelerator());
    result.commit = commit_of_tree();
    story.say("on {}, {} cores at {:.1f} million steps/s, {} MiB, {}; state and logs: {}", json_string_or(result.machine, "cpu", "?"), json_number_or(result.machine, "cores", 0), result.machine.value("msteps_per_s", 0.0),
              json_number_or(result.machine, "ram_mib", 0), json_string_or(result.machine, "accelerator", "?"), lab->dir());
    Clouds clouds{*lab, story};
    if (const auto told = tell(clouds, result, options); !told) {
        result.failure = told.error().what + (told.error().hint.empty() ? "" : " (" + told.error().hint + ")");
        story.say("the story ends here: {}", result.failure);
        story.say("collecting logs in {}", lab->dir());
        lab->collect_logs();
        if (result.wan.rtt_ms == 0) [[maybe_unused]] const auto ignored = check_wan(clouds, result.wan);
    }
    result.ok = everything_holds(result, options.south);
    if (!result.ok && result.failure.empty()) lab->collect_logs();
    result.total_s = story.now_s();
    result.client = clouds.client.samples();
    result.story = story.lines();
    std::fputs(report_text(result).c_str(), stdout);
    if (!options.report.empty()) {
        BLANKET_CHECK(write_reports(result, options.report));
        std::printf("\n  report: %s and %s\n", options.report.c_str(), html_path(options.report).c_str());
    }
    if (!result.ok) std::printf("\n  logs are kept in %s (on the host: the cache folder's lab/%s)\n", lab->dir().c_str(), options.lab.name.c_str());
    std::fflush(stdout);
    return result.ok ? 0 : 1;
}

}  // namespace blanket::lab
