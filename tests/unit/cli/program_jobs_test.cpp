// SPDX-License-Identifier: GPL-2.0-or-later
// The real program against a fake daemon (program_fixture.hpp): verbs that are jobs, watched to their end, left, or broken off.
#include "tests/unit/cli/program_fixture.hpp"
#include "toolstack/cli/run.hpp"

namespace blanket::cli {
namespace {

TEST_F(Program, MigrationIsWatchedToItsEnd) {
    daemon.on("POST /1.0/vms/web/migrate", 202, kRunning);
    daemon.on("GET /1.0/jobs/j1", 200, kRunning);
    daemon.on("GET /1.0/jobs/j1", 200, kDone);
    const Output output = blanket({"vm", "migrate", "web", "west"});
    EXPECT_EQ(output.status, 0);
    EXPECT_EQ(output.out, "web moved from east to west in 31.2 s: stopped for 412 ms, 5 rounds, 63.0 MiB of memory and 12.0 MiB of disk sent, epoch 4\n");
    EXPECT_EQ(output.err,
              "     0.0 s  prepare ...\n     0.8 s  prepare took 800 ms\n     0.8 s  disk ...\n    20.0 s  disk took 19.2 s\n    20.0 s  memory ...\n    31.2 s  memory took 11.2 s\n"
              "    21.0 s  memory round 1: 40.0 MiB sent\n");
    const auto asked = daemon.asked();
    EXPECT_EQ(asked[0].body, (Json{{"target", "west"}}));
    EXPECT_EQ(asked[1].path, "/1.0/jobs/j1");
    EXPECT_TRUE(asked[2].path.starts_with("/1.0/jobs/j1?after=2&wait_s=")) << asked[2].path;
    EXPECT_EQ(Json::parse(blanket({"vm", "migrate", "web", "west", "-q", "-o", "json"}).out), Json::parse(kDone));
    EXPECT_EQ(blanket({"job", "watch", "j1", "-q"}).err, "");
    EXPECT_EQ(blanket({"vm", "migrate", "web", "west", "--watch"}).out, output.out);
    const std::size_t before = daemon.asked().size();
    EXPECT_EQ(blanket({"vm", "migrate", "web", "west", "--watch", "--no-wait"}).status, 2);
    EXPECT_EQ(daemon.asked().size(), before);
}

TEST_F(Program, AMigrationsReportIsOnePage) {
    const std::string trace = read_file(BLANKET_SOURCE_DIR "/tests/golden/core/move_trace.json").value_or("");
    daemon.on("GET /1.0/jobs/j1/trace", 200, "{\"trace\":" + trace + "}");
    daemon.on("GET /1.0/jobs/j1", 200, kDone);
    const std::string file = daemon.folder() + "/move.html";
    const Output page = blanket({"report", "j1"});
    EXPECT_EQ(page.status, 0) << page.err;
    EXPECT_TRUE(page.out.starts_with("<!doctype html>") && page.out.ends_with("</html>\n")) << page.out.substr(0, 200);
    EXPECT_NE(page.out.find("job j1, done"), std::string::npos);
    EXPECT_EQ(blanket({"job", "report", "j1", "--out", file}).out, "");
    EXPECT_EQ(read_file(file).value_or(""), page.out);
    std::filesystem::create_symlink(file, file + ".link");
    EXPECT_EQ(blanket({"report", "j1", "-o", "json", "--out", file + ".link"}).status, 0);
    EXPECT_TRUE(std::filesystem::is_symlink(file + ".link"));
    EXPECT_EQ(Json::parse(read_file(file).value_or("{}"))["trace"], Json::parse(trace));
    EXPECT_EQ(Json::parse(blanket({"report", "j1", "-o", "json"}).out)["trace"], Json::parse(trace));
    EXPECT_EQ(blanket({"report", "j1", "--out", daemon.folder() + "/none/move.html"}).status, 3);
    // What blanketd says is not believed blindly.
    for (const char* bad : {R"({"trace":{"version":9}})", R"({"trace":[]})", "{}"}) {
        FakeDaemon other;
        other.on("GET /1.0/jobs/j1/trace", 200, bad);
        other.on("GET /1.0/jobs/j1", 200, kDone);
        const auto refused = run_any({BLANKET_PROGRAM, "report", "j1", "--socket", other.socket()}, {.deadline = std::chrono::seconds(30), .input = {}});
        ASSERT_TRUE(refused);
        EXPECT_EQ(refused->status, 2) << bad;
        EXPECT_TRUE(refused->err.starts_with("blanket: cannot report on job j1: ")) << refused->err;
    }
}

TEST_F(Program, NoWaitPrintsOnlyTheId) {
    daemon.on("POST /1.0/vms/web/start", 202, R"({"job":{"id":"j7","state":"running","seq":1}})");
    const Output output = blanket({"vm", "start", "web", "--no-wait"});
    EXPECT_EQ(output.out, "j7\n");
    EXPECT_NE(output.err.find("blanket job watch j7"), std::string::npos);
    EXPECT_EQ(daemon.asked().size(), 1u);
}

TEST_F(Program, FailedJobIsTheVerbsError) {
    daemon.on("POST /1.0/vms/web/migrate", 202, R"({"job":{"id":"j1","verb":"migrate","state":"running","seq":1}})");
    daemon.on("GET /1.0/jobs/j1", 200, R"({"job":{"id":"j1","verb":"migrate","subject":"vm/web","state":"failed","seq":4,"error":{"kind":"timeout","what":"memory: west did not answer for 30 s","hint":"web runs on at east"}}})");
    const Output output = blanket({"vm", "migrate", "web", "west"});
    EXPECT_EQ(output.status, 6);
    EXPECT_EQ(output.out, "");
    EXPECT_EQ(output.err, "blanket: cannot migrate web to west: memory: west did not answer for 30 s\n  next: web runs on at east\n");
    const Output watched = blanket({"job", "watch", "j1"});
    EXPECT_EQ(watched.status, 6);
    EXPECT_TRUE(watched.err.starts_with("blanket: cannot migrate web: memory")) << watched.err;
}

TEST_F(Program, TheDaemonMayRestartWhileAJobIsWatched) {
    daemon.on("GET /1.0/jobs/j1", 200, kRunning);
    daemon.on_raw("GET /1.0/jobs/j1", "");
    daemon.on("GET /1.0/jobs/j1", 200, kDone);
    const Output output = blanket({"job", "watch", "j1"});
    EXPECT_EQ(output.status, 0) << output.err;
    EXPECT_NE(output.err.find("blanketd does not answer"), std::string::npos);
}

TEST_F(Program, CtrlCLeavesAndSaysHowToComeBack) {
    daemon.on("POST /1.0/vms/web/start", 202, R"({"job":{"id":"j7","state":"running","seq":1}})");
    daemon.hang("GET /1.0/jobs/j7");
    const std::string errors = daemon.folder() + "/err";
    const UniqueFd file(::open(errors.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    auto child = Child::spawn({BLANKET_PROGRAM, "vm", "start", "web", "--socket", daemon.socket()}, {.in = -1, .out = -1, .err = file.get(), .pass = {}});
    ASSERT_TRUE(child);
    for (int i = 0; i < 6000 && daemon.asked().size() < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    child->kill(SIGINT);
    const auto status = child->wait(std::chrono::seconds(60));
    ASSERT_TRUE(status) << status.error().what;
    EXPECT_EQ(*status, 9);
    EXPECT_EQ(read_file(errors).value_or(""), "blanket: cannot start web: no longer watching job j7, which goes on\n  next: blanket job watch j7, or to end it: blanket job cancel j7\n");
}

// Ids are times: the nearest one is another job, not the one that was meant.
TEST_F(Program, AnotherJobIsNotSuggested) {
    daemon.on("GET /1.0/jobs", 200, R"({"jobs":[{"id":"18c5a0b1c2d-1f","state":"running"}]})");
    daemon.on("DELETE /1.0/jobs/18c5a0b1c2d-2f", 404, R"({"error":{"kind":"not-found","what":"no running job '18c5a0b1c2d-2f'","hint":"blanket job list"}})");
    daemon.on("DELETE /1.0/jobs/18c5a0b1", 404, R"({"error":{"kind":"not-found","what":"no running job '18c5a0b1'","hint":"blanket job list"}})");
    const Output other = blanket({"job", "cancel", "18c5a0b1c2d-2f"}), begun = blanket({"job", "cancel", "18c5a0b1"});
    EXPECT_EQ(other.status, 3);
    EXPECT_TRUE(other.err.ends_with("next: blanket job list\n")) << other.err;
    EXPECT_TRUE(begun.err.contains("did you mean '18c5a0b1c2d-1f'?")) << begun.err;
}

TEST_F(Program, WhatIsNotAnsweredInTimeMayGoOn) {
    daemon.hang("POST /1.0/drain");
    daemon.hang("POST /1.0/drain?dry_run=1");
    const Client client(daemon.socket());
    for (const bool dry_run : {false, true}) {
        Context context{.client = client, .terminal = {}, .dry_run = dry_run, .action = "drain this host"};
        const auto late = mutate(context, {.request = {.method = "POST", .path = "/1.0/drain", .deadline = std::chrono::milliseconds(200)}});
        ASSERT_FALSE(late);
        EXPECT_EQ(late.error().kind, Kind::kTimeout);
        EXPECT_EQ(late.error().hint.contains("blanket job list"), !dry_run) << late.error().hint;
    }
}

TEST_F(Program, CreateWithStartIsTwoJobs) {
    daemon.on("POST /1.0/vms", 202, R"({"job":{"id":"j1","state":"running","seq":1}})");
    daemon.on("GET /1.0/jobs/j1", 200, R"({"job":{"id":"j1","state":"done","seq":2}})");
    daemon.on("POST /1.0/vms/web/start", 202, R"({"job":{"id":"j2","state":"running","seq":1}})");
    daemon.on("GET /1.0/jobs/j2", 200, R"({"job":{"id":"j2","verb":"start","subject":"vm/web","state":"done","seq":2}})");
    const Argv words{"vm", "create", "web", "--image", "debian", "--memory", "256M", "--disk", "2G", "--net", "lan", "--start"};
    const Output output = blanket(words);
    EXPECT_EQ(output.status, 0) << output.err;
    EXPECT_EQ(output.out, "done: start web\n");
    EXPECT_EQ(output.err, "created web\n");
}

}  // namespace
}  // namespace blanket::cli
