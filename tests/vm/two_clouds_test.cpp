// SPDX-License-Identifier: GPL-2.0-or-later
// Two clouds on real (emulated) machines: both hardware profiles boot green, they federate, and a VM moves there and back under a client's eyes. One bring-up serves all tests
// of this program; they run in the order written, and each needs those before it. Inputs: BLANKET_IMAGE and BLANKET_DOMU (./dev test vm sets them).
#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>
#include <ranges>
#include <sched.h>
#include <unistd.h>

#include "tests/faults/campaign.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/demo_checks.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/provider.hpp"
#include "tests/vm/outside_client.hpp"
#include "toolstack/core/move_trace.hpp"

namespace blanket::lab {
namespace {

#define ASSERT_DONE(expr)                                                  \
    do {                                                                   \
        const auto done_ = (expr);                                         \
        ASSERT_TRUE(done_) << done_.error().what << " " << done_.error().hint; \
    } while (false)

std::string setting(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

class TwoClouds : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
        LabOptions options;
        options.name = "vm-test";
        options.image = setting("BLANKET_IMAGE");
        options.witness_program = setting("BLANKET_WITNESS").empty() ? own_folder() + "blanket-witness" : setting("BLANKET_WITNESS");
        options.capture_bytes = 256u << 20;
        options.forbidden = forbidden_plaintext();
        auto made = Lab::create(std::move(options));
        ASSERT_TRUE(made) << made.error().what << " " << made.error().hint;
        lab_ = std::move(*made);
        clouds_.emplace(Clouds{*lab_, story_});
    }
    static void TearDownTestSuite() {
        if (lab_ && ::testing::UnitTest::GetInstance()->failed_test_count() > 0) {
            lab_->collect_logs();
            std::printf("logs: %s\n", lab_->dir().c_str());
        }
        outside_.reset();
        clouds_.reset();
        lab_.reset();
    }
    void SetUp() override {
        ASSERT_TRUE(clouds_) << "the lab did not start";
        if (broken_) GTEST_SKIP() << "an earlier chapter failed";
    }
    void TearDown() override {
        const auto consoles = check_consoles(*clouds_);
        EXPECT_TRUE(consoles.ok) << consoles.detail;
        broken_ = broken_ || HasFailure();
    }
    static std::string own_folder() {
        char path[4096] = {};
        const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path - 1);
        const std::string self(path, length > 0 ? static_cast<std::size_t>(length) : 0);
        return self.substr(0, self.rfind('/') + 1);
    }
    static void expect(const CheckResult& check) { EXPECT_TRUE(check.ok) << check.name << ": " << check.detail; }
    // Its trace says of each round what the pages were, and of the stop where the time went.
    static void told(const MigrationResult& moved) {
        const auto trace = parse_move_trace(moved.trace);
        ASSERT_TRUE(trace) << trace.error().what;
        EXPECT_TRUE(trace->moved);
        ASSERT_FALSE(trace->memory_rounds.empty() || trace->disk_rounds.empty());
        ASSERT_TRUE(trace->memory && trace->downtime && trace->target);
        EXPECT_GT(trace->memory->pages.sum(), 0u);
        const auto stop = trace->downtime->ms, unexplained = trace->downtime->unexplained_ms();
        EXPECT_GE(static_cast<double>(stop - unexplained), 0.95 * static_cast<double>(stop)) << moved.trace.dump();
        story_.say("the trace's parts explain {} of {} ms; the client's longest wait was {:.0f} ms, its median {:.0f} ms", stop - unexplained, stop, moved.client_stall_ms, moved.median_ms);
    }
    static void move(const std::string& from, const std::string& to) {
        const auto moved = move_web(*clouds_, from, to);
        ASSERT_TRUE(moved) << moved.error().what;
        ASSERT_TRUE(moved->ok) << moved->error;
        EXPECT_EQ(moved->tcp_reconnects, 0u);
        EXPECT_EQ(moved->lost_writes, 0u);
        EXPECT_LE(moved->client_stall_ms, 30000) << "something hung (14 s were seen on a slow machine); how short the stall is, ./dev bench moves measures";
        EXPECT_GT(moved->memory_wire_bytes, 0u);
        EXPECT_FALSE(moved->phases.empty());
        told(*moved);
        expect(check_same_vm(*clouds_, to));
        expect(check_seed(*clouds_, to));
        expect(check_no_trace(*clouds_, from));
    }

