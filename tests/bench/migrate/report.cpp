// SPDX-License-Identifier: GPL-2.0-or-later
// See report.hpp. The page is in report_page.cpp.
#include "tests/bench/migrate/report.hpp"

#include <format>

#include "tests/bench/codec_run.hpp"
#include "tests/bench/migrate/verdicts.hpp"

namespace blanket::bench {
namespace {

Json row_json(const Row& row) {
    const Moved& moved = row.moved;
    Json out{{"case", row.what}, {"load", row.load}, {"link", row.link}, {"method", row.method}, {"wire_bytes", moved.wire_bytes}, {"seconds", moved.seconds}, {"downtime_ms", moved.downtime_s * 1000},
             {"rounds", moved.rounds}, {"pages", moved.pages}, {"processor_s", moved.processor_s}, {"share_of_processor", moved.share}, {"converged", moved.settled}, {"stopped_because", moved.why}};
    if (moved.forecast_s > 0) out["forecast_ms"] = moved.forecast_s * 1000;
    if (moved.exact) out["page_exact"] = *moved.exact;
    if (row.classes) {
        out["classes"] = stream::classes_json(*row.classes);
        out["cipher_s"] = row.cipher_s;
    }
    return out;
}

}  // namespace

std::string line_of(const Row& row) {
    const Moved& moved = row.moved;
    std::string line = std::format("{:<9} {:<10} {:<13} {:<28} {:8.1f} MB {:8.1f} s  down {:7.0f} ms  {:3} rounds  processor {:5.2f} s", row.what, row.load, row.link, row.method,
                                   static_cast<double>(moved.wire_bytes) / 1e6, moved.seconds, moved.downtime_s * 1000, moved.rounds.size(), moved.processor_s);
    if (moved.share < 1) line += std::format("  held back to {:.0f} %", moved.share * 100);
    if (!moved.settled) line += "  does not converge";
    if (moved.exact) line += *moved.exact ? "  exact" : "  NOT EXACT";
    return line;
}

Json links_json(const Settings& settings) {
    const auto mbit = [](const Link& link, const Connections& connections) { return goodput(link, connections) * 8 / 1e6; };
    Json links = Json::array();
    for (const Link& link : settings.links)
        links.push_back({{"name", link.name}, {"mbit_s", link.bits_per_s / 1e6}, {"rtt_ms", link.rtt_s * 1000}, {"loss", link.loss}, {"peers_goodput_mbit_s", mbit(link, {})},
                         {"ours_goodput_mbit_s", mbit(link, settings.ours)}, {"one_connection_mbit_s", mbit(link, {.count = 1, .window = settings.ours.window})},
                         {"four_connections_mbit_s", mbit(link, {.count = 4, .window = settings.ours.window})}});
    return links;
}

Json report_json(std::span<const Row> rows, const Settings& settings) {
    Json all = Json::array();
    for (const Row& row : rows) all.push_back(row_json(row));
    return {{"bench", "migrate"},
            {"metrics", verdicts(rows, settings)},
            {"not_judged", not_judged()},
            {"seed", settings.seed},
            {"guest_mib", settings.frames / 256},
            {"away_s", settings.away_s},
            {"cipher_gb_s", settings.cipher_s_per_byte > 0 ? 1e-9 / settings.cipher_s_per_byte : 0},
            {"links", links_json(settings)},
            {"notes",
             {"links are a model in virtual time (tests/bench/migrate/virtual_wire.hpp); coding is done for real and its processor time is in the virtual time",
              "qemu_*_model: QEMU's method over the same pages, own code; ended after 30 rounds where it does not converge",
              "the peers' targets take no time here; ours does", "a stop is the link's part: last pages and round trips (ours: the quorum's), without suspend, restore and devices",
              "four VMs move one after another"}},
            {"moves", all}};
}

}  // namespace blanket::bench
