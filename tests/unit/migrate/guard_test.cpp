// SPDX-License-Identifier: GPL-2.0-or-later
// The policy `pause`: what stands still when, and what goes on again. tests/sim has it under faults.
#include "toolstack/migrate/guard.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/migrate/guarded_domains.hpp"
#include "toolstack/migrate/watched_registry.hpp"

namespace blanket {
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

using Clock = fakes::ManualClock;

struct Rig {
    fakes::FakeRegistry registry;
    fakes::FakeSite site{"east"};
    fakes::FakeOverlay net;
    Clock clock;
    std::vector<std::string> told;
    std::string saved;
    std::unique_ptr<Guard> guard;

    Rig() { start(); }
    void start() {  // a new life of blanketd
        guard = std::make_unique<Guard>(SitePorts{registry, site, site, site, site, net, clock}, "east", GuardTimes{},
                                        Guard::Hooks{[this](const std::string&, const std::string& text) { told.push_back(text); }, [this](const std::string& text) { saved = text; }}, saved);
    }
    VmRecord vm(const char* policy = kPause) {
        VmRecord vm;
        vm.uuid = kUuid;
        vm.name = "web";
        vm.owner = "east";
        vm.epoch = 3;
        vm.phase = Phase::kRunning;
        vm.memory_mib = 256;
        vm.policy = policy;
        vm.volumes = {{"web-1", "", 65536, "xvda"}};
        EXPECT_TRUE(registry.create_vm(vm));
        site.disks["web-1"] = {.data = "data", .open = true, .epoch = 3};
        site.domains[kUuid] = DomainInfo{kUuid, "web", 5, DomainState::kRunning, 256, 1};
        return vm;
    }
    void change(const std::function<void(VmRecord&)>& edit) {
        auto now = *registry.vm(kUuid).value();
        edit(now.value);
        ASSERT_TRUE(registry.update_vm(now.value, now.revision));
    }
    std::vector<VmRecord> cut_off(int seconds) {  // a VM that was confirmed once, then no answer for so long; what the site knows of it
        const std::vector<VmRecord> known{vm()};
        guard->confirm(known);
        registry.down = true;
        pass(seconds);
        return known;
    }
    void taken_over() {
        change([](VmRecord& vm) {
            vm.owner = "west";
            vm.epoch = 4;
            vm.phase = Phase::kSettling;
            vm.forks = {{"east", 3, "now"}};
        });
    }
    void pass(int seconds) {
        for (int i = 0; i < seconds; ++i) {
            clock.now_ms += 1000;
            guard->enforce();
        }
    }
    bool stands_still() { return site.domains.at(kUuid).state == DomainState::kPaused && !site.disks.at("web-1").open; }
    bool goes() { return site.runs(kUuid) && site.disks.at("web-1").open; }
};

TEST(Guard, SuspendsAfterTheMarginAndNotBefore) {
    Rig rig;
    const std::vector<VmRecord> known{rig.vm()};
    rig.guard->confirm(known);
    rig.registry.down = true;
    for (int i = 0; i < 3; ++i) {
        rig.pass(5);
        rig.guard->confirm(known);
    }
    EXPECT_TRUE(rig.goes());  // 15 s: not older than the margin
    rig.pass(1);
    EXPECT_TRUE(rig.stands_still());
    ASSERT_EQ(rig.told.size(), 1u);
    rig.registry.down = false;
    rig.guard->confirm(known);
    EXPECT_TRUE(rig.goes());
    EXPECT_EQ(rig.told.size(), 2u);
    rig.pass(14);
    EXPECT_TRUE(rig.goes());
}

TEST(Guard, LeavesOthersAlone) {
    Rig rig;
    const std::vector<VmRecord> known{rig.vm(kKeepRunning)};
    rig.guard->confirm(known);
    EXPECT_TRUE(rig.guard->idle());
    rig.registry.down = true;
    rig.pass(100);
    EXPECT_TRUE(rig.goes());
}

TEST(Guard, CountsFromTheQuestionNotFromTheAnswer) {
    Rig rig;
    const std::vector<VmRecord> known{rig.vm()};
    struct Slow final : Registry {  // the answer is 10 s under way
        fakes::FakeRegistry& inner;
        Clock& clock;
        Slow(fakes::FakeRegistry& registry, Clock& time) : inner(registry), clock(time) {}
        Result<Snapshot> snapshot() override { return inner.snapshot(); }
        Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) override {
            clock.now_ms += 10'000;
            return inner.vm(uuid);
        }
        Result<std::uint64_t> create_vm(const VmRecord& vm) override { return inner.create_vm(vm); }
        Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t revision) override { return inner.update_vm(vm, revision); }
        Result<void> remove_vm(const VmRecord& vm, std::uint64_t revision) override { return inner.remove_vm(vm, revision); }
        Result<std::optional<Gone>> gone(const std::string& uuid) override { return inner.gone(uuid); }
        Result<void> beat(const std::string& site, bool leaving) override { return inner.beat(site, leaving); }
        Result<std::optional<Beat>> last_beat(const std::string& site) override { return inner.last_beat(site); }
        Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t revision, const std::string& silent, std::uint64_t beat) override { return inner.take_over_vm(vm, revision, silent, beat); }
        Result<std::uint64_t> put(const std::string& key, const Json& value, std::uint64_t revision) override { return inner.put(key, value, revision); }
        Result<std::optional<Versioned<Json>>> get(const std::string& key) override { return inner.get(key); }
        Result<void> remove(const std::string& key, std::uint64_t revision = 0) override { return inner.remove(key, revision); }
    } slow(rig.registry, rig.clock);
    Guard guard({slow, rig.site, rig.site, rig.site, rig.site, rig.net, rig.clock}, "east", {}, {[](const auto&, const auto&) {}, [](const auto&) {}});
    guard.confirm(known);
    rig.clock.now_ms += 6'000;
    guard.enforce();
    EXPECT_TRUE(rig.stands_still());
}