    static inline Story story_{false};
    static inline std::unique_ptr<Lab> lab_;
    static inline std::optional<Clouds> clouds_;
    static inline std::unique_ptr<OutsideClient> outside_;
    static inline bool broken_ = false;
};

TEST_F(TwoClouds, BothHardwareProfilesBootGreen) {
    ASSERT_DONE(boot_site(*clouds_, east_profile()));
    ASSERT_DONE(boot_site(*clouds_, west_profile()));
    for (const char* site : {"east", "west"}) {
        ASSERT_DONE(wait_green(*clouds_, site));
        const auto ssh = lab_->ssh(site);
        ASSERT_TRUE(ssh) << ssh.error().what;
        const auto traces = (*ssh)->script(kUplinkTraces);
        ASSERT_TRUE(traces) << traces.error().what;
        EXPECT_EQ(*traces, "") << "no Xen is around " << site << ", and the modules for one are there";
    }
    ASSERT_DONE(send_canary(*clouds_));
}

TEST_F(TwoClouds, FederateWithAWitness) {
    ASSERT_DONE(federate(*clouds_));
    auto east = clouds_->at("east");
    ASSERT_TRUE(east);
    const auto again = east->try_run({"federation", "init", "other"}, std::chrono::minutes(1));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->status, exit_code(Kind::kConflict)) << again->errors;
}

TEST_F(TwoClouds, ATokenWorksOnce) {
    auto east = clouds_->at("east");
    auto west = clouds_->at("west");
    ASSERT_TRUE(east && west);
    const auto token = east->token("spare", false);
    ASSERT_TRUE(token) << token.error().what;
    const auto joined_again = west->try_run({"site", "join", "-"}, std::chrono::minutes(1), *token + "\n");
    ASSERT_TRUE(joined_again);
    EXPECT_NE(joined_again->status, 0) << "a site that has a federation must not join another";
    const auto broken = west->try_run({"site", "join", "-"}, std::chrono::minutes(1), token->substr(0, token->size() / 2) + "\n");
    ASSERT_TRUE(broken);
    EXPECT_NE(broken->status, 0);
}

TEST_F(TwoClouds, VmsServe) {
    ASSERT_DONE(add_image(*clouds_, setting("BLANKET_DOMU")));
    ASSERT_DONE(create_vms(*clouds_, true, true));
    ASSERT_DONE(start_traffic(*clouds_));
    auto east = clouds_->at("east");
    ASSERT_TRUE(east);
    const auto twice = east->try_run({"vm", "create", "web", "--image", "debian", "--memory", "256M", "--disk", "2G", "--net", "lan"}, std::chrono::minutes(1));
    ASSERT_TRUE(twice);
    EXPECT_EQ(twice->status, exit_code(Kind::kConflict)) << twice->errors;
    const auto nowhere = east->try_run({"vm", "migrate", "web", "atlantis"}, std::chrono::minutes(1));
    ASSERT_TRUE(nowhere);
    EXPECT_EQ(nowhere->status, exit_code(Kind::kNotFound)) << nowhere->errors;
}

