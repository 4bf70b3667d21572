// SPDX-License-Identifier: GPL-2.0-or-later
// The report for programs, and its short form for the terminal; see demo_result.hpp.
#include <cmath>

#include "tests/lab/demo_result.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

double rounded(double value, double digits = 1000) { return std::round(value * digits) / digits; }

Json migration_json(const MigrationResult& move) {
    Json phases = Json::array();
    for (const auto& phase : move.phases) phases.push_back({{"name", phase.name}, {"start_ms", phase.start_ms}, {"end_ms", phase.end_ms}});
    Json value{{"from", move.from}, {"to", move.to}, {"ok", move.ok}, {"total_s", rounded(move.total_s)}, {"downtime_ms", rounded(move.downtime_ms)},
               {"client_stall_ms", rounded(move.client_stall_ms)}, {"tcp_reconnects", move.tcp_reconnects}, {"lost_writes", move.lost_writes},
               {"memory_wire_bytes", move.memory_wire_bytes}, {"disk_wire_bytes", move.disk_wire_bytes}, {"wan_bytes", move.wan_bytes}, {"rounds", move.rounds},
               {"client_median_ms", rounded(move.median_ms)}, {"begin_s", rounded(move.begin_s)}, {"end_s", rounded(move.end_s)}, {"job", move.job}, {"phases", phases}};
    if (!move.without.empty()) value["without"] = move.without;
    if (!move.memory.empty()) value["memory"] = move.memory;
    if (move.trace.is_object()) value["trace"] = move.trace;
    if (!move.error.empty()) value["error"] = move.error;
    return value;
}

}  // namespace

Json report_json(const DemoResult& result) {
    Json migrations = Json::array(), checks = Json::array(), refused;
    for (const auto& move : result.migrations) migrations.push_back(migration_json(move));
    for (const auto& check : result.checks) checks.push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
    if (result.refusal.tried)
        refused = {{"to", result.refusal.to}, {"refused", result.refusal.refused}, {"exit_code", result.refusal.exit_code}, {"message", result.refusal.message}};
    const WanResult& wan = result.wan;
    return {{"demo", "two-clouds"},
            {"ok", result.ok},
            {"failure", result.failure},
            {"commit", result.commit},
            {"total_s", rounded(result.total_s)},
            {"machine", result.machine},
            {"versions", result.versions},
            {"dirty_mib_per_s", rounded(result.dirty_mib_per_s)},
            {"wan",
             {{"rtt_ms", rounded(wan.rtt_ms)}, {"ping_ms", rounded(wan.ping_ms)}, {"peak_mbit_s", rounded(wan.peak_mbit_s)}, {"east_west_bytes", wan.east_west_bytes},
              {"west_east_bytes", wan.west_east_bytes}, {"searched_bytes", wan.searched_bytes}, {"plaintext_found", wan.plaintext_found}, {"traffic", wan.traffic}}},
            {"migrations", migrations},
            {"refused_migration", refused},
            {"checks", checks}};
}

std::string report_text(const DemoResult& result) {
    std::string text = "\n";
    for (const auto& move : result.migrations) {
        if (move.ok)
            text += std::format("  {} -> {}   {:.1f} s in all, down {:.0f} ms, client stall {:.0f} ms, {} reconnects, {} lost writes, memory {}, disk {}, {} rounds\n", move.from, move.to,
                                move.total_s, move.downtime_ms, move.client_stall_ms, move.tcp_reconnects, move.lost_writes, format_bytes(move.memory_wire_bytes),
                                format_bytes(move.disk_wire_bytes), move.rounds);
        else text += std::format("  {} -> {}   FAILED: {}\n", move.from, move.to, move.error);
    }
    if (result.refusal.tried) text += std::format("  -> {}   {}: {}\n", result.refusal.to, result.refusal.refused ? "refused, as it must be" : "NOT REFUSED", result.refusal.message);
    text += "\n";
    for (const auto& check : result.checks) text += std::format("  {}  {:<34} {}\n", check.ok ? "ok  " : "FAIL", check.name, check.detail);
    if (!result.failure.empty()) text += std::format("\n  the story ended early: {}\n", result.failure);
    text += std::format("\n  {} after {:.0f} s\n", result.ok ? "EVERYTHING HOLDS" : "THE DEMO FAILED", result.total_s);
    return text;
}

std::string html_path(const std::string& json_path) {
    const auto slash = json_path.rfind('/'), dot = json_path.rfind('.');
    return (dot == std::string::npos || (slash != std::string::npos && dot < slash) ? json_path : json_path.substr(0, dot)) + ".html";
}

Result<void> write_reports(const DemoResult& result, const std::string& path) {
    BLANKET_CHECK(write_file(path, report_json(result).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
    return write_file(html_path(path), report_html(result));
}

}  // namespace blanket::lab
