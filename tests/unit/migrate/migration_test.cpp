// SPDX-License-Identifier: GPL-2.0-or-later
// Both halves of a migration against each other over a link with faults. The invariants are checked after every case: exactly one copy runs, where the
// record says; nothing of the VM is left at the other site; no write is lost.
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_link.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/recovery.hpp"
#include "toolstack/migrate/source.hpp"
#include "toolstack/migrate/target.hpp"

namespace blanket::migrate {
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

class Quiet final : public Observer {
public:
    std::vector<std::string> phases;
    std::atomic<bool> stop = false;
    std::string cancel_in;  // cancels when this phase begins
    void phase(const std::string& name) override {
        phases.push_back(name);
        if (name == cancel_in) stop = true;
    }
    void note(const std::string&) override {}
    void progress(double) override {}
    bool cancelled() const override { return stop; }
};

const auto kNoBrokenPipeSignal = std::signal(SIGPIPE, SIG_IGN);  // as blanketd does

struct Rig {
    fakes::FakeRegistry registry;
    fakes::FakeClock clock;
    fakes::FakeSite east{"east"}, west{"west"};
    fakes::FakeOverlay east_net, west_net;
    Quiet observer;
    std::shared_ptr<fakes::FakeLink::Wire> wire = std::make_shared<fakes::FakeLink::Wire>();
    Result<void> served;
    std::function<void()> after_serving;
    std::string written = "hello ";

    Rig() {
        east.other = &west;
        west.other = &east;
        VmRecord vm;
        vm.uuid = kUuid;
        vm.name = "web";
        vm.owner = "east";
        vm.phase = Phase::kRunning;
        vm.memory_mib = 256;
        vm.cpu_features = {"sse2"};
        vm.volumes.push_back({"web-1", "", 65536, "xvda"});
        EXPECT_TRUE(registry.create_vm(vm));
        east.domains[kUuid] = {kUuid, "web", 3, DomainState::kRunning, 256, 1};
        std::string memory(3u << 20, '\0');
        for (std::size_t i = 0; i < memory.size(); i += 7) memory[i] = static_cast<char>(i * 31);
        east.memory[kUuid] = memory + "END";
        east.disks["web-1"] = {.data = written, .open = true, .epoch = 1};
        east.writes_during_move = "w";
    }
    Result<Stats> move() {
        auto [source_end, target_end] = fakes::FakeLink::pair("east", "west", wire);
        std::thread target_thread([&, end = std::move(target_end)] {
            Target target({registry, west, west, west, west, west_net, clock}, *end, "west", [] { return true; });
            served = target.serve();
            if (after_serving) after_serving();
            end->shutdown();
        });
        const auto vm = registry.vm(kUuid);
        east_net.running = [&] { return east.runs(kUuid); };
        Source source({registry, east, east, east, east, east_net, clock}, *source_end,
                      {"job-1", **vm, Site{.name = "east", .index = 1, .address = "10.0.0.1"}, Site{.name = "west", .index = 2, .address = "10.0.0.2"}, 7800}, observer);
        auto stats = source.run();
        source_end->shutdown();
        target_thread.join();
        return stats;
    }
    // Exactly one running copy, at the record's owner, with all writes; nothing at the loser.
    void check(const std::string& owner) {
        const auto record = (*registry.vm(kUuid))->value;
        EXPECT_EQ(record.owner, owner);
        EXPECT_EQ(record.phase, Phase::kRunning);
        EXPECT_FALSE(record.migration);
        auto& winner = owner == "east" ? east : west;
        auto& loser = owner == "east" ? west : east;
        EXPECT_TRUE(winner.runs(kUuid));
        EXPECT_FALSE(loser.domains.contains(kUuid));
        EXPECT_TRUE(loser.disks.empty());
        ASSERT_TRUE(winner.disks.contains("web-1"));
        EXPECT_TRUE(winner.disks["web-1"].open);
        EXPECT_TRUE(winner.memory[kUuid].ends_with("END"));
        if (owner == "east") EXPECT_TRUE(east_net.diverted.empty() && east_net.redirected.empty());
        std::uint64_t epoch = 0;
        for (const auto& old : registry.history) {
            EXPECT_GE(old.epoch, epoch);
            epoch = old.epoch;
        }
    }
};

TEST(Migration, MovesMemoryDiskAndOwner) {
    Rig rig;
    const std::string memory = rig.east.memory[kUuid];
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_TRUE(rig.east_net.diverted_before_the_stop);
    EXPECT_TRUE(rig.east_net.redirected.contains("web"));
    EXPECT_EQ(rig.west.memory[kUuid], memory);
    EXPECT_EQ(stats->epoch, 2u);
    EXPECT_EQ(stats->memory_bytes, memory.size());
    EXPECT_TRUE(rig.west_net.active.contains("web"));
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with("hello www")) << rig.west.disks["web-1"].data;
}

TEST(Migration, WithThePolicyPauseTheSourceStaysAsStandby) {
    Rig rig;
    auto vm = *rig.registry.vm(kUuid).value();
    vm.value.policy = kPause;
    ASSERT_TRUE(rig.registry.update_vm(vm.value, vm.revision));
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    const VmRecord record = rig.registry.vm(kUuid)->value().value;
    EXPECT_EQ(record.owner, "west");
    ASSERT_TRUE(record.standby);
    EXPECT_EQ(record.standby->site, "east");
    EXPECT_EQ(record.standby->epoch, 1u);
    EXPECT_FALSE(rig.east.domains.contains(kUuid));
    ASSERT_TRUE(rig.east.disks.contains("web-1"));
    EXPECT_FALSE(rig.east.disks["web-1"].open);
    EXPECT_EQ(rig.east.disks["web-1"].epoch, 1u);
    EXPECT_EQ(rig.east.disks["web-1"].first, 3u);  // an older record will not open it
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with(rig.east.disks["web-1"].data));
    EXPECT_EQ(claim_of(record, "east"), Claim::kStandby);
}