// The world outside: a machine of nobody's, at the end of the witness's line. Its one connection stands until the last move is over.
TEST_F(TwoClouds, TheWorldOutsideReachesAPublicPort) {
    auto east = clouds_->at("east");
    ASSERT_TRUE(east);
    const auto machine = clouds_->lab.machine("east");
    ASSERT_TRUE(machine);
    const std::string address = (*machine)->profile().address;
    EXPECT_FALSE(OutsideClient::connects(address, 8080)) << "nothing is public yet";
    const auto own = east->try_run({"net", "expose", "web", "--public", "--port", "tcp:22"}, std::chrono::minutes(1));
    ASSERT_TRUE(own);
    EXPECT_EQ(own->status, exit_code(Kind::kInvalid)) << own->errors;
    ASSERT_DONE(east->run({"net", "expose", "web", "--public", "--port", "tcp:8080:80", "--at", "east"}, std::chrono::minutes(1)));
    ASSERT_DONE(wait_until("the public port answers", std::chrono::minutes(2), std::chrono::seconds(1), [&]() -> Result<bool> { return OutsideClient::connects(address, 8080); }));
    EXPECT_TRUE(OutsideClient::connects(address, 22)) << "the host's own";
    EXPECT_FALSE(OutsideClient::connects(address, 80));
    const auto traced = east->run({"net", "trace", "web", "--public", "tcp:8080"}, std::chrono::minutes(1));
    ASSERT_TRUE(traced) << traced.error().what;
    EXPECT_EQ((*traced)["trace"]["answer"], "delivered") << traced->dump();
    EXPECT_TRUE((*traced)["trace"]["differences"].empty()) << traced->dump();
    outside_ = std::make_unique<OutsideClient>(address, 8080);
    ASSERT_DONE(wait_until("ten answers outside", std::chrono::minutes(1), std::chrono::seconds(1), [&]() -> Result<bool> { return outside_->answers() >= 10; }));
}

TEST_F(TwoClouds, MovesToTheOtherCloud) { move("east", "west"); }
// While the client asks web from the other site, through the tunnel whose keys change at both ends.
TEST_F(TwoClouds, TunnelKeysAreReplaced) {
    ASSERT_DONE(read_client_log(*clouds_));
    const auto broken = [&] { return clouds_->client.reconnects() + clouds_->client.errors(); };
    const auto before = broken();
    const auto asked = clouds_->client.size();
    for (const std::string site : {"east", "west"}) {
        auto blanket = clouds_->at(site);
        ASSERT_TRUE(blanket);
        const auto key_of = [&]() -> std::string {
            const auto shown = blanket->run({"site", "show", site});
            return shown ? json_string_or(*shown, "wireguard_key", "") : "";
        };
        const std::string old = key_of();
        const auto done = blanket->run({"site", "rotate-key"}, std::chrono::minutes(1));
        ASSERT_TRUE(done) << done.error().what;
        EXPECT_EQ((*done)["rotated"]["key"], key_of());
        EXPECT_NE(key_of(), old);
        const auto then = clouds_->client.size();
        ASSERT_DONE(wait_until("answers through the new tunnel", std::chrono::minutes(1), std::chrono::seconds(1), [&]() -> Result<bool> {
            BLANKET_CHECK(read_client_log(*clouds_));
            return clouds_->client.size() >= then + 40;
        }));
    }
    EXPECT_EQ(broken(), before) << "one connection, all along";
    double longest = 0;
    for (const auto& sample : clouds_->client.samples() | std::views::drop(asked)) longest = std::max(longest, sample.latency_ms);
    EXPECT_LE(longest, 30000);
    story_.say("WireGuard keys of both sites replaced: the client's longest wait {:.0f} ms, 0 reconnects", longest);
}
TEST_F(TwoClouds, MovesBack) { move("west", "east"); }

TEST_F(TwoClouds, TheWorldOutsideSawNothing) {
    ASSERT_TRUE(outside_);
    const auto before = outside_->answers();
    ASSERT_DONE(wait_until("answers outside after the moves", std::chrono::minutes(1), std::chrono::seconds(1), [&]() -> Result<bool> { return outside_->answers() >= before + 10; }));
    EXPECT_EQ(outside_->error(), "") << "one connection, all along";
    EXPECT_LE(outside_->longest_ms(), 30000);
    story_.say("outside: {} answers on one connection through east, longest wait {} ms", outside_->answers(), outside_->longest_ms());
    outside_.reset();
    expect(check_connection(*clouds_));
    expect(check_acknowledged(*clouds_, "east"));
    ASSERT_DONE(clouds_->guest("east", clouds_->web, "POST", "/load/stop"));
    auto east = clouds_->at("east");
    ASSERT_TRUE(east);
    ASSERT_DONE(east->run({"vm", "stop", "web"}, std::chrono::minutes(4)));
    for (const auto& check : check_volume(*clouds_, "east")) expect(check);
    WanResult wan;
    for (const auto& check : check_wan(*clouds_, wan)) expect(check);
}

