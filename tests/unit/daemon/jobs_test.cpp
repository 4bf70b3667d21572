// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs: one per subject, phases with times, results that survive a restart.
#include "toolstack/daemon/jobs.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "toolstack/base/file.hpp"
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

TEST(Jobs, OneThatARestartInterruptedWaitsUntilItIsKnownWhatBecameOfIt) {
    const Folder folder;
    const std::string path = folder.path + "/1-aa.json";
    ASSERT_TRUE(write_file(path, Job("1-aa", "migrate", "vm/d").to_json().dump(), 0600));  // as start() writes it
    JobTable table(folder.path);
    ASSERT_EQ(table.interrupted().size(), 1u);
    EXPECT_EQ(table.interrupted()[0].subject, "vm/d");
    EXPECT_FALSE(table.busy("vm/d"));  // recovery must be able to claim the VM
    Json job = *table.show("1-aa", 0, {});
    EXPECT_EQ(job["state"], "running");
    EXPECT_EQ(job["progress"]["phase"], "recover");
    job = *table.show("1-aa", job["seq"].get<std::uint64_t>(), std::chrono::milliseconds(1));  // nothing new yet
    EXPECT_EQ(job["state"], "running");
    std::jthread resolver([&] { table.resolve("1-aa", fail_hint(Kind::kUnavailable, "it runs on at 'east'", "blanket vm show d")); });
    EXPECT_EQ(wait_end(table, "1-aa")["error"]["what"], "it runs on at 'east'");
    resolver.join();
    EXPECT_TRUE(table.interrupted().empty());
    table.resolve("1-aa", Json());  // only once
    EXPECT_EQ((*table.show("1-aa", 0, {}))["state"], "failed");
    JobTable again(folder.path);
    EXPECT_TRUE(again.interrupted().empty());
    EXPECT_EQ(again.list().size(), 1u);
    again.forget_ended();
    EXPECT_EQ(again.list().size(), 0u);
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Jobs, ALostLinkIsToldWhileItIsLost) {
    const Folder folder;
    JobTable table(folder.path);
    std::atomic<int> step = 0;
    const auto job = table.start("migrate", "vm/b", [&](Job& self) -> Result<Json> {
        self.phase("memory");
        self.link({.lost_ms = 0, .patience_ms = 90'000, .why = "closed by the peer"});
        self.link({.lost_ms = 12'300, .patience_ms = 90'000, .why = "closed by the peer"});
        step = 1;
        step.notify_all();
        step.wait(1);
        self.link({.lost_ms = -1, .why = {}, .was_ms = 13'000, .again_bytes = 2u << 20});
        return Json();
    });
    ASSERT_TRUE(job);
    const std::string id = (*job)->id();
    step.wait(0);
    Json shown = *table.show(id, 0, {});
    EXPECT_EQ(shown["progress"]["link_lost_ms"], 12'300);
    EXPECT_EQ(shown["progress"]["link_patience_ms"], 90'000);
    step = 2;
    step.notify_all();
    shown = wait_end(table, id);
    EXPECT_FALSE(shown["progress"].contains("link_lost_ms"));
    ASSERT_EQ(shown["messages"].size(), 2u) << shown.dump();  // one at the loss, one at its end
    EXPECT_EQ(shown["messages"][0]["text"], "the link is lost: closed by the peer; trying again for up to 90 s");
    EXPECT_EQ(shown["messages"][1]["text"], "the link is back after 13.0 s; 2.0 MiB are sent again");
}

TEST(Jobs, AMigrationsTraceIsKeptWithItsJob) {
    const Folder folder;
    std::string id, other;
    MoveTrace trace{.vm = "b", .from = "east", .to = "west", .begun = "2026-01-02T03:04:05Z", .moved = true, .ms = 7};
    {
        JobTable table(folder.path);
        std::atomic<bool> go = false;
        const auto job = table.start("migrate", "vm/b", [&](Job& self) -> Result<Json> {
            self.phase("memory");
            self.live({.round = 2, .pages_left = 100, .wire_bytes_per_s = 5, .left_ms = 900, .forecast_ms = 40});
            go.wait(false);
            self.trace(trace);
            return Json();
        });
        id = (*job)->id();
        Json progress;
        do progress = (*table.show(id, 0, {}))["progress"];
        while (!progress.contains("round"));
        progress.erase("ms");
        EXPECT_EQ(progress, (Json{{"phase", "memory"}, {"percent", 0.0}, {"round", 2}, {"pages_left", 100}, {"wire_bytes_per_s", 5}, {"left_ms", 900}, {"forecast_ms", 40}}));
        const auto early = table.trace(id);
        ASSERT_FALSE(early);
        EXPECT_EQ(early.error().kind, Kind::kNotFound);
        go = true;
        go.notify_all();
        EXPECT_EQ(wait_end(table, id)["progress"], (Json{{"phase", "memory"}, {"percent", 100.0}}));
        EXPECT_EQ(parse_move_trace(table.trace(id).value()).value(), trace);
        other = (*table.start("stop", "vm/c", [](Job&) -> Result<Json> { return Json(); }))->id();
        (void)wait_end(table, other);
    }
    ASSERT_TRUE(write_file(folder.path + "/1-gone.trace", "{}", 0600));
    JobTable again(folder.path);
    EXPECT_EQ(parse_move_trace(again.trace(id).value()).value(), trace);
    EXPECT_FALSE(std::filesystem::exists(folder.path + "/1-gone.trace"));
    for (const std::string& none : {other, std::string("nonsense"), "../" + std::filesystem::path(folder.path).filename().string() + "/" + id}) {
        const auto refused = again.trace(none);
        ASSERT_FALSE(refused) << none;
        EXPECT_EQ(refused.error().kind, Kind::kNotFound);
    }
    again.forget_ended();
    EXPECT_TRUE(std::filesystem::is_empty(folder.path));
    EXPECT_FALSE(again.trace(id));
}

// Files are written whole or not at all; should a disk tear one none the less, it is that job's history that is lost, and nothing else.
TEST(Jobs, AFileThatIsTornAtAnyByteLosesItsOwnJobOnly) {
    const Folder folder;
    std::string torn_id, other_id;
    {
        JobTable table(folder.path);
        for (std::string* id : {&torn_id, &other_id}) {
            const auto job = table.start("stop", "vm/a", [](Job&) -> Result<Json> { return Json{{"x", 1}}; });
            ASSERT_TRUE(job);
            (void)wait_end(table, *id = (*job)->id());
        }
    }
    const std::string path = folder.path + "/" + torn_id + ".json";
    const std::string whole = *read_file(path, 1u << 20);
    for (std::size_t length = 0; length <= whole.size(); ++length) {
        for (const char* end : {"", ".0123.new"}) std::ofstream(path + end, std::ios::trunc) << whole.substr(0, length);
        JobTable table(folder.path);
        EXPECT_EQ(table.list().size(), length == whole.size() ? 2u : 1u) << length;
        EXPECT_EQ((*table.show(other_id, 0, std::chrono::milliseconds(0)))["state"], "done");
        EXPECT_TRUE(table.interrupted().empty());
        EXPECT_TRUE(table.idle());
        EXPECT_FALSE(std::filesystem::exists(path + ".0123.new"));
    }
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
