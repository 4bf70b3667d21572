// SPDX-License-Identifier: GPL-2.0-or-later
// The demo's report: the JSON of the issue byte for byte, the page's parts, and the client's log that both draw on.
#include <cstdlib>
#include <gtest/gtest.h>

#include "tests/lab/client_log.hpp"
#include "tests/lab/demo_result.hpp"
#include "tests/lab/report_plot.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::lab {
namespace {

DemoResult sample_result() {
    DemoResult result;
    result.ok = true;
    result.commit = "abc";
    result.total_s = 300.25;
    result.machine = {{"cpu", "x"}, {"cores", 2}, {"ram_mib", 8000}, {"accelerator", "tcg"}};
    result.versions = {{"xen", "4.20.3"}};
    result.wan = {.rtt_ms = 50.02, .ping_ms = 52.5, .peak_mbit_s = 99.5, .east_west_bytes = 1000, .west_east_bytes = 500, .searched_bytes = 1500, .plaintext_found = 0, .traffic = {{"wireguard", 700}}};
    result.dirty_mib_per_s = 2.5;
    result.migrations.push_back({.from = "east", .to = "west", .ok = true, .total_s = 20.5, .downtime_ms = 700, .client_stall_ms = 900.5, .tcp_reconnects = 0, .lost_writes = 0,
                                 .memory_wire_bytes = 100, .disk_wire_bytes = 200, .wan_bytes = 400, .rounds = 3, .phases = {{"prepare", 0, 100}, {"memory", 100, 20000}},
                                 .begin_s = 100, .end_s = 120.5, .median_ms = 12, .job = "j1", .error = ""});
    result.refusal = {.tried = true, .refused = true, .exit_code = 5, .to = "south", .message = "south lacks avx <b>"};
    result.checks.push_back({"one connection", true, "500 requests"});
    for (int i = 0; i < 500; ++i) result.client.push_back({99 + i * 0.05, i == 300 ? 900.5 : 12, static_cast<std::uint64_t>(i + 1), 7});
    return result;
}

TEST(ReportJson, IsTheFormThatTheIssueNames) {
    const std::string path = std::string(BLANKET_SOURCE_DIR) + "/tests/unit/lab/report.golden.json";
    if (std::getenv("BLANKET_UPDATE_GOLDEN") != nullptr) ASSERT_TRUE(write_file(path, report_json(sample_result()).dump(2) + "\n"));  // then read the diff
    const auto golden = read_file(path);
    ASSERT_TRUE(golden) << golden.error().what;
    EXPECT_EQ(report_json(sample_result()).dump(2) + "\n", *golden);
}

TEST(ReportJson, AFailedMoveCarriesItsError) {
    DemoResult result = sample_result();
    result.migrations[0].ok = false;
    result.migrations[0].error = "no memory";
    EXPECT_EQ(report_json(result)["migrations"][0]["error"], "no memory");
    EXPECT_NE(report_text(result).find("FAILED: no memory"), std::string::npos);
}

TEST(ReportHtml, IsOnePageWithBothDrawings) {
    const std::string html = report_html(sample_result());
    EXPECT_NE(html.find("aria-label=\"latency of each request over time\""), std::string::npos);
    EXPECT_NE(html.find("aria-label=\"phases of the move\""), std::string::npos);
    EXPECT_NE(html.find("lacks avx &lt;b&gt;"), std::string::npos);
    for (const char* outside : {"http://", "https://", "<script", "src="}) EXPECT_EQ(html.find(outside), std::string::npos) << outside;
}

TEST(ReportHtml, HasRoomForNothing) { EXPECT_NE(report_html(DemoResult{}).find("no measurements"), std::string::npos); }

TEST(HtmlPath, StandsBesideTheJson) {
    EXPECT_EQ(html_path("/a/report.json"), "/a/report.html");
    EXPECT_EQ(html_path("/a.b/report"), "/a.b/report.html");
}

TEST(ClientLog, BringsTheClientsClockToTheLabs) {
    ClientLog log;
    ASSERT_TRUE(log.add("{\"now_ms\":5000,\"running\":true,\"requests\":2,\"reconnects\":0,\"errors\":0}\n4900 10000 1 5\n4950 12000 2 6\n", 100.0, 100.2));
    ASSERT_EQ(log.size(), 2u);
    const auto samples = log.samples();
    EXPECT_NEAR(samples[0].t_s, 100.0, 1e-6);
    EXPECT_NEAR(samples[1].latency_ms, 12, 1e-9);
    EXPECT_EQ(log.highest_acked(), 6u);
    ASSERT_TRUE(log.add("{\"now_ms\":9000,\"reconnects\":1,\"errors\":2}\n8000 3000000 3 9\n", 104.0, 104.1));
    EXPECT_EQ(log.reconnects(), 1u);
    EXPECT_NEAR(log.stall_ms(104, 105), 3000, 1e-9);
    EXPECT_NEAR(log.stall_ms(100, 100.5), 12, 1e-9);
    EXPECT_NEAR(log.median_ms(99, 101), 12, 1e-9);
}

TEST(ClientLog, RefusesHolesAndNoise) {
    const std::string head = "{\"now_ms\":1,\"reconnects\":0,\"errors\":0}\n";
    for (const char* bad : {"1 2 2 3\n", "1 2 1\n", "a 2 1 3\n", "1 2 1 3\n1 2 3 3\n", "-1 2 1 3\n"}) EXPECT_FALSE(ClientLog().add(head + bad, 0, 1)) << bad;
    EXPECT_FALSE(ClientLog().add("hello", 0, 1));
    EXPECT_FALSE(ClientLog().add("", 0, 1));
}

}  // namespace
}  // namespace blanket::lab
