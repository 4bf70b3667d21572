// SPDX-License-Identifier: GPL-2.0-or-later
// What the demo found out, as values, and its two written forms. The renderers are pure.
#pragma once

#include <string>
#include <vector>

#include "tests/lab/client_log.hpp"
#include "tests/lab/story.hpp"

namespace blanket::lab {

struct PhaseSpan {
    std::string name;
    std::int64_t start_ms = 0, end_ms = 0;  // since the job began
};

struct MigrationResult {
    std::string from, to;
    bool ok = false;
    double total_s = 0, downtime_ms = 0, client_stall_ms = 0;
    std::uint64_t tcp_reconnects = 0, lost_writes = 0;
    std::uint64_t memory_wire_bytes = 0;  // the memory stream as sent on the TLS connection (the job says so)
    std::uint64_t disk_wire_bytes = 0;    // the delta as sent (the job) and all WireGuard frames between the sites meanwhile, DRBD's among them (the shaper)
    std::uint64_t wan_bytes = 0;          // every frame between the two sites meanwhile, both directions (the shaper)
    std::uint64_t rounds = 0;
    std::string without;                  // what the move was to do without (vm migrate --without)
    Json memory = Json::object();         // the job's account of it: pages and bytes by class, each round, why the last one was the last
    Json trace;                           // what `blanket job report` has of it (core/move_trace.hpp); null: nothing
    std::vector<PhaseSpan> phases;
    double begin_s = 0, end_s = 0;        // lab clock
    double median_ms = 0;                 // of the client's requests meanwhile
    std::string job, error;
};

struct CheckResult {
    std::string name;
    bool ok = false;
    std::string detail;
};

struct Refusal {  // the last move
    bool tried = false, refused = false;
    int exit_code = 0;
    std::string to, message;
};

struct WanResult {
    double rtt_ms = 0;             // smallest applied delay there + back
    double ping_ms = 0;            // what ping in one dom0 to the other sees, average
    double peak_mbit_s = 0;        // busiest second of either direction
    std::uint64_t east_west_bytes = 0, west_east_bytes = 0, searched_bytes = 0, plaintext_found = 0;
    Json traffic = Json::object(); // bytes by kind
};

struct DemoResult {
    bool ok = false;
    std::string commit, failure;   // failure: the step that ended the story early
    double total_s = 0;
    Json machine = Json::object(), versions = Json::object();
    WanResult wan;
    double dirty_mib_per_s = 0;
    std::size_t moves = 0;         // that the story has
    std::vector<MigrationResult> migrations;
    Refusal refusal;
    std::vector<CheckResult> checks;
    std::vector<ClientSample> client;
    std::vector<Story::Line> story;
};

Json report_json(const DemoResult& result);
std::string report_html(const DemoResult& result);
// A line or two per migration and check, for the terminal.
std::string report_text(const DemoResult& result);
// FILE and FILE with .html instead of its ending.
Result<void> write_reports(const DemoResult& result, const std::string& path);
std::string html_path(const std::string& json_path);

}  // namespace blanket::lab
