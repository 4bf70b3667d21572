// SPDX-License-Identifier: GPL-2.0-or-later
// `vm recover`, `vm drop-fork` and what becomes of interrupted jobs, with the real daemon's parts over fakes: two sites and one registry.
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/unit/daemon/app_host.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/reconcile.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

// The other sites as functions; a site that is away does not answer.
struct Wires final : Neighbours {
    std::map<std::string, App*> up;
    Result<std::unique_ptr<PeerLink>> link(const Site&, std::chrono::milliseconds) override { return fail(Kind::kUnavailable, "no links here"); }
    Result<Json> call(const Site& site, const std::string&, const std::string& path, const Json* body) override {
        const auto at = up.find(site.name);
        if (at == up.end()) return fail(Kind::kUnavailable, "site '{}' does not answer", site.name);
        if (path == "/1.0/peer/disks") return disk_epochs(*at->second, *body);
        return fail(Kind::kNotFound, "no {}", path);
    }
    Result<void> lead_near(const Site&) override { return {}; }
};

struct Host : AppHost {
    Host(const std::string& name, Registry& registry, Neighbours& neighbours) : AppHost(name, registry, neighbours) { site.images.insert("image"); }
    Json wait(const std::shared_ptr<Job>& job) const {
        Json now = job->to_json();
        while (now["state"] == "running") {
            (void)job->wait(now["seq"].get<std::uint64_t>(), std::chrono::seconds(5));
            now = job->to_json();
        }
        return now;
    }
    bool told(const std::string& text) { return events.since(0, {}).dump().find(text) != std::string::npos; }
};

struct Rig {
    fakes::FakeRegistry registry;
    Wires wires;
    Host east{"east", registry, wires}, west{"west", registry, wires};

    Rig() {
        wires.up = {{"east", &east.app}, {"west", &west.app}};
        for (const char* name : {"east", "west"}) {
            Site site;
            site.name = name;
            site.index = name[0] == 'e' ? 1 : 2;
            site.address = "10.0.0.1";
            site.wireguard_key = std::string(43, 'A') + "=";
            EXPECT_TRUE(registry.put(std::string("sites/") + name, to_json(site), 0));
        }
    }
    VmRecord put(const std::string& owner, std::uint64_t epoch, Phase phase = Phase::kRunning) {
        VmRecord vm;
        vm.uuid = kUuid;
        vm.name = "web";
        vm.owner = owner;
        vm.epoch = epoch;
        vm.phase = phase;
        vm.memory_mib = 256;
        vm.definition = "<domain/>";
        vm.created = rfc3339_now();
        vm.volumes = {{"web-1", "", 65536, "xvda"}};
        EXPECT_TRUE(registry.create_vm(vm));
        refresh();
        return vm;
    }
    void refresh() {
        ASSERT_TRUE(east.world.refresh());
        ASSERT_TRUE(west.world.refresh());
    }
    void runs_at(Host& host, std::uint64_t disk_epoch) {
        host.site.disks["web-1"] = {.data = "data", .open = true, .epoch = disk_epoch};
        host.site.domains[kUuid] = DomainInfo{kUuid, "web", 5, DomainState::kRunning, 256, 1};
    }
    VmRecord record() { return registry.vm(kUuid)->value().value; }
    Result<Json> recover(Host& host, bool accept_loss) {
        refresh();
        BLANKET_TRY(const auto vm, host.world.vm("web"));
        BLANKET_TRY(const Answer answer, recover_vm(host.app, vm, accept_loss, false));
        const Json job = host.wait(answer.job);
        if (job["state"] == "done") return job;
        return std::unexpected(error_from_json({{"error", job["error"]}}));
    }
};

TEST(Recover, AnOwnerThatAnswersIsNotLost) {
    Rig rig;
    rig.put("east", 3);
    rig.runs_at(rig.east, 3);
    const auto done = rig.recover(rig.west, true);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind, Kind::kConflict);
    EXPECT_NE(done.error().hint.find("vm migrate"), std::string::npos) << done.error().hint;
    EXPECT_EQ(rig.record().owner, "east");
    EXPECT_TRUE(rig.west.site.disks.empty());
}