TEST(Guard, ARestartWithoutARegistryKnowsWhomToWatchAndWhomItHeld) {
    Rig rig;
    rig.cut_off(0);
    rig.start();
    rig.guard->confirm({});  // no snapshot yet
    rig.pass(16);
    EXPECT_TRUE(rig.stands_still());
    rig.start();
    rig.pass(20);
    rig.registry.down = false;
    rig.guard->confirm({});
    EXPECT_TRUE(rig.goes());
    rig.saved = "nonsense";
    rig.start();
    EXPECT_TRUE(rig.guard->idle());
}

TEST(Guard, WhoWasTakenOverMeanwhileStaysStill) {
    Rig rig;
    const auto known = rig.cut_off(16);
    rig.registry.down = false;
    rig.taken_over();
    rig.guard->confirm(known);
    EXPECT_TRUE(rig.stands_still());
    EXPECT_FALSE(rig.guard->idle());
    rig.site.domains.clear();  // recovery has taken it away
    rig.guard->confirm({});
    EXPECT_TRUE(rig.guard->idle());
}

TEST(Guard, APolicyThatWasTakenAwayReleases) {
    Rig rig;
    const auto known = rig.cut_off(16);
    rig.registry.down = false;
    rig.change([](VmRecord& vm) { vm.policy = kKeepRunning; });
    rig.guard->confirm(known);
    EXPECT_TRUE(rig.goes());
    rig.guard->confirm({});
    EXPECT_TRUE(rig.guard->idle());
}

TEST(Guard, APauseThatFailsIsTriedAgain) {
    Rig rig;
    const std::vector<VmRecord> known{rig.vm()};
    rig.guard->confirm(known);
    rig.registry.down = true;
    rig.site.fail_at.insert("pause");
    rig.pass(20);
    EXPECT_TRUE(rig.site.runs(kUuid));
    rig.site.fail_at.clear();
    rig.pass(1);
    EXPECT_TRUE(rig.stands_still());
}

TEST(Guard, ARestartGivesNoMoreTime) {
    Rig rig;
    rig.cut_off(10);
    rig.start();
    rig.pass(5);
    EXPECT_TRUE(rig.goes());
    rig.start();
    rig.pass(1);
    EXPECT_TRUE(rig.stands_still());  // 16 s, whatever happened to blanketd in between
}

