// SPDX-License-Identifier: GPL-2.0-or-later
// `host drain`: the plan as a pure function; then a drain by real moves between the real halves of a migration over fakes.
#include "toolstack/daemon/drain.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <semaphore>
#include <thread>

#include "tests/unit/daemon/app_host.hpp"
#include "tests/unit/fakes/fake_link.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "toolstack/daemon/peers.hpp"
#include "toolstack/migrate/admission.hpp"

namespace blanket {
namespace {

VmRecord drain_vm(int number, std::uint64_t memory_mib, Phase phase = Phase::kRunning, const std::string& owner = "east") {
    VmRecord vm;
    vm.uuid = std::format("11111111-2222-4333-8444-{:012}", number);
    vm.name = std::format("vm{}", number);
    vm.owner = owner;
    vm.phase = phase;
    vm.memory_mib = memory_mib;
    vm.definition = "<domain/>";
    if (phase == Phase::kMigrating) vm.migration = Migration{"job-9", "west"};
    return vm;
}

Site drain_site(const std::string& name, std::uint32_t index, const std::string& role = "voter") {
    Site site;
    site.name = name;
    site.index = index;
    site.address = std::format("10.0.0.{}", index);
    site.role = role;
    return site;
}

// Sites that take VMs as long as their memory lasts, as admission does.
AskSite room(std::map<std::string, std::uint64_t> free_mib) {
    return [free = std::move(free_mib)](const VmRecord& vm, const std::string& target) -> Result<void> {
        if (vm.memory_mib <= free.at(target)) return {};
        return fail_hint(Kind::kPrecondition, std::format("site '{}' has {} MiB", target, free.at(target)), "free memory there");
    };
}

Snapshot world_of(const std::vector<VmRecord>& vms) {
    Snapshot now;
    for (const auto& vm : vms) now.vms.push_back({vm, 1});
    now.sites = {{drain_site("east", 1), 1}, {drain_site("west", 2), 1}, {drain_site("south", 3), 1}, {drain_site("judge", 4, "witness"), 1}};
    Site half = drain_site("north", 5);
    half.state = "joining";
    now.sites.push_back({half, 1});
    return now;
}

std::string told(const std::vector<DrainStep>& steps) {
    std::string text;
    for (const auto& step : steps) text += std::format("{}>{} ", step.name, step.target.empty() ? "!" : step.target);
    return text;
}

TEST(DrainPlan, TheLargestFirstAndToWhoGetsLeast) {
    const auto now = world_of({drain_vm(1, 256), drain_vm(2, 1024), drain_vm(3, 512), drain_vm(4, 256, Phase::kStopped), drain_vm(5, 256, Phase::kRunning, "west"), drain_vm(6, 128, Phase::kSettling)});
    EXPECT_EQ(told(plan_drain(now, "east", "", room({{"west", 4096}, {"south", 4096}}))), "vm2>south vm3>west vm1>west vm6>west ");
    EXPECT_EQ(told(plan_drain(now, "east", "west", room({{"west", 4096}}))), "vm2>west vm3>west vm1>west vm6>west ");
    EXPECT_EQ(told(plan_drain(now, "south", "", room({}))), "");
}

TEST(DrainPlan, WhatGoesBeforeCounts) {
    const auto now = world_of({drain_vm(1, 512), drain_vm(2, 512), drain_vm(3, 512)});
    const auto steps = plan_drain(now, "east", "", room({{"west", 1100}, {"south", 520}}));
    EXPECT_EQ(told(steps), "vm1>south vm2>west vm3>west ");
    const auto full = plan_drain(now, "east", "", room({{"west", 600}, {"south", 520}}));
    EXPECT_EQ(told(full), "vm1>south vm2>west vm3>! ");
    EXPECT_TRUE(full[2].refusal.contains("'west' has 600 MiB (544 MiB of it for VMs that go there before it)") && full[2].refusal.contains("'south' has 520")) << full[2].refusal;
    EXPECT_EQ(full[2].hint, "free memory there");
}

TEST(DrainPlan, WhoMovesAlreadyAndWhoHasNowhereToGo) {
    const auto moving = plan_drain(world_of({drain_vm(1, 512, Phase::kMigrating)}), "east", "", room({{"west", 4096}, {"south", 4096}}));
    ASSERT_EQ(told(moving), "vm1>! ");
    EXPECT_EQ(moving[0].hint, "blanket job watch job-9");
    const auto nowhere = plan_drain(world_of({drain_vm(1, 512)}), "east", "north", room({}));
    ASSERT_EQ(told(nowhere), "vm1>! ");
    EXPECT_FALSE(nowhere[0].refusal.empty() || nowhere[0].hint.empty());
}

TEST(DrainPlan, ASiteThatDoesNotAnswerIsAskedOnce) {
    const auto now = world_of({drain_vm(1, 512), drain_vm(2, 512), drain_vm(3, 512)});
    for (const Kind kind : {Kind::kUnavailable, Kind::kTimeout}) {
        std::map<std::string, int> asked;
        const auto ask = [&](const VmRecord& vm, const std::string& target) -> Result<void> {
            ++asked[target];
            if (target == "south") return fail_hint(kind, "site 'south' does not answer", "blanket path list");
            return room({{"west", 1100}})(vm, target);
        };
        const auto steps = plan_drain(now, "east", "", ask);
        EXPECT_EQ(told(steps), "vm1>west vm2>west vm3>! ");
        EXPECT_EQ(asked["south"], 1);
        EXPECT_EQ(asked["west"], 3);
        EXPECT_TRUE(steps[2].refusal.contains("'south' does not answer") && steps[2].refusal.contains("'west' has 1100 MiB")) << steps[2].refusal;
    }
}

// Asks and moves reach the other site's real code; a link is served on a thread of its own.
struct DrainWires final : Neighbours {
    std::map<std::string, App*> up;
    migrate::LinkSessions sessions;
    std::vector<std::jthread> serving;
    std::function<void(fakes::FakeLink::Wire&)> spoil = [](fakes::FakeLink::Wire&) {};
    std::function<void()> admitting = [] {};
    Result<std::unique_ptr<PeerLink>> link(const Site& site, std::chrono::milliseconds deadline) override {
        const auto wire = std::make_shared<fakes::FakeLink::Wire>();
        if (deadline > std::chrono::seconds(5)) {  // a move's first connection, not its others or one that is made anew
            serving.clear();                       // the fakes take one move at a time
            spoil(*wire);
        }
        auto [source, target] = fakes::FakeLink::pair("east", site.name, wire);
        serving.emplace_back([this, app = up.at(site.name), end = std::move(target)]() mutable { serve_channel(*app, sessions, std::move(end), [] { return true; }); });
        return std::move(source);
    }
    Result<Json> call(const Site& site, const std::string&, const std::string& path, const Json* body) override {
        if (path != "/1.0/peer/admit") return fail(Kind::kNotFound, "no {}", path);
        admitting();
        BLANKET_TRY(const VmRecord vm, parse_vm((*body)["record"]));
        App& app = *up.at(site.name);
        BLANKET_TRY(const HostFacts facts, app.hypervisor.facts());
        BLANKET_TRY(const PoolFacts pool, app.blocks.pool());
        BLANKET_TRY(const auto domains, app.hypervisor.list());
        BLANKET_CHECK(migrate::admit(vm, {site.name, facts, pool, domains}));
        return Json{{"ok", true}};
    }
    Result<void> lead_near(const Site&) override { return {}; }
};

struct DrainRig {
    fakes::FakeRegistry registry;
    DrainWires wires;
    AppHost east{"east", registry, wires}, west{"west", registry, wires}, south{"south", registry, wires};
    DrainRig() {
        wires.up = {{"east", &east.app}, {"west", &west.app}};
        east.site.other = &west.site;
        west.site.other = &east.site;
        for (const auto& site : {drain_site("east", 1), drain_site("west", 2), drain_site("judge", 3, "witness")}) {
            Site keyed = site;
            keyed.wireguard_key = std::string(43, 'A') + "=";
            EXPECT_TRUE(registry.put("sites/" + site.name, to_json(keyed), 0));
        }
        for (const int number : {1, 2}) {
            VmRecord vm = drain_vm(number, 256);
            vm.volumes = {{vm.name + "-1", "", 65536, "xvda"}};
            EXPECT_TRUE(registry.create_vm(vm));
            east.site.domains[vm.uuid] = DomainInfo{vm.uuid, vm.name, number, DomainState::kRunning, 256, 1};
            east.site.memory[vm.uuid] = std::string(100'000, 'm') + "END";
            east.site.disks[vm.name + "-1"] = {.data = "data", .open = true, .epoch = 1};
        }
        EXPECT_TRUE(east.world.refresh() && west.world.refresh());
    }
    ~DrainRig() {
        east.jobs.reset();
        wires.serving.clear();
    }
    Json drain(const std::string& to = "") {
        const auto answer = drain_host(east.app, to, false);
        EXPECT_TRUE(answer) << answer.error().what;
        if (!answer) return {};
        std::uint64_t seen = 0;
        while (!answer->job->ended()) seen = answer->job->wait(seen, std::chrono::seconds(5));
        wires.serving.clear();
        return answer->job->to_json();
    }
    std::string owner(int number) { return registry.vm(drain_vm(number, 1).uuid)->value().value.owner; }
};

TEST(Drain, MovesThemAllOneAfterAnother) {
    DrainRig rig;
    const auto plan = drain_host(rig.east.app, "", true);
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->steps, (std::vector<std::string>{"move VM 'vm1' (256 MiB) to 'west'", "move VM 'vm2' (256 MiB) to 'west'"}));
    EXPECT_EQ(rig.owner(1), "east");
    const Json job = rig.drain();
    EXPECT_EQ(job["state"], "done") << job.dump(1);
    EXPECT_EQ(job["result"]["moved"], (Json{"vm1 to west", "vm2 to west"}));
    EXPECT_EQ(rig.owner(1) + rig.owner(2), "westwest");
    EXPECT_TRUE(rig.east.site.domains.empty() && rig.west.site.runs(drain_vm(1, 1).uuid) && rig.west.site.runs(drain_vm(2, 1).uuid));
    const auto again = drain_host(rig.east.app, "", true);
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->steps.empty());  // nothing to do
}

TEST(Drain, NothingMovesWhenOneCannot) {
    DrainRig rig;
    rig.west.site.host.free_mib = 400;
    const auto plan = drain_host(rig.east.app, "west", true);
    ASSERT_FALSE(plan);
    const Json job = rig.drain("west");
    EXPECT_EQ(job["state"], "failed");
    for (const Error& refused : {plan.error(), error_from_json({{"error", job["error"]}})}) {
        EXPECT_EQ(refused.kind, Kind::kPrecondition);
        EXPECT_TRUE(refused.what.contains("1 of 2 running VMs cannot move, so none is moved; 'vm2': site 'west' has 400 MiB")) << refused.what;
        EXPECT_FALSE(refused.hint.empty());
    }
    EXPECT_EQ(rig.owner(1), "east");
    EXPECT_EQ(drain_host(rig.east.app, "east", false).error().kind, Kind::kInvalid);
    EXPECT_EQ(drain_host(rig.east.app, "judge", false).error().kind, Kind::kInvalid);
    EXPECT_EQ(drain_host(rig.east.app, "nowhere", false).error().kind, Kind::kNotFound);
}

// The request is answered at once, however long the sites take to say whether they have room.
TEST(Drain, IsPlannedByItsJob) {
    DrainRig rig;
    std::binary_semaphore asked{0}, answer{0};
    rig.wires.admitting = [&] {
        asked.release();
        answer.acquire();
    };
    const auto drain = drain_host(rig.east.app, "", false);
    ASSERT_TRUE(drain) << drain.error().what;
    asked.acquire();
    EXPECT_EQ(drain->job->to_json()["progress"]["phase"], "plan");
    drain->job->cancel();
    answer.release();
    std::uint64_t seen = 0;
    while (!drain->job->ended()) seen = drain->job->wait(seen, std::chrono::seconds(5));
    EXPECT_EQ(drain->job->to_json()["state"], "cancelled");
    EXPECT_EQ(rig.owner(1) + rig.owner(2), "easteast");
}

TEST(Drain, AMoveThatFailsEndsItAndTheRestRunsOn) {
    DrainRig rig;
    int links = 0;
    rig.wires.spoil = [&](fakes::FakeLink::Wire& wire) { wire.cut = ++links == 2; };
    const Json job = rig.drain();
    EXPECT_EQ(job["state"], "failed");
    EXPECT_TRUE(job["error"]["what"].get<std::string>().starts_with("1 of 2 VMs have moved, the others run here: ")) << job.dump(1);
    EXPECT_NE(job["error"]["hint"], "");
    EXPECT_EQ(rig.owner(1) + rig.owner(2), "westeast");
    EXPECT_TRUE(rig.east.site.runs(drain_vm(2, 1).uuid));
}

// While the first operator's move goes on, another one asks for a move of the same VM to another site: one goes, the other is told why not and what to watch.
TEST(Drain, TwoOperatorsWantOneVmAtDifferentSites) {
    DrainRig rig;
    Site third = drain_site("south", 4);
    third.wireguard_key = std::string(43, 'E') + "=";
    ASSERT_TRUE(rig.registry.put("sites/south", to_json(third), 0));
    ASSERT_TRUE(rig.east.world.refresh());
    rig.wires.up["south"] = &rig.south.app;
    const VmRecord vm = rig.registry.vm(drain_vm(1, 1).uuid)->value().value;
    std::optional<Error> refused;
    rig.wires.spoil = [&](fakes::FakeLink::Wire&) {
        if (const auto second = migrate_vm(rig.east.app, vm, "south", MoveLimits{}, false); !second) refused = second.error();
    };
    const auto first = migrate_vm(rig.east.app, vm, "west", MoveLimits{}, false);
    ASSERT_TRUE(first) << first.error().what;
    std::uint64_t seen = 0;
    while (!first->job->ended()) seen = first->job->wait(seen, std::chrono::seconds(5));
    rig.wires.serving.clear();
    ASSERT_TRUE(refused) << "both were let go on";
    EXPECT_EQ(refused->kind, Kind::kConflict);
    EXPECT_TRUE(refused->hint.contains("blanket job watch")) << refused->what << "; " << refused->hint;
    EXPECT_EQ(rig.owner(1), "west");
    EXPECT_TRUE(rig.west.site.runs(vm.uuid));
    EXPECT_FALSE(rig.east.site.runs(vm.uuid) || rig.south.site.runs(vm.uuid));
}

TEST(Drain, TheEndOfTheTableEndsIt) {
    DrainRig rig;
    ASSERT_TRUE(drain_host(rig.east.app, "", false));
    rig.east.jobs.reset();  // returns: neither a drain nor a move that it began is left behind
    rig.wires.serving.clear();
    for (const int number : {1, 2}) EXPECT_NE(rig.east.site.runs(drain_vm(number, 1).uuid), rig.west.site.runs(drain_vm(number, 1).uuid));
}

}  // namespace
}  // namespace blanket
