// SPDX-License-Identifier: GPL-2.0-or-later
// Taking a VM over without its owner: what is allowed, what becomes of the record, and that recovery leaves alone what it cannot judge.
#include "toolstack/migrate/takeover.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/migrate/recovery.hpp"

namespace blanket::migrate {
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

VmRecord record(std::uint64_t epoch = 3) {
    VmRecord vm;
    vm.uuid = kUuid;
    vm.name = "web";
    vm.owner = "east";
    vm.epoch = epoch;
    vm.phase = Phase::kRunning;
    vm.memory_mib = 256;
    vm.volumes = {{"web-1", "", 65536, "xvda"}};
    return vm;
}

TEST(TakeOver, OfALostOwnerNeedsTheOperatorsWord) {
    const auto asked = plan_take_over(record(), "west", {}, false);
    ASSERT_FALSE(asked);
    EXPECT_EQ(asked.error().kind, Kind::kPrecondition);
    EXPECT_NE(asked.error().what.find("base image"), std::string::npos) << asked.error().what;
    EXPECT_NE(asked.error().hint.find("--accept-loss"), std::string::npos);
    const auto plan = plan_take_over(record(), "west", {}, true);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->epoch, 4u);
    EXPECT_EQ(plan->from_image.size(), 1u);
    const VmRecord won = taken_over(record(), "west", *plan, false, "now");
    EXPECT_EQ(won.owner, "west");
    EXPECT_EQ(won.epoch, 4u);
    EXPECT_EQ(won.phase, Phase::kSettling);
    ASSERT_EQ(won.forks.size(), 1u);
    EXPECT_EQ(won.forks[0], (Fork{"east", 3, "now"}));
    EXPECT_EQ(parse_vm(to_json(won))->forks, won.forks);
    EXPECT_EQ(claim_of(won, "east"), Claim::kFork);
}

TEST(TakeOver, GoesOnFromAnOlderDiskButNeverFromHalfOfAMove) {
    const auto older = plan_take_over(record(), "west", {{"web-1", 2}}, true);
    ASSERT_TRUE(older);
    EXPECT_EQ(older->disk_epoch, 2u);
    EXPECT_TRUE(older->from_image.empty());
    VmRecord moving = record();
    moving.phase = Phase::kMigrating;
    moving.migration = Migration{"1", "west"};
    const auto half = plan_take_over(moving, "west", {{"web-1", 0}}, true);
    ASSERT_TRUE(half);
    EXPECT_EQ(half->disk_epoch, 0u);
    EXPECT_EQ(half->from_image.size(), 1u);
    EXPECT_FALSE(taken_over(moving, "west", *half, false, "now").migration);
}

TEST(TakeOver, OfSeveralDisksNeedsOneState) {
    VmRecord two = record();
    two.volumes.push_back({"web-2", "", 65536, "xvdb"});
    const auto mixed = plan_take_over(two, "west", {{"web-1", 2}, {"web-2", 1}}, true);
    ASSERT_TRUE(mixed);
    EXPECT_EQ(mixed->disk_epoch, 0u);
    EXPECT_EQ(mixed->from_image.size(), 2u);
    EXPECT_EQ(plan_take_over(two, "west", {{"web-1", 5}, {"web-2", 4}}, false).error().kind, Kind::kConflict);
}

TEST(TakeOver, IsRefusedWhereThereIsNothingToRecover) {
    EXPECT_EQ(plan_take_over(record(), "east", {{"web-1", 3}}, true).error().kind, Kind::kPrecondition);
    VmRecord deleting = record();
    deleting.phase = Phase::kDeleting;
    EXPECT_EQ(plan_take_over(deleting, "west", {}, true).error().kind, Kind::kConflict);
}

TEST(TakeOver, AStoppedVmStaysStopped) {
    VmRecord stopped = record();
    stopped.phase = Phase::kStopped;
    const auto plan = plan_take_over(stopped, "west", {}, true);
    ASSERT_TRUE(plan);
    EXPECT_EQ(taken_over(stopped, "west", *plan, false, "now").phase, Phase::kStopped);
    EXPECT_EQ(taken_over(stopped, "west", *plan, true, "now").phase, Phase::kSettling);  // the record was wrong
}

