// SPDX-License-Identifier: GPL-2.0-or-later
// Starting, stopping and deleting a VM at its owner, and what a site does that was away meanwhile. tests/sim has it under faults.
#include "toolstack/migrate/lifecycle.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/migrate/outcome.hpp"
#include "toolstack/migrate/recovery.hpp"

namespace blanket {
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

struct Rig final : RecoveryHost {
    fakes::FakeRegistry registry;
    fakes::FakeSite site{"east"};
    fakes::FakeOverlay net;
    fakes::FakeClock clock;
    std::vector<std::string> told;
    int starts = 0;

    explicit Rig(Phase phase = Phase::kRunning) {
        VmRecord vm;
        vm.uuid = kUuid;
        vm.name = "web";
        vm.owner = "east";
        vm.epoch = 3;
        vm.phase = phase;
        vm.memory_mib = 256;
        vm.volumes = {{"web-1", "", 65536, "xvda"}};
        EXPECT_TRUE(registry.create_vm(vm));
        site.disks["web-1"] = {.data = "data", .open = false, .epoch = 3};
        site.domains[kUuid] = DomainInfo{kUuid, "web", -1, DomainState::kShutoff, 256, 1};
    }
    SitePorts ports() { return {registry, site, site, site, site, net, clock}; }
    VmRecord record() { return (*registry.vm(kUuid))->value; }
    void change(const std::function<void(VmRecord&)>& edit) {
        auto now = *registry.vm(kUuid).value();
        edit(now.value);
        ASSERT_TRUE(registry.update_vm(now.value, now.revision));
    }
    Result<VmRecord> start(StartFailure failure = StartFailure::kStop) { return start_here(ports(), "east", kUuid, failure, {}); }
    Result<VmRecord> remove() {
        DeleteHooks hooks;
        hooks.drop_standby = [this](const VmRecord&) -> Result<void> { return site.step("drop standby"); };
        hooks.release = [](const VmRecord&) -> Result<void> { return {}; };
        return delete_here(ports(), "east", kUuid, hooks);
    }
    std::unique_ptr<Claimed> claim(const std::string&) override { return std::make_unique<Claimed>(); }
    void tell(const std::string&, const std::string& text) override { told.push_back(text); }
    Result<void> adopt(const DomainInfo&) override { return fail(Kind::kInternal, "not to be adopted"); }
    Result<void> start(const VmRecord&) override { return ++starts, Result<void>{}; }
    Result<void> finish_delete(const VmRecord&) override { return remove().transform([](const auto&) {}); }
    void look_again(const std::string&, Cause) override {}
};

TEST(Lifecycle, EachStartHasAnEpochOfItsOwn) {
    for (const Phase phase : {Phase::kStopped, Phase::kRunning, Phase::kSettling}) {
        Rig rig(phase);
        ASSERT_TRUE(rig.start());
        EXPECT_EQ(rig.record().epoch, 4u);
        EXPECT_EQ(rig.record().phase, Phase::kRunning);
        EXPECT_EQ(rig.site.disks["web-1"].epoch, 4u);
        EXPECT_TRUE(rig.site.disks["web-1"].open);
        EXPECT_TRUE(rig.site.runs(kUuid));
    }
}

// The start's compare-and-swap came to no answer; minutes later a leader of the store that was cut off is back, and carries it out.
TEST(Lifecycle, AStartWhoseRecordComesLateIsCarriedOut) {
    Rig rig(Phase::kStopped);
    Recovery recovery(rig.ports(), "east", rig);
    EXPECT_EQ(recovery.look(kUuid, Cause::kRecord), Action::kNone);
    rig.change([](VmRecord& vm) { vm.phase = Phase::kRunning, ++vm.epoch; });
    EXPECT_EQ(recovery.look(kUuid, Cause::kRecord), Action::kStart);
    EXPECT_EQ(rig.starts, 1);
}

TEST(Lifecycle, AGuestThatEndedIsNotStartedByAChangeOfItsRecord) {
    Rig rig(Phase::kRunning);  // its disk has the record's epoch: it ran, and ended a moment ago
    Recovery recovery(rig.ports(), "east", rig);
    EXPECT_EQ(recovery.look(kUuid, Cause::kRecord), Action::kNone);
    EXPECT_EQ(recovery.look(kUuid, Cause::kEvent), Action::kMarkStopped);
    EXPECT_EQ(rig.starts, 0);
}

TEST(Lifecycle, VirshStartOpensTheDiskAlsoWhenTheRecordComesLate) {
    Rig rig(Phase::kStopped);
    rig.site.domains[kUuid] = DomainInfo{kUuid, "web", 5, DomainState::kRunning, 256, 1};
    Recovery recovery(rig.ports(), "east", rig);
    EXPECT_EQ(recovery.look(kUuid, Cause::kEvent), Action::kMarkRunning);
    EXPECT_EQ(rig.record().epoch, 4u);
    EXPECT_EQ(rig.site.disks["web-1"].epoch, 4u);
    EXPECT_TRUE(rig.site.disks["web-1"].open);
    EXPECT_EQ(recovery.look(kUuid, Cause::kEvent), Action::kNone);

    rig.site.disks["web-1"] = {.data = "data", .open = false, .epoch = 3};  // blanketd died between the record and the disk
    EXPECT_EQ(recovery.look(kUuid, Cause::kRestart), Action::kOpenIfNew);
    EXPECT_EQ(rig.site.disks["web-1"].epoch, 4u);
    EXPECT_TRUE(rig.site.disks["web-1"].open);
}

TEST(Lifecycle, AStartThatCannotSucceedLeavesTheRecord) {
    Rig without;
    without.site.disks.clear();
    EXPECT_EQ(without.start(StartFailure::kTryAgain).error().kind, Kind::kPrecondition);
    EXPECT_EQ(without.record().epoch, 3u) << "an old record must not become newer than the disk at another site";
    Rig newer;
    newer.site.disks["web-1"].epoch = 5;
    const auto refused = newer.start(StartFailure::kTryAgain);
    EXPECT_EQ(refused.error().kind, Kind::kPrecondition);
    EXPECT_NE(refused.error().hint.find("blanket vm recover"), std::string::npos);
    EXPECT_EQ(newer.record().epoch, 3u);
    Rig moving(Phase::kRunning);
    moving.change([](VmRecord& vm) { vm.phase = Phase::kMigrating, vm.migration = Migration{"job-1", "west"}; });
    EXPECT_EQ(moving.start().error().kind, Kind::kConflict);
    EXPECT_EQ(stop_here(moving.ports(), "east", kUuid, StopMode::kDestroy, std::chrono::seconds(1), {}).error().kind, Kind::kConflict);
    EXPECT_EQ(moving.remove().error().kind, Kind::kConflict);
}

TEST(Lifecycle, StopClosesTheDiskAndSaysSo) {
    Rig rig;
    ASSERT_TRUE(rig.start());
    ASSERT_TRUE(stop_here(rig.ports(), "east", kUuid, StopMode::kShutdown, std::chrono::seconds(1), {}));
    EXPECT_EQ(rig.record().phase, Phase::kStopped);
    EXPECT_FALSE(rig.site.disks["web-1"].open);
    EXPECT_FALSE(rig.site.runs(kUuid));
}

TEST(Lifecycle, ADeletionLeavesNothingButItsTrace) {
    Rig rig;
    rig.change([](VmRecord& vm) { vm.policy = kPause, vm.standby = Standby{"west", 2, "2026-01-01T00:00:00Z"}; });
    rig.site.fail_at.insert("drop standby");
    EXPECT_FALSE(rig.remove());
    EXPECT_EQ(rig.record().phase, Phase::kDeleting);  // it can be said again
    rig.site.fail_at.clear();
    ASSERT_TRUE(rig.remove());
    EXPECT_TRUE(rig.site.disks.empty());
    EXPECT_FALSE(*rig.registry.vm(kUuid));
    const auto gone = rig.registry.gone(kUuid);
    ASSERT_TRUE(gone && *gone);
    EXPECT_EQ((*gone)->volumes, std::vector<std::string>{"web-1"});
    EXPECT_EQ(parse_gone(to_json(**gone)), **gone);
}

// This site was away with half of a move, or a suspended copy, while the VM was deleted at its owner.
TEST(Lifecycle, WhatIsLeftOfADeletedVmGoes) {
    for (const DomainState state : {DomainState::kSuspended, DomainState::kShutoff, DomainState::kRunning}) {
        Rig rig;
        ASSERT_TRUE(rig.remove());
        rig.site.disks["web-1"] = {.data = "half", .open = false, .epoch = 0};
        rig.site.domains[kUuid] = DomainInfo{kUuid, "web", 4, state, 256, 1};
        Recovery recovery(rig.ports(), "east", rig);
        const auto all = recovery.all();
        ASSERT_TRUE(all);
        EXPECT_EQ(*all, std::vector<std::string>{kUuid});
        EXPECT_EQ(recovery.look(kUuid, Cause::kRestart), Action::kRemoveCopy);
        EXPECT_TRUE(rig.site.disks.empty());
        EXPECT_FALSE(rig.site.domains.contains(kUuid));
        EXPECT_EQ(rig.told.size(), 1u);
        EXPECT_TRUE(recovery.all()->empty());
    }
}

TEST(Lifecycle, AVolumeWhoseRecordIsMissingWithoutATraceStays) {
    Rig rig;
    fakes::FakeRegistry restored;  // to before the VM was made
    Recovery recovery({restored, rig.site, rig.site, rig.site, rig.site, rig.net, rig.clock}, "east", rig);
    rig.site.domains.clear();
    EXPECT_EQ(recovery.look(kUuid, Cause::kRestart), Action::kNone);
    EXPECT_TRUE(rig.site.disks.contains("web-1"));
}

TEST(Lifecycle, ASourceThatFindsItsVmDeletedHadGivenItAway) {
    Rig rig;
    const VmRecord vm = rig.record();
    ASSERT_TRUE(rig.remove());
    EXPECT_EQ(migrate::settle_source(rig.registry, rig.clock, vm, "east", [] { return false; }), migrate::Outcome::kCommitted);
    fakes::FakeRegistry restored;
    EXPECT_EQ(migrate::settle_source(restored, rig.clock, vm, "east", [] { return false; }).error().kind, Kind::kNotFound);
}

// What stands under a newer epoch was given away, also where it names us: the other one took it, and it was taken over from there. Under our own epoch nobody of ours names another.
TEST(Lifecycle, ASourceWhoseRecordWasEdited) {
    struct Case {
        std::string owner;
        std::uint64_t epoch;
        std::optional<migrate::Outcome> outcome;  // none: kConflict
    };
    for (const Case& c : {Case{"west", 3, migrate::Outcome::kCommitted}, {"west", 2, std::nullopt}, {"east", 3, migrate::Outcome::kCommitted}, {"west", 1, migrate::Outcome::kAborted}}) {
        SCOPED_TRACE(c.owner + std::to_string(c.epoch));
        Rig rig;
        VmRecord vm = rig.record();
        vm.epoch = 2;
        vm.phase = Phase::kMigrating;
        vm.migration = Migration{"job-1", "west"};
        VmRecord edited = vm;
        edited.owner = c.owner;
        edited.epoch = c.epoch;
        rig.registry.edit(edited);
        const auto outcome = migrate::settle_source(rig.registry, rig.clock, vm, "east", [] { return false; });
        EXPECT_EQ(outcome.has_value(), c.outcome.has_value());
        if (outcome) EXPECT_EQ(*outcome, c.outcome);
        else EXPECT_EQ(outcome.error().kind, Kind::kConflict);
        EXPECT_EQ(rig.record().phase, Phase::kMigrating) << "not ours to mark";
    }
}

}  // namespace
}  // namespace blanket