TEST(Recover, ALostOwnersVmStartsHereAndItsCopyIsAForkWhenItComesBack) {
    Rig rig;
    rig.put("east", 3);
    rig.runs_at(rig.east, 3);
    rig.wires.up.erase("east");
    EXPECT_EQ(rig.recover(rig.west, false).error().kind, Kind::kPrecondition);
    const auto plan = recover_vm(rig.west.app, *rig.west.world.vm("web"), true, true);
    ASSERT_TRUE(plan);
    EXPECT_GE(plan->steps.size(), 3u);
    EXPECT_TRUE(rig.west.site.disks.empty());  // a dry run
    const auto done = rig.recover(rig.west, true);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(rig.record().owner, "west");
    EXPECT_EQ(rig.record().epoch, 5u);  // 4 by the take-over, 5 by the start
    EXPECT_EQ(rig.record().phase, Phase::kRunning);
    EXPECT_TRUE(rig.west.site.runs(kUuid));
    EXPECT_EQ(rig.west.site.disks.at("web-1").epoch, 5u);
    EXPECT_EQ(rig.west.site.disks.at("web-1").first, 4u);

    rig.wires.up["east"] = &rig.east.app;
    rig.refresh();
    Reconciler back(rig.east.app);
    back.look("", Cause::kRestart);
    for (int i = 0; i < 6000 && !rig.east.told("drop-fork"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    back.stop();  // its thread is joined: what it left may be looked at
    EXPECT_TRUE(rig.east.site.domains.empty());
    EXPECT_EQ(rig.east.site.disks.at("web-1").data, "data");
    EXPECT_TRUE(rig.east.told("drop-fork"));
    EXPECT_FALSE(delete_vm(rig.west.app, rig.record(), true));  // the fork would be forgotten

    EXPECT_EQ(drop_fork(rig.west.app, rig.record(), false).error().kind, Kind::kPrecondition);
    const auto dropped = drop_fork(rig.east.app, rig.record(), false);
    ASSERT_TRUE(dropped);
    EXPECT_EQ(rig.east.wait(dropped->job)["state"], "done");
    EXPECT_TRUE(rig.east.site.disks.empty());
    EXPECT_TRUE(rig.record().forks.empty());
    EXPECT_TRUE(delete_vm(rig.west.app, rig.record(), true));
}

TEST(Recover, AfterTheRegistryWentBackOnlyTheNewestDiskMayClaim) {
    Rig rig;
    rig.put("east", 2);
    rig.runs_at(rig.west, 4);  // truth: west has it since epoch 4
    rig.east.site.disks["web-1"] = {.data = "old", .open = false, .epoch = 3};
    const auto older = rig.recover(rig.east, false);
    ASSERT_FALSE(older);
    EXPECT_EQ(older.error().kind, Kind::kConflict);
    EXPECT_NE(older.error().hint.find("west"), std::string::npos) << older.error().hint;
    rig.wires.up.erase("east");
    const auto unsure = rig.recover(rig.west, false);
    ASSERT_FALSE(unsure);
    EXPECT_EQ(unsure.error().kind, Kind::kPrecondition);  // east may have a newer one still
    rig.wires.up["east"] = &rig.east.app;
    const auto done = rig.recover(rig.west, false);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(rig.record().owner, "west");
    EXPECT_EQ(rig.record().epoch, 5u);
    EXPECT_EQ(rig.record().phase, Phase::kRunning);
    EXPECT_TRUE(rig.west.site.runs(kUuid));
    EXPECT_EQ(rig.west.site.disks.at("web-1").epoch, 5u);
}

TEST(Recover, AskingForDisksIsBounded) {
    Rig rig;
    EXPECT_FALSE(disk_epochs(rig.east.app, Json::object()));
    EXPECT_FALSE(disk_epochs(rig.east.app, Json{{"volumes", {1}}}));
    EXPECT_FALSE(disk_epochs(rig.east.app, Json{{"volumes", Json(std::vector<std::string>(65, "a"))}}));
    EXPECT_EQ(disk_epochs(rig.east.app, Json{{"volumes", {"unknown"}}})->dump(), R"({"epochs":{}})");
}

// A job that ran when blanketd died: what is told of it must be what recovery made of its VM.
struct Interrupted {
    std::string verb;
    Phase phase;
    std::string owner;
    std::string state, what;  // how it must end
};

TEST(Recover, InterruptedJobsTellWhatBecameOfTheirVm) {
    const std::vector<Interrupted> cases{
        {"migrate", Phase::kRunning, "east", "failed", "running at 'east'"}, {"migrate", Phase::kRunning, "west", "done", ""},
        {"start", Phase::kRunning, "east", "done", ""},                      {"stop", Phase::kStopped, "east", "done", ""},
        {"destroy", Phase::kRunning, "east", "failed", "running at 'east'"}, {"create", Phase::kStopped, "east", "failed", "removed again"},
        {"delete", Phase::kStopped, "", "done", ""},                         {"create", Phase::kStopped, "", "failed", "nothing of VM 'web' is left"}};
    for (const auto& one : cases) {
        Rig rig;
        const Json job = Job("1-aa", one.verb, "vm/web").to_json();
        if (!one.owner.empty()) {
            rig.put(one.owner, 1, one.phase);
            if (one.owner == "east") {
                rig.runs_at(rig.east, 1);
                if (one.phase == Phase::kStopped) rig.east.site.domains[kUuid].id = -1, rig.east.site.domains[kUuid].state = DomainState::kShutoff;
            }
        }
        ASSERT_TRUE(write_file(rig.east.folder + "/1-aa.json", job.dump(), 0600));
        Settings settings;
        auto jobs = std::make_unique<JobTable>(rig.east.folder);  // blanketd is back
        App app{rig.east.app, settings, "east", "0", rig.wires, rig.east.world, *jobs, rig.east.events};
        Reconciler reconciler(app);
        reconciler.look("", Cause::kRestart);
        Json now = *jobs->show("1-aa", 0, {});
        for (int i = 0; i < 100 && now["state"] == "running"; ++i) now = *jobs->show("1-aa", now["seq"].get<std::uint64_t>(), std::chrono::milliseconds(100));
        EXPECT_EQ(now["state"], one.state) << one.verb << " " << now.dump();
        if (!one.what.empty()) EXPECT_NE(now.dump().find(one.what), std::string::npos) << now.dump();
        reconciler.stop();
        jobs.reset();
        if (one.verb == "create" && !one.owner.empty()) EXPECT_FALSE(*rig.registry.vm(kUuid)) << "a half made VM stays";
    }
}

}  // namespace
}  // namespace blanket