TEST(Migration, ATargetThatStoodByBeginsAnew) {
    Rig rig;
    rig.west.disks["web-1"] = {.data = "an older state", .open = false, .epoch = 1};
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with("hello www")) << rig.west.disks["web-1"].data;
    Rig newer;
    newer.west.disks["web-1"] = {.data = "a newer state", .open = false, .epoch = 2};
    const auto refused = newer.move();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kConflict);
    EXPECT_NE(refused.error().hint.find("vm recover"), std::string::npos) << refused.error().hint;
    EXPECT_TRUE(newer.east.runs(kUuid));
    EXPECT_EQ(newer.west.disks.at("web-1").data, "a newer state");
}

TEST(Migration, EveryFailingStepBeforeTheCommitLeavesItAtTheSource) {
    for (const std::string at : {"east/save", "east/mirror", "east/drain", "west/create", "west/mirror", "west/restore"}) {
        SCOPED_TRACE(at);
        Rig rig;
        (at.starts_with("east") ? rig.east : rig.west).fail_at.insert(at.substr(5));
        const auto stats = rig.move();
        ASSERT_FALSE(stats);
        EXPECT_NE(stats.error().what.find("injected failure of " + at.substr(5)), std::string::npos) << stats.error().what;
        rig.check("east");
    }
}

TEST(Migration, AFlippedByteInTheMemoryStreamIsRefused) {
    Rig rig;
    bool flipped = false;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) != Type::kMemory || flipped || message.payload.size() < 100) return;
        message.payload[message.payload.size() / 2] ^= std::byte{0x40};
        flipped = true;
    };
    ASSERT_FALSE(rig.move());
    EXPECT_TRUE(flipped);
    rig.check("east");
}

TEST(Migration, ACutAtAnyMessageEndsWithOneCopy) {
    // How many messages a whole move takes, then one run with a cut at each of them.
    int total = 0;
    {
        Rig rig;
        rig.wire->fault = [&](Message&, bool&) { ++total; };
        ASSERT_TRUE(rig.move());
    }
    ASSERT_GT(total, 10);
    for (int cut = 0; cut < total; ++cut) {
        SCOPED_TRACE(cut);
        Rig rig;
        int seen = 0;
        rig.wire->fault = [&](Message&, bool& line) { line = seen++ == cut; };
        const auto stats = rig.move();
        rig.check((*rig.registry.vm(kUuid))->value.owner);
        EXPECT_EQ(stats.has_value(), (*rig.registry.vm(kUuid))->value.owner == "west");
    }
}

TEST(Migration, ALostAnswerToTheCommitIsACommit) {
    Rig rig;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kDrained) rig.registry.lose_answers = 1;
    };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
}

class NoHost final : public RecoveryHost {
public:
    std::unique_ptr<Claimed> claim(const std::string&) override { return std::make_unique<Claimed>(); }
    void tell(const std::string&, const std::string&) override {}
    Result<void> adopt(const DomainInfo&) override { return {}; }
    Result<void> start(const VmRecord&) override { return {}; }
    Result<void> finish_delete(const VmRecord&) override { return {}; }
    void look_again(const std::string&, Cause) override {}
};

// The daemon stops while nobody can say whether the commit took place: what may be the only copy stays, and the next life finds it.
TEST(Migration, AnUndecidedCommitTakesNothingAway) {
    Rig rig;
    rig.registry.down_after_lost = true;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kDrained) rig.registry.lose_answers = 1;
    };
    rig.after_serving = [&] { rig.registry.down = false; };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;  // the source has read the record
    ASSERT_FALSE(rig.served);
    EXPECT_EQ(rig.served.error().kind, Kind::kUnavailable);
    EXPECT_EQ((*rig.registry.vm(kUuid))->value.phase, Phase::kSettling);
    ASSERT_TRUE(rig.west.disks.contains("web-1"));
    NoHost host;
    Recovery recovery({rig.registry, rig.west, rig.west, rig.west, rig.west, rig.west_net, rig.clock}, "west", host);
    const auto looked = recovery.look(kUuid, Cause::kRestart);
    ASSERT_TRUE(looked) << looked.error().what;
    EXPECT_EQ(*looked, Action::kSettle);
    rig.check("west");
}

TEST(Migration, ALostAnswerToTheMarkIsTakenBack) {
    Rig rig;
    rig.registry.lose_answers = 1;
    ASSERT_FALSE(rig.move());
    rig.check("east");
}

TEST(Migration, CancelInTheMemoryPhaseLeavesItAtTheSource) {
    Rig rig;
    rig.observer.cancel_in = "memory";
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kCancelled);
    rig.check("east");
}

TEST(Migration, RefusesByNameWhatTheTargetLacks) {
    Rig rig;
    rig.west.host.cpu_features = {"mmx"};
    auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kPrecondition);
    EXPECT_NE(stats.error().what.find("sse2"), std::string::npos);
    rig.check("east");
    EXPECT_EQ(rig.registry.history.size(), 1u) << "the record was touched before the refusal";
}

TEST(Migration, RefusesWithoutMemory) {
    Rig rig;
    rig.west.host.free_mib = 100;
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_NE(stats.error().what.find("100 MiB"), std::string::npos);
    EXPECT_FALSE(stats.error().hint.empty());
    rig.check("east");
}

}  // namespace
}  // namespace blanket::migrate