TEST(Guard, XensWatchdogStandsBehindItWhileSomethingIsWatched) {
    Rig rig;
    rig.pass(1);
    EXPECT_EQ(rig.site.watchdog_s, 0);
    rig.cut_off(1);
    EXPECT_EQ(rig.site.watchdog_s, 30);
    rig.start();  // the same one, by its id
    rig.site.watchdog_s = 0;
    rig.site.fail_at.insert("pause");
    rig.pass(16);
    rig.site.watchdog_s = 0;
    rig.pass(5);
    EXPECT_EQ(rig.site.watchdog_s, 0) << "what must stand still runs: the watchdog is not to be fed";
    rig.site.fail_at.clear();
    rig.pass(1);
    EXPECT_TRUE(rig.stands_still());
    EXPECT_EQ(rig.site.watchdog_s, 30);
    rig.registry.down = false;
    rig.change([](VmRecord& vm) { vm.policy = kKeepRunning; });
    rig.guard->confirm({});
    rig.guard->confirm({});
    rig.pass(1);
    EXPECT_EQ(rig.site.watchdog_s, 0);
}

TEST(Guard, EveryRoundOfQuestionsBeginsWithABeat) {
    Rig rig;
    rig.guard->confirm({});
    EXPECT_FALSE(*rig.registry.last_beat("east"));  // for nothing
    rig.guard->confirm({rig.vm()});
    const auto first = *rig.registry.last_beat("east");
    ASSERT_TRUE(first);
    rig.guard->confirm({});
    EXPECT_GT((*rig.registry.last_beat("east"))->revision, first->revision);
    rig.guard->leave();
    EXPECT_TRUE((*rig.registry.last_beat("east"))->leaving);
    EXPECT_TRUE(rig.goes());
    EXPECT_EQ(rig.site.watchdog_s, 0);
}

TEST(Guard, LeavingWithoutARegistryLeavesNothingRunning) {
    Rig rig;
    rig.cut_off(1);
    rig.guard->leave();
    EXPECT_TRUE(rig.stands_still());
    EXPECT_EQ(rig.site.watchdog_s, 0);
}

TEST(Guard, AStaleCopyStandsStillAtOnce) {
    Rig rig;
    const std::vector<VmRecord> known{rig.vm()};
    rig.guard->confirm(known);
    rig.taken_over();  // while this host was frozen
    rig.guard->confirm({});
    EXPECT_TRUE(rig.stands_still());
    EXPECT_FALSE(rig.guard->idle());
    rig.site.domains.clear();  // recovery has taken it away
    rig.guard->confirm({});
    EXPECT_TRUE(rig.guard->idle());
}

TEST(Guard, IsToldBeforeTheRecordSaysThatItMayRun) {
    Rig rig;
    VmRecord vm = rig.vm(kKeepRunning);
    WatchedRegistry watched(rig.registry, *rig.guard);
    vm.policy = kPause;
    rig.registry.lose_answers = 1;
    EXPECT_FALSE(watched.update_vm(vm, rig.registry.vm(kUuid)->value().revision));
    EXPECT_FALSE(rig.guard->idle());  // it may have been written
    rig.registry.down = true;
    rig.pass(16);
    EXPECT_TRUE(rig.stands_still());
}

TEST(Guard, NothingIsLetRunBehindTheMargin) {
    Rig rig;
    (void)rig.cut_off(16);
    GuardedDomains domains(rig.site, rig.site, *rig.guard);
    rig.site.domains[kUuid].state = DomainState::kShutoff;
    rig.site.domains[kUuid].id = -1;
    for (const auto& refused : {domains.start(kUuid), domains.unpause(kUuid), domains.resume_source(kUuid), domains.resume_target(kUuid)}) {
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().kind, Kind::kUnavailable) << refused.error().what;
    }
    EXPECT_FALSE(rig.site.runs(kUuid));
    rig.registry.down = false;
    rig.guard->confirm({});
    EXPECT_TRUE(domains.start(kUuid));
    EXPECT_TRUE(rig.site.runs(kUuid));
}

TEST(Guard, OneThatItHeldForAnotherOwnersSakeGoesOnWhenItIsOursAgain) {
    Rig rig;
    const VmRecord vm = rig.vm();
    rig.guard->confirm({vm});
    const auto before = *rig.registry.vm(kUuid).value();
    rig.taken_over();
    rig.guard->confirm({});
    EXPECT_TRUE(rig.stands_still());
    rig.change([&](VmRecord& edit) {  // etcd was restored, an operator recovered it here
        edit.owner = "east";
        edit.epoch = 5;
        edit.forks.clear();
    });
    rig.change([&](VmRecord& edit) { edit.phase = Phase::kRunning; });
    rig.guard->confirm({rig.registry.vm(kUuid).value()->value});
    EXPECT_TRUE(rig.goes());
}