TEST_F(TwoClouds, PathsAreMeasured) {
    auto east = clouds_->at("east");
    ASSERT_TRUE(east);
    Result<Json> shown;
    (void)wait_until("the path's MTU", std::chrono::minutes(3), std::chrono::seconds(5), [&]() -> Result<bool> {  // searched for in the background
        shown = east->run({"path", "list"});
        return !shown || (*shown)["paths"].size() != 1 || (*shown)["paths"][0]["mtu"].is_number();
    });
    ASSERT_TRUE(shown) << shown.error().what;
    ASSERT_EQ((*shown)["paths"].size(), 1u) << shown->dump();  // the witness has no tunnel
    const Json& west = (*shown)["paths"][0];
    EXPECT_EQ(west["site"], "west");
    ASSERT_TRUE(west["rtt_ms"].is_number() && west["mtu"].is_number() && west["handshake_s"].is_number()) << shown->dump();
    EXPECT_GE(west["rtt_ms"].get<double>(), 49) << "the lab's WAN has 50 ms";
    EXPECT_LT(west["loss_percent"].get<double>(), 100);
    EXPECT_EQ(west["mtu"], 1500);
    EXPECT_GT(west["sent"].get<std::uint64_t>(), 100u << 10) << "guests' frames went there; a move's memory has a connection of its own";
}

// The first of the campaign's faults (./dev test faults has them all), on the same machines: a daemon dies at the source, at the target, the WAN is cut.
TEST_F(TwoClouds, SurvivesRealFaults) {
    auto east = clouds_->at("east");
    ASSERT_TRUE(east);
    ASSERT_DONE(east->run({"vm", "start", "web"}, std::chrono::minutes(4)));
    ASSERT_DONE(welcome(*clouds_, "east"));
    for (const auto& [moment, name] : {std::pair("memory", "kill-source-blanketd"), std::pair("commit", "kill-target-blanketd"), std::pair("disk", "cut-5s")}) {
        const auto fault = find_fault(name);
        ASSERT_TRUE(fault);
        const auto result = strike_once(*clouds_, moment, **fault);
        ASSERT_TRUE(result) << result.error().what;
        EXPECT_TRUE(result->ok()) << to_json(*result).dump(2);
    }
}

// The WAN is cut for 60 s while memory moves: the same move goes on and ends well, the guest never stood still for it. (Shorter cuts: the chapter before, in the disk's rounds, and the campaign.)
TEST_F(TwoClouds, CutsAreGotOver) {
    for (const char* name : {"cut-60s"}) {
        SCOPED_TRACE(name);
        const auto fault = find_fault(name);
        ASSERT_TRUE(fault);
        const auto result = strike_once(*clouds_, "memory", **fault);
        ASSERT_TRUE(result) << result.error().what;
        EXPECT_TRUE(result->ok()) << to_json(*result).dump(2);
        EXPECT_EQ(result->owner, result->target) << "the move did not go on";
        EXPECT_EQ(result->abort_ms, -1) << "it was given up";
        auto source = clouds_->at(result->source);
        ASSERT_TRUE(source);
        const auto jobs = source->run({"job", "list"});
        ASSERT_TRUE(jobs) << jobs.error().what;
        std::string last;  // in the order of time
        for (const Json& job : (*jobs)["jobs"])
            if (json_string_or(job, "verb", "") == "migrate") last = json_string_or(job, "id", "");
        const auto report = source->run({"report", last});
        ASSERT_TRUE(report) << report.error().what;
        const auto trace = parse_move_trace((*report)["trace"]);
        ASSERT_TRUE(trace) << trace.error().what;
        EXPECT_TRUE(trace->moved);
        EXPECT_EQ(std::ranges::count(trace->phases, "memory", &TracePhase::name), 1);
        ASSERT_TRUE(trace->link);
        if (std::string_view(name) == "cut-60s") {  // TCP itself may get over the shorter ones
            EXPECT_GE(trace->link->cuts, 1u);
            EXPECT_GT(trace->link->lost_ms, 45'000);
            EXPECT_LT(trace->link->lost_ms, 90'000);
        }
        if (trace->downtime) EXPECT_LT(trace->downtime->ms, 30'000);
    }
}

}  // namespace
}  // namespace blanket::lab
