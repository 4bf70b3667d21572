// SPDX-License-Identifier: GPL-2.0-or-later
// bench-migrate's cases and what it says of them: a store pays, every row is there, and a goal without its rows is not judged.
#include <gtest/gtest.h>

#include "tests/bench/migrate/report.hpp"
#include "tests/bench/migrate/verdicts.hpp"
#include "tests/unit/bench/small_stage.hpp"

namespace blanket::bench {
namespace {

const Say kSilent = [](const Row&) {};

TEST(MigrateCases, AWarmStoreSavesBytes) {
    const Settings settings = small_settings({Load::kIdle, Load::kWebDb});
    const Stage stage{.settings = settings, .palette = small_palette(), .image = small_image()};
    const auto rows = play_returns(stage, kSilent);
    ASSERT_TRUE(rows.has_value()) << rows.error().what;
    ASSERT_EQ(rows->size(), 8u);
    for (const Load load : settings.loads) {
        const Row* const warm = find_row(*rows, "return", name_of(load), settings.links[0].name, kOurs);
        const Row* const cold = find_row(*rows, "return", name_of(load), settings.links[0].name, "blanket_without_store");
        ASSERT_NE(warm, nullptr);
        ASSERT_NE(cold, nullptr);
        EXPECT_EQ(warm->moved.exact, std::optional(true));
        EXPECT_LT(warm->moved.wire_bytes, cold->moved.wire_bytes) << name_of(load);
        EXPECT_GT(warm->classes->store.pages, 0u) << name_of(load);
    }
}

TEST(MigrateCases, FourOfOneImageShareWhatTheyHaveAlike) {
    const Settings settings = small_settings();
    const Stage stage{.settings = settings, .palette = small_palette(), .image = small_image()};
    const auto rows = play_four(stage, kSilent);
    ASSERT_TRUE(rows.has_value()) << rows.error().what;
    ASSERT_EQ(rows->size(), 3u);
    const Row* const ours = find_row(*rows, "four", "web_db_x4", settings.links[0].name, kOurs);
    const Row* const stock = find_row(*rows, "four", "web_db_x4", settings.links[0].name, kXl);
    ASSERT_NE(ours, nullptr);
    ASSERT_NE(stock, nullptr);
    EXPECT_LT(ours->moved.wire_bytes, stock->moved.wire_bytes);
}

TEST(MigrateCases, TheReportHasEveryMoveAndJudgesOnlyWhatItHas) {
    Settings settings = small_settings({Load::kIdle, Load::kThrasher});
    settings.links = {kWanLinks[0], kWanLinks[1]};
    const Stage stage{.settings = settings, .palette = small_palette(), .image = small_image()};
    const auto rows = play_cold(stage, kSilent);
    ASSERT_TRUE(rows.has_value()) << rows.error().what;
    ASSERT_EQ(rows->size(), 2u * 2u * 6u);
    const Json report = report_json(*rows, settings);
    EXPECT_EQ(report["moves"].size(), rows->size());
    const auto metric = [&](const std::string& name) -> const Json* {
        for (const auto& one : report["metrics"])
            if (one["name"].get<std::string>() == name) return &one;
        return nullptr;
    };
    ASSERT_NE(metric("bytes_fewer_than_stock_100M_85ms"), nullptr);
    EXPECT_GT((*metric("bytes_fewer_than_stock_100M_85ms"))["value"].get<double>(), 1);
    ASSERT_NE(metric("page_exact_moves"), nullptr);
    EXPECT_TRUE((*metric("page_exact_moves"))["met"].get<bool>());
    EXPECT_EQ(metric("return_bytes_fewer_than_stock"), nullptr);
    EXPECT_EQ(metric("unshaped_time_beside_raw"), nullptr);
    EXPECT_NE(report_html(report).find("thrasher"), std::string::npos);
    for (const Row& row : *rows) EXPECT_NE(line_of(row).find(row.method), std::string::npos);
}

TEST(MigrateCases, MeansAreGeometric) {
    EXPECT_DOUBLE_EQ(geometric_mean(std::vector<double>{2, 8}), 4);
    EXPECT_DOUBLE_EQ(geometric_mean({}), 0);
}

}  // namespace
}  // namespace blanket::bench