// Recovery at one site over fakes.
struct Site final : RecoveryHost {
    fakes::FakeRegistry registry;
    fakes::FakeClock clock;
    fakes::FakeSite site{"west"};
    fakes::FakeOverlay net;
    std::vector<std::string> told;
    Recovery recovery{{registry, site, site, site, site, net, clock}, "west", *this};

    std::unique_ptr<Claimed> claim(const std::string&) override { return std::make_unique<Claimed>(); }
    void tell(const std::string&, const std::string& text) override { told.push_back(text); }
    Result<void> adopt(const DomainInfo&) override { return fail(Kind::kInternal, "not wanted"); }
    Result<void> start(const VmRecord&) override { return fail(Kind::kInternal, "not wanted"); }
    Result<void> finish_delete(const VmRecord&) override { return fail(Kind::kInternal, "not wanted"); }
    void look_again(const std::string&, Cause) override {}

    void put(VmRecord vm, std::uint64_t disk_epoch, DomainState state) {
        ASSERT_TRUE(registry.create_vm(vm));
        site.disks["web-1"] = {.data = "acknowledged", .open = true, .epoch = disk_epoch};
        site.domains[kUuid] = DomainInfo{kUuid, "web", 5, state, 256, 1};
    }
};

TEST(TakeOver, ARecordThatWentBackIsToldAndNothingIsTouched) {
    for (const Phase phase : {Phase::kRunning, Phase::kMigrating, Phase::kStopped, Phase::kSettling, Phase::kDeleting})
        for (const Cause cause : {Cause::kEvent, Cause::kRestart, Cause::kRecord}) {
            Site west;
            VmRecord old = record(3);  // west had it since, under epoch 4: an older snapshot of the registry says east
            old.phase = phase;
            if (phase == Phase::kMigrating) old.migration = Migration{"1", "west"};
            west.put(old, 4, DomainState::kRunning);
            for (int i = 0; i < 2; ++i) {
                const auto action = west.recovery.look(kUuid, cause);
                ASSERT_TRUE(action) << action.error().what;
                EXPECT_EQ(*action, Action::kNone);
            }
            EXPECT_TRUE(west.site.runs(kUuid));
            EXPECT_EQ(west.site.disks["web-1"].data, "acknowledged");
            EXPECT_TRUE(west.site.disks["web-1"].open);
            ASSERT_EQ(west.told.size(), 1u);  // once
            EXPECT_NE(west.told[0].find("blanket vm recover web"), std::string::npos) << west.told[0];
            const auto plan = plan_take_over(old, "west", *west.site.volumes(), false);
            if (phase == Phase::kDeleting) continue;
            ASSERT_TRUE(plan);
            EXPECT_EQ(plan->epoch, 5u);
            const VmRecord won = taken_over(old, "west", *plan, true, "now");
            EXPECT_TRUE(won.forks.empty());
            ASSERT_TRUE(west.registry.update_vm(won, west.registry.vm(kUuid)->value().revision));
            ASSERT_EQ(*west.recovery.look(kUuid, cause), Action::kSettle);
            EXPECT_TRUE(west.site.runs(kUuid));
            EXPECT_EQ(west.site.disks["web-1"].epoch, 5u);
            EXPECT_EQ(west.registry.vm(kUuid)->value().value.phase, Phase::kRunning);
        }
}

TEST(TakeOver, AnOwnerThatComesBackKeepsItsCopyStopped) {
    for (const DomainState state : {DomainState::kRunning, DomainState::kPaused, DomainState::kCrashed}) {
        Site west;
        VmRecord taken = record(5);
        taken.forks = {{"west", 4, "then"}};
        west.put(taken, 4, state);
        ASSERT_EQ(*west.recovery.look(kUuid, Cause::kRecord), Action::kKeepFork);
        EXPECT_TRUE(west.site.domains.empty());
        EXPECT_EQ(west.site.disks.at("web-1").data, "acknowledged");
        EXPECT_FALSE(west.site.disks.at("web-1").open);
        EXPECT_EQ(*west.recovery.look(kUuid, Cause::kRestart), Action::kNone);  // and stays
        EXPECT_EQ(west.site.disks.size(), 1u);
    }
}

}  // namespace
}  // namespace blanket::migrate
