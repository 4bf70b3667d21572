// SPDX-License-Identifier: GPL-2.0-or-later
// A VM of the policy `pause` is taken over by its standby when its owner is silent for long enough, and in no other case. tests/sim has it under faults.
#include "toolstack/migrate/failover.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"

namespace blanket {
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

using Clock = fakes::ManualClock;

struct Rig {
    fakes::FakeRegistry registry;
    fakes::FakeSite site{"west"};  // the standby
    fakes::FakeOverlay net;
    Clock clock;
    std::vector<std::string> told;
    Failover failover{{registry, site, site, site, site, net, clock}, "west", {}, [this](const std::string&, const std::string& text) { told.push_back(text); }};

    Rig() {
        VmRecord vm;
        vm.uuid = kUuid;
        vm.name = "web";
        vm.owner = "east";
        vm.epoch = 3;
        vm.phase = Phase::kRunning;
        vm.memory_mib = 256;
        vm.policy = kPause;
        vm.standby = Standby{"west", 2, "2026-01-01T00:00:00Z"};
        vm.volumes = {{"web-1", "", 65536, "xvda"}};
        EXPECT_TRUE(registry.create_vm(vm));
        site.disks["web-1"] = {.data = "old", .open = false, .epoch = 2};
        EXPECT_TRUE(registry.beat("east", false));
    }
    VmRecord record() { return registry.vm(kUuid)->value().value; }
    void change(const std::function<void(VmRecord&)>& edit) {
        auto now = *registry.vm(kUuid).value();
        edit(now.value);
        ASSERT_TRUE(registry.update_vm(now.value, now.revision));
    }
    void pass(int seconds, const std::function<void(int)>& each = {}) {
        for (int i = 0; i < seconds; ++i) {
            clock.now_ms += 1000;
            if (each) each(i);
            if (i % 5 == 4) failover.look({record()});
        }
    }
    bool taken() { return record().owner == "west"; }
};

TEST(Failover, OfAnOwnerThatIsSilentForLongEnough) {
    Rig rig;
    rig.pass(5 + 55);
    EXPECT_FALSE(rig.taken());
    rig.pass(5);
    ASSERT_TRUE(rig.taken());
    const VmRecord won = rig.record();
    EXPECT_EQ(won.epoch, 4u);
    EXPECT_EQ(won.phase, Phase::kSettling);  // recovery starts it
    EXPECT_FALSE(won.standby);
    ASSERT_EQ(won.forks.size(), 1u);
    EXPECT_EQ(won.forks[0].site, "east");
    ASSERT_EQ(rig.told.size(), 1u);
    EXPECT_NE(rig.told[0].find("2026-01-01T00:00:00Z"), std::string::npos) << rig.told[0];  // how old its disk is
}

TEST(Failover, NotOfOneThatBeatsNowAndThen) {
    Rig rig;
    rig.pass(600, [&](int second) {
        if (second % 50 == 0) ASSERT_TRUE(rig.registry.beat("east", false));
    });
    EXPECT_FALSE(rig.taken());
}

TEST(Failover, NotOfOneThatLeftByIntent) {
    Rig rig;
    ASSERT_TRUE(rig.registry.beat("east", true));
    rig.pass(600);
    EXPECT_FALSE(rig.taken());
}

TEST(Failover, AChangeOfTheRecordIsASignOfLifeToo) {
    Rig rig;
    rig.pass(50);
    rig.change([](VmRecord& vm) { vm.memory_mib = 512; });
    rig.pass(50);
    EXPECT_FALSE(rig.taken());
}

TEST(Failover, ABeatInTheLastMomentWins) {
    Rig rig;
    rig.pass(60);
    // The beat comes between the look and the swap: the store compares both.
    const auto vm = *rig.registry.vm(kUuid).value();
    const auto beat = *rig.registry.last_beat("east").value();
    ASSERT_TRUE(rig.registry.beat("east", false));
    VmRecord won = vm.value;
    won.owner = "west";
    won.epoch = 4;
    won.phase = Phase::kSettling;
    EXPECT_EQ(rig.registry.take_over_vm(won, vm.revision, "east", beat.revision).error().kind, Kind::kConflict);
    EXPECT_FALSE(rig.taken());
}

TEST(Failover, OnlyForAStandbyOfThePolicyWhileItRuns) {
    const std::vector<std::function<void(VmRecord&)>> others{
        [](VmRecord& vm) { vm.policy = kKeepRunning; },
        [](VmRecord& vm) { vm.standby.reset(); },
        [](VmRecord& vm) { vm.standby->site = "south"; },
        [](VmRecord& vm) { vm.phase = Phase::kStopped; },
        [](VmRecord& vm) { vm.phase = Phase::kMigrating, vm.migration = Migration{"1", "south"}; },
        [](VmRecord& vm) { vm.phase = Phase::kDeleting; }};
    for (const auto& edit : others) {
        Rig rig;
        rig.change(edit);
        rig.pass(300);
        EXPECT_FALSE(rig.taken()) << to_json(rig.record()).dump();
    }
}

TEST(Failover, AnOwnerThatFellSilentBeforeAllWasInPlace) {
    Rig rig;
    rig.change([](VmRecord& vm) { vm.phase = Phase::kMigrating, vm.migration = Migration{"1", "south"}; });
    rig.change([](VmRecord& vm) { vm.phase = Phase::kSettling, vm.migration.reset(); });
    rig.pass(50);
    EXPECT_FALSE(rig.taken());
    rig.pass(20);
    EXPECT_TRUE(rig.taken());
    EXPECT_EQ(rig.record().phase, Phase::kSettling);
}

TEST(Failover, SaysOnceWhyItCannot) {
    const std::vector<std::function<void(Rig&)>> troubles{
        [](Rig& rig) { rig.site.disks.clear(); },
        [](Rig& rig) { rig.site.disks["web-1"].epoch = 1; },
        [](Rig& rig) { rig.site.disks["web-1"].epoch = 0; },
        [](Rig& rig) { rig.site.disks["web-1"].epoch = 4; },  // newer than the record: an operator must look
        [](Rig& rig) { rig.site.host.free_mib = 100; }};
    for (const auto& trouble : troubles) {
        Rig rig;
        trouble(rig);
        rig.pass(300);
        EXPECT_FALSE(rig.taken());
        EXPECT_EQ(rig.told.size(), 1u);
    }
}

TEST(Failover, WithoutARegistryNothingIsDecided) {
    Rig rig;
    rig.pass(30);
    rig.registry.down = true;
    for (int i = 0; i < 60; ++i) {
        rig.clock.now_ms += 5000;
        rig.failover.look({});
    }
    rig.registry.down = false;
    ASSERT_TRUE(rig.registry.beat("east", false));  // it was there all the time
    rig.pass(55);
    EXPECT_FALSE(rig.taken());
}

}  // namespace
}  // namespace blanket
