// SPDX-License-Identifier: GPL-2.0-or-later
// What bench-uplink makes of what the probe says: the best of the rounds, ratios, and a report also where parts are missing.
#include "tests/bench/uplink_tell.hpp"

#include <format>
#include <gtest/gtest.h>

namespace blanket::rig {
namespace {

Json metric_of(const Json& metrics, const std::string& name) {
    for (const auto& metric : metrics)
        if (metric["name"] == name) return metric;
    ADD_FAILURE() << "no metric " << name;
    return {{"value", 0}, {"goal", nullptr}, {"met", false}};
}

double value_of(const Json& metrics, const std::string& name) { return metric_of(metrics, name)["value"]; }

Kinds some() {
    Kinds all;
    for (const char* round : {"PROBE bench read_1m 90 MiB/s\nPROBE bench fork_exit 7 us\r\nPROBE bench cpu_read_1m_provider 4 ms/MiB\nPROBE bench cpu_read_1m_machine 6 ms/MiB\n",
                              "(XEN) noise\nPROBE bench read_1m 100 MiB/s\nPROBE bench fork_exit 5 us\nPROBE bench cpu_read_1m_machine 7 ms/MiB\n"})
        EXPECT_TRUE(keep_best(all.plain, round));
    EXPECT_TRUE(keep_best(all.dom0, "PROBE bench read_1m 50 MiB/s\nPROBE bench cpu_read_1m_provider 8 ms/MiB\nPROBE bench cpu_read_1m_machine 12 ms/MiB\nPROBE bench kicks_qd1 1 per_request\n"));
    EXPECT_TRUE(keep_best(all.ahci, "PROBE bench read_1m 10 MiB/s\n"));
    EXPECT_TRUE(keep_best(all.domu, "PROBE bench read_1m 5 MiB/s\n"));
    EXPECT_TRUE(keep_best(all.pv_on_hvm, "PROBE bench read_1m 80 MiB/s\nPROBE bench fork_exit 6 us\n"));
    Stretch stretch;
    stretch.exits = 4000;
    stretch.cycles = 100;
    stretch.requests = 1600;
    stretch.sends = 800;
    stretch.reasons = {{kSvmHypercall, 1200}, {0x60, 2800}};
    all.exits["dom0"] = {stretch, stretch, stretch, stretch, Stretch{.exits = 10, .cycles = 100}};
    return all;
}

TEST(UplinkTell, TheBestOfAllRoundsAndTheRatiosOfIt) {
    const Kinds all = some();
    EXPECT_EQ(of(all.plain, "read_1m"), 100);
    EXPECT_EQ(of(all.plain, "fork_exit"), 5);
    EXPECT_EQ(of(all.plain, "cpu_read_1m_machine"), 6);
    Json metrics = Json::array();
    tell_rates(all, metrics);
    tell_times(all, metrics);
    tell_run_times(all, metrics);
    tell_exits(all, metrics);
    EXPECT_DOUBLE_EQ(value_of(metrics, "read_1m"), 0.5);
    EXPECT_DOUBLE_EQ(value_of(metrics, "read_1m_guest"), 0.05);
    EXPECT_DOUBLE_EQ(value_of(metrics, "read_1m_emulated"), 5);
    EXPECT_DOUBLE_EQ(value_of(metrics, "read_1m_guest_emulated"), 0.5);
    EXPECT_DOUBLE_EQ(value_of(metrics, "read_1m_pv_on_hvm"), 0.625);
    EXPECT_DOUBLE_EQ(value_of(metrics, "read_1m_guest_pv_on_hvm"), 0.0625);
    EXPECT_DOUBLE_EQ(value_of(metrics, "cpu_read_1m"), 20);
    EXPECT_DOUBLE_EQ(value_of(metrics, "exits_write_qd1_dom0"), 2.5);
    EXPECT_DOUBLE_EQ(value_of(metrics, "kick_read_qd8_dom0"), 1.5);
}

TEST(UplinkTell, ExitsAreJudgedEightAtATimeAndKicksAlways) {
    Kinds all = some();
    Json metrics = Json::array();
    tell_exits(all, metrics);
    for (const char* which : {"read_qd8", "write_qd8"}) {
        const Json metric = metric_of(metrics, std::format("exits_{}_dom0", which));
        EXPECT_EQ(metric["goal"], "<= 1.5");
        EXPECT_EQ(metric["met"], false);
    }
    EXPECT_TRUE(metric_of(metrics, "exits_read_qd1_dom0")["goal"].is_null());
    EXPECT_EQ(metric_of(metrics, "kick_write_qd1_dom0")["goal"], 1);
    EXPECT_EQ(metric_of(metrics, "kick_write_qd1_dom0")["met"], false);
    for (auto& stretch : all.exits["dom0"]) stretch.reasons[kSvmHypercall] = stretch.sends + 2;
    metrics = Json::array();
    tell_exits(all, metrics);
    EXPECT_EQ(metric_of(metrics, "kick_write_qd1_dom0")["met"], true);
}

TEST(UplinkTell, TheReportHasEverything) {
    const Json measured = everything(some());
    EXPECT_EQ(measured["kinds"]["ahci"]["read_1m"]["value"], 10);
    EXPECT_EQ(measured["kinds"]["pv_on_hvm"]["fork_exit"]["value"], 6);
    EXPECT_EQ(measured["exits"]["dom0"]["write_qd8"]["kicks"], 0.5);
    const std::string lines = readme_lines(some()).dump();
    EXPECT_TRUE(lines.contains("| read_1m (MiB/s) | 100 | - | 10.0 | 50.0 | 5.00 | 0.50 | 0.05 | 5.00 | 0.50 |")) << lines;
    EXPECT_TRUE(lines.contains("| read_1m | 10.0 | - | - | 20.0 | - |")) << lines;
    EXPECT_TRUE(lines.contains("| read_qd1 | - | - | - | 2.50 | 0.50 | 1.50 |")) << lines;
    EXPECT_TRUE(lines.contains("| fork_exit | 5.00 | - | - | - | - | near a PV guest of one level |")) << lines;
    EXPECT_FALSE(readme_lines(Kinds{}).empty());
    EXPECT_TRUE(everything(Kinds{}).is_object());
}

TEST(UplinkTell, AProbeThatFailedGivesNothing) {
    Values into;
    EXPECT_FALSE(keep_best(into, ""));
    EXPECT_FALSE(keep_best(into, "PROBE bench read_1m 90\n"));
    EXPECT_FALSE(keep_best(into, "PROBE bench read_1m 90 MiB/s\nPROBE bench FAILED: wrong data\n"));
}

}  // namespace
}  // namespace blanket::rig