TEST(Guard, APolicyThatWasTakenAwayThroughThisSiteReleasesToo) {
    Rig rig;
    (void)rig.cut_off(16);
    EXPECT_TRUE(rig.stands_still());
    rig.registry.down = false;
    WatchedRegistry watched(rig.registry, *rig.guard);
    auto now = *rig.registry.vm(kUuid).value();
    now.value.policy = kKeepRunning;
    ASSERT_TRUE(watched.update_vm(now.value, now.revision));
    rig.clock.now_ms += 1;
    rig.guard->confirm({});
    EXPECT_TRUE(rig.goes());
}

// Stopped by the record; started past blanketd while nobody could be asked: it stands still, and goes on when recovery has marked it running.
TEST(Guard, WhatVirshStartsWithoutARegistryGoesOnWhenItsRecordFollows) {
    Rig rig;
    (void)rig.cut_off(16);
    EXPECT_TRUE(rig.stands_still());
    rig.registry.down = false;
    rig.change([](VmRecord& vm) { vm.phase = Phase::kStopped; });  // as it was all the time
    rig.clock.now_ms += 1;
    rig.guard->confirm({});
    EXPECT_TRUE(rig.stands_still());
    rig.change([](VmRecord& vm) { vm.phase = Phase::kRunning, ++vm.epoch; });
    rig.clock.now_ms += 1;
    rig.guard->confirm({});
    EXPECT_TRUE(rig.goes());

    Rig other;
    (void)other.cut_off(16);
    other.registry.down = false;
    other.change([](VmRecord& vm) { vm.phase = Phase::kStopped; });
    other.site.domains[kUuid].id = -1;  // destroyed meanwhile
    other.site.domains[kUuid].state = DomainState::kShutoff;
    other.clock.now_ms += 1;
    other.guard->confirm({});
    EXPECT_TRUE(other.guard->idle());
}

TEST(Guard, AVmWithoutThePolicyIsLetRunAlways) {
    Rig rig;
    (void)rig.vm(kKeepRunning);
    rig.registry.down = true;
    rig.pass(100);
    GuardedDomains domains(rig.site, rig.site, *rig.guard);
    EXPECT_TRUE(domains.resume_target(kUuid));
}

TEST(Guard, ACallThatHangsBehindTheMarginStarvesTheWatchdog) {
    Rig rig;
    const std::vector<VmRecord> known{rig.vm()};
    rig.guard->confirm(known);
    rig.registry.down = true;
    ASSERT_TRUE(rig.guard->let_run(kUuid, [&]() -> Result<void> {
        rig.pass(15);
        rig.site.watchdog_s = 0;
        rig.pass(20);  // the other half goes on meanwhile
        EXPECT_EQ(rig.site.watchdog_s, 0);
        return {};
    }));
    rig.pass(1);
    EXPECT_TRUE(rig.stands_still());
    EXPECT_EQ(rig.site.watchdog_s, 30);
}

TEST(Guard, ARecordThatItWritesConfirmsIt) {
    Rig rig;
    const VmRecord vm = rig.vm();
    WatchedRegistry watched(rig.registry, *rig.guard);
    rig.guard->confirm({vm});
    rig.pass(14);
    ASSERT_TRUE(watched.update_vm(vm, rig.registry.vm(kUuid)->value().revision));
    rig.registry.down = true;
    rig.pass(15);
    EXPECT_TRUE(rig.goes());
    rig.pass(1);
    EXPECT_TRUE(rig.stands_still());
}

TEST(Guard, AnAnswerFromBeforeItsOwnWriteSaysNothing) {
    Rig rig;
    const VmRecord vm = rig.vm();
    rig.guard->confirm({vm});
    rig.clock.now_ms += 1;
    rig.guard->wrote(vm, rig.clock.now_ms);  // a commit here, while the look at the record was under way
    rig.clock.now_ms -= 1;
    rig.taken_over();  // what that look saw
    rig.guard->confirm({});
    EXPECT_TRUE(rig.goes());
    EXPECT_TRUE(rig.guard->let_run(kUuid, []() -> Result<void> { return {}; }));
}

}  // namespace
}  // namespace blanket
