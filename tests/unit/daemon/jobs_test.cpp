// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs: one per subject, phases with times, results that survive a restart.
#include "toolstack/daemon/jobs.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct Folder {
    std::string path = std::filesystem::temp_directory_path() / ("jobs-" + random_hex(4));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
};

Json wait_end(JobTable& table, const std::string& id) {
    Json job;
    do job = *table.show(id, job.is_null() ? 0 : job["seq"].get<std::uint64_t>(), std::chrono::seconds(5));
    while (job["state"] == "running");
    return job;
}

TEST(Jobs, RunOnceEachSubjectAndTellTheirPhases) {
    const Folder folder;
    JobTable table(folder.path);
    std::atomic<bool> go = false;
    const auto job = table.start("start", "vm/a", [&](Job& self) -> Result<Json> {
        self.phase("one");
        go.wait(false);
        self.phase("two");
        return Json{{"x", 1}};
    });
    ASSERT_TRUE(job);
    const auto second = table.start("stop", "vm/a", [](Job&) -> Result<Json> { return Json(); });
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, Kind::kConflict);
    EXPECT_TRUE(table.busy("vm/a"));
    go = true;
    go.notify_all();
    const Json done = wait_end(table, (*job)->id());
    EXPECT_EQ(done["state"], "done");
    EXPECT_EQ(done["phases"].size(), 2u);
    EXPECT_EQ(done["phases"][1]["name"], "two");
    EXPECT_TRUE(done["phases"][1]["end_ms"].is_number());
    EXPECT_EQ(done["result"]["x"], 1);
}

TEST(Jobs, AFailureCarriesItsErrorAndSurvivesARestart) {
    const Folder folder;
    std::string id;
    {
        JobTable table(folder.path);
        const auto job = table.start("migrate", "vm/b", [](Job&) -> Result<Json> { return fail_hint(Kind::kPrecondition, "no memory", "free some"); });
        id = (*job)->id();
        EXPECT_EQ(wait_end(table, id)["error"]["hint"], "free some");
    }
    JobTable again(folder.path);
    const auto job = again.show(id, 0, {});
    ASSERT_TRUE(job);
    EXPECT_EQ((*job)["state"], "failed");
    EXPECT_EQ((*job)["error"]["kind"], "precondition");
    EXPECT_FALSE(again.show("nonsense", 0, {}));
}

TEST(Jobs, CancelReachesTheWork) {
    const Folder folder;
    JobTable table(folder.path);
    const auto job = table.start("x", "vm/c", [](Job& self) -> Result<Json> {
        while (!self.cancelled()) std::this_thread::yield();
        return fail(Kind::kCancelled, "as asked");
    });
    ASSERT_TRUE(table.cancel((*job)->id()));
    EXPECT_EQ(wait_end(table, (*job)->id())["state"], "cancelled");
}

}  // namespace
}  // namespace blanket
