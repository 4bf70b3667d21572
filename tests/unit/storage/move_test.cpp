// SPDX-License-Identifier: GPL-2.0-or-later
// ThinMove between two fake hosts: the order of things, the content, the ways back.
#include <array>
#include <atomic>
#include <future>
#include <thread>

#include "tests/unit/storage/site_fixture.hpp"

namespace blanket::storage {
namespace {

class Move : public testing::Test {
protected:
    void SetUp() override {
        for (auto* host : {&here, &there}) {
            ASSERT_TRUE(host->start());
            ASSERT_TRUE(host->import_default());
        }
    }
    void begin(bool blank = false) {
        volume = FakeHost::volume("web", blank);
        ASSERT_TRUE(here.store->create_volume(volume));
        ASSERT_TRUE(here.store->open_volume("web", 1));
        ASSERT_TRUE(there.store->create_volume(volume));
        auto made = ThinMove::source(*here.store, volume);
        ASSERT_TRUE(made) << made.error().what;
        source = std::move(*made);
        made = ThinMove::target(*there.store, volume);
        ASSERT_TRUE(made);
        target = std::move(*made);
    }
    void guest(std::uint64_t block, char letter) { ASSERT_TRUE(here.system->user_write("bs-web-top", block * kBlock, std::string(kBlock, letter))); }
    void ship(const std::vector<Extent>& extents) {
        std::vector<std::byte> data;
        for (const auto& extent : extents) {
            data.clear();
            if (!extent.zero) ASSERT_TRUE(source->read_round(extent, data));
            const auto done = target->write(extent, data);
            ASSERT_TRUE(done) << done.error().what;
        }
    }
    void round(std::uint64_t expected_bytes) {
        const auto extents = source->next_round();
        ASSERT_TRUE(extents) << extents.error().what;
        std::uint64_t sum = 0;
        for (const auto& extent : *extents) sum += extent.length;
        EXPECT_EQ(sum, expected_bytes);
        ship(*extents);
    }
    void mirror() {
        ASSERT_TRUE(target->attach_mirror("10.213.2.1", "10.213.1.1", 7800, false));
        ASSERT_TRUE(source->prepare_mirror("10.213.1.1", "10.213.2.1", 7800));
        const auto rest = source->last_round();
        ASSERT_TRUE(rest) << rest.error().what;
        EXPECT_EQ(here.system->user_write("bs-web-top", 0, "x").error().kind, Kind::kUnavailable);
        ship(*rest);
        EXPECT_EQ(*here.read(), *there.read());
        const auto done = source->attach_mirror("10.213.1.1", "10.213.2.1", 7800, true);
        ASSERT_TRUE(done) << done.error().what;
    }
    void expect_clean(FakeHost& host, std::size_t thins) {  // image and volume at most
        EXPECT_TRUE(host.system->drbd.empty());
        EXPECT_EQ(host.system->thin.size(), thins);
        EXPECT_EQ(host.store->thin().table().entries.size(), thins);
        for (const auto* name : {"bs-web-under", "bs-web-meta", "bs-web-snap"}) EXPECT_FALSE(host.system->devices.contains(name)) << name;
    }

    FakeHost here, there;
    Volume volume;
    std::unique_ptr<ThinMove> source, target;
};

TEST_F(Move, OnlyTheDeltaTravels) {
    begin();
    guest(1, 'x');
    guest(3, 'y');
    round(2 * kBlock);
    guest(1, 'z');
    round(kBlock);
    round(0);
    EXPECT_EQ(here.system->thin.size(), 3u);  // image, volume, one snapshot
    guest(9, 'w');
    mirror();
    guest(2, 'm');  // over DRBD
    EXPECT_NE(here.system->devices.at("bs-web-top").table.find("/dev/drbd0"), std::string::npos);
    ASSERT_TRUE(there.system->user_write("bs-web-vol", 2 * kBlock, std::string(kBlock, 'm')));  // what DRBD does
    ASSERT_TRUE(source->drain());
    EXPECT_EQ(here.system->drbd.at(0).protocol, 'C');
    EXPECT_TRUE(here.system->devices.at("bs-web-top").suspended);
    EXPECT_EQ(source->take_over(2).error().kind, Kind::kInternal);
    ASSERT_TRUE(target->take_over(2));
    EXPECT_FALSE(there.system->devices.at("bs-web-top").suspended);
    EXPECT_EQ(*here.read(), *there.read());
    EXPECT_FALSE(there.system->drbd.empty()) << "tidying up is not the guest's to wait for";
    ASSERT_TRUE(target->finish(true, 2));
    EXPECT_FALSE(there.system->devices.at("bs-web-top").suspended);
    ASSERT_TRUE(source->finish(false, 1));
    EXPECT_TRUE(here.system->devices.at("bs-web-top").suspended);
    expect_clean(here, 2);
    expect_clean(there, 2);
    ASSERT_TRUE(here.store->remove_volume("web"));
    expect_clean(here, 1);
}

TEST_F(Move, DiscardedBlocksTravelAsZeros) {
    begin();
    guest(0, '\0');  // the fake takes a block of zeros for an unmapped one
    const auto extents = source->next_round();
    ASSERT_TRUE(extents);
    EXPECT_EQ(*extents, (std::vector<Extent>{{0, kBlock, true}}));
    ship(*extents);
    EXPECT_EQ(*here.read(), *there.read());
}

TEST_F(Move, ABlankVolumeShipsWhatIsMapped) {
    begin(true);
    guest(5, 'q');
    round(kBlock);
    mirror();
}

TEST_F(Move, AStoppedVmStaysStopped) {
    begin();
    ASSERT_TRUE(here.store->close_volume("web"));
    round(0);
    EXPECT_TRUE(here.system->devices.at("bs-web-top").suspended);
}

TEST_F(Move, NothingIsWrittenBelowAnOpenVolume) {
    begin();
    ASSERT_TRUE(there.store->open_volume("web", 1));
    EXPECT_EQ(target->write({0, kBlock, false}, std::vector<std::byte>(kBlock)).error().kind, Kind::kConflict);
}

TEST_F(Move, HostileExtents) {
    begin();
    const std::vector<std::byte> block(kBlock);
    for (const auto& bad : {Extent{0, 0, false}, Extent{16 * kBlock, kBlock, false}, Extent{15 * kBlock, 2 * kBlock, false}, Extent{1, kBlock, false}, Extent{0, 17 * kBlock, false},
                            Extent{~0ull - 65535, kBlock, false}, Extent{0, 100, false}})
        EXPECT_EQ(target->write(bad, block).error().kind, Kind::kInvalid) << bad.offset;
    EXPECT_EQ(target->write({0, kBlock, false}, std::span(block).first(10)).error().kind, Kind::kInvalid);
    EXPECT_EQ(target->write({0, kBlock, true}, block).error().kind, Kind::kInvalid);
    std::vector<std::byte> out;
    EXPECT_FALSE(source->read_round({0, kBlock, false}, out));  // before the first round
}

TEST_F(Move, WrongOrderIsRefused) {
    begin();
    EXPECT_FALSE(source->last_round());
    EXPECT_FALSE(target->next_round());
    EXPECT_FALSE(source->write({0, kBlock, false}, std::vector<std::byte>(kBlock)));
    EXPECT_FALSE(source->attach_mirror("10.213.1.1", "10.213.2.1", 7800, true));  // top is not suspended
    EXPECT_FALSE(source->attach_mirror("10.213.1.1", "10.213.2.1", 7800, false));
    EXPECT_FALSE(source->drain() && false);
}

TEST_F(Move, ARecordThatDoesNotFitIsRefused) {
    begin();
    auto other = volume;
    other.size *= 2;
    EXPECT_EQ(ThinMove::source(*here.store, other).error().kind, Kind::kConflict);
    other.id = "none";
    EXPECT_EQ(ThinMove::source(*here.store, other).error().kind, Kind::kNotFound);
}

TEST_F(Move, AbortAtEveryStage) {
    for (int stage = 0; stage < 5; ++stage) {
        SCOPED_TRACE(stage);
        begin();
        guest(1, 'x');
        if (stage >= 1) round(kBlock);
        if (stage >= 2) ASSERT_TRUE(target->attach_mirror("10.213.2.1", "10.213.1.1", 7800, false));
        if (stage == 3) ASSERT_TRUE(source->last_round());
        if (stage == 4) {
            mirror();
            ASSERT_TRUE(source->drain());
        }
        const auto done = source->finish(true, 1);
        ASSERT_TRUE(done) << done.error().what;
        guest(2, 'y');
        EXPECT_EQ(here.read()->substr(kBlock, 1) + here.read()->substr(2 * kBlock, 1), "xy");
        EXPECT_NE(here.system->devices.at("bs-web-top").table.find("bs-web-vol"), std::string::npos);
        expect_clean(here, 2);
        ASSERT_TRUE(target->finish(false, 1));
        EXPECT_TRUE(there.system->devices.at("bs-web-top").suspended);
        ASSERT_TRUE(there.store->remove_volume("web"));
        expect_clean(there, 1);
        ASSERT_TRUE(here.store->remove_volume("web"));
        source.reset();
        target.reset();
    }
}

TEST_F(Move, ALostMirrorFailsTheDrainAndTheGuestRunsOn) {
    begin();
    round(0);
    mirror();
    here.system->drbd.at(0).connection = "WFConnection";
    here.system->drbd.at(0).peer_disk = "DUnknown";
    guest(4, 'v');
    const auto drained = source->drain();
    ASSERT_FALSE(drained);
    EXPECT_EQ(drained.error().kind, Kind::kUnavailable);
    ASSERT_TRUE(source->finish(true, 1));
    guest(5, 'w');
    expect_clean(here, 2);
}

TEST_F(Move, APeersStateMayBeLate) {
    begin();
    round(0);
    here.system->late_states = 5;
    mirror();
    ASSERT_TRUE(source->finish(true, 1));
    ASSERT_TRUE(target->finish(false, 1));
    expect_clean(here, 2);
}

TEST_F(Move, APeersStaleStateIsFollowedByANewHandshake) {
    begin();
    round(0);
    here.system->stale_state = true;
    mirror();
    EXPECT_EQ(std::ranges::count_if(here.system->commands, [](const auto& command) { return command.contains(" disconnect "); }), 1);
    ASSERT_TRUE(source->finish(true, 1));
    ASSERT_TRUE(target->finish(false, 1));
    expect_clean(here, 2);
}

TEST_F(Move, APeerThatStaysInconsistentFailsTheMirror) {
    begin();
    round(0);
    here.system->late_states = 1'000'000;
    ASSERT_TRUE(source->last_round());
    ASSERT_TRUE(target->attach_mirror("10.213.2.1", "10.213.1.1", 7800, false));
    EXPECT_EQ(source->attach_mirror("10.213.1.1", "10.213.2.1", 7800, true).error().kind, Kind::kUnavailable);
    ASSERT_TRUE(source->finish(true, 1));
    guest(5, 'w');
}

TEST_F(Move, OutOfSyncBlocksFailTheDrain) {
    begin();
    round(0);
    mirror();
    here.system->drbd.at(0).out_of_sync_kib = 4;
    EXPECT_EQ(source->drain().error().kind, Kind::kUnavailable);
}

TEST_F(Move, APeerThatNeverConnects) {
    begin();
    here.system->peer_answers = false;
    round(0);
    here.system->drbd_loaded = true;
    EXPECT_FALSE(Mirror(here.store->thin(), "web").status());
    ASSERT_TRUE(Mirror(here.store->thin(), "web").connect("10.213.1.1", "10.213.2.1", 7800));
    EXPECT_EQ(Mirror(here.store->thin(), "web").wait_connected(std::chrono::milliseconds(1)).error().kind, Kind::kTimeout);
    ASSERT_TRUE(source->finish(true, 1));
    expect_clean(here, 2);
}

TEST_F(Move, AVolumeIsNotOpenedWhileItsMoveIsOn) {
    begin();
    round(0);
    mirror();
    EXPECT_EQ(here.store->open_volume("web", 1).error().kind, Kind::kConflict);
}

// Another VM's delta may take minutes.
TEST_F(Move, WritesDoNotWaitForTheDeltaOfAnotherVm) {
    begin();
    const auto other = FakeHost::volume("db");
    ASSERT_TRUE(here.store->create_volume(other) && here.store->open_volume("db", 1));
    auto second = ThinMove::source(*here.store, other);
    ASSERT_TRUE(second);
    round(0);
    std::atomic<bool> suspended = false;
    std::promise<void> entered, leave;
    here.system->on_command = [&](const Argv& argv) {
        if (argv == suspend("bs-web-top")) suspended = true;
        if (argv[0] != "thin_delta" || suspended) return;
        entered.set_value();
        leave.get_future().wait();
    };
    std::jthread theirs([&] { EXPECT_TRUE((*second)->next_round()); });
    entered.get_future().wait();
    std::jthread ours([&] { EXPECT_TRUE(source->last_round()); });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_FALSE(suspended);
    leave.set_value();
    theirs.join();
    ours.join();
    EXPECT_TRUE(suspended);
    here.system->on_command = {};
    ASSERT_TRUE(source->finish(true, 1));
    ASSERT_TRUE((*second)->finish(true, 1));
}

// DRBD knows a connection by its addresses, so two mirrors at one site need two ports.
TEST_F(Move, TwoMovesAtOnceHaveTwoPorts) {
    constexpr std::array<std::uint16_t, 3> kPorts{7800, 7801, 7802};
    begin();
    const auto other = FakeHost::volume("db");
    ASSERT_TRUE(here.store->create_volume(other) && here.store->open_volume("db", 1));
    auto second = ThinMove::source(*here.store, other);
    ASSERT_TRUE(second);
    ASSERT_TRUE((*second)->next_round());
    round(0);
    EXPECT_EQ(source->take_port(kPorts), 7800);
    EXPECT_EQ((*second)->take_port(kPorts), 7801);
    EXPECT_EQ((*second)->take_port(std::span(kPorts).first(1)).error().kind, Kind::kConflict);
    EXPECT_EQ((*second)->take_port(std::span(kPorts).subspan(1)), 7801);  // what it had before was given back
    mirror();
    EXPECT_EQ((*second)->prepare_mirror("10.213.1.1", "10.213.3.1", 7800).error().kind, Kind::kConflict);
    EXPECT_EQ(Mirror(here.store->thin(), "db").present(), false);
    ASSERT_TRUE((*second)->prepare_mirror("10.213.1.1", "10.213.3.1", 7801));
    ASSERT_TRUE((*second)->last_round());
    const auto attached = (*second)->attach_mirror("10.213.1.1", "10.213.3.1", 7801, true);
    ASSERT_TRUE(attached) << attached.error().what;
    ASSERT_TRUE((*second)->drain());
    EXPECT_EQ(here.system->drbd.at(0).protocol, 'A');
    ASSERT_TRUE((*second)->finish(true, 1));
    EXPECT_EQ(here.system->drbd.at(0).connection, "Connected");
    source.reset();  // blanketd's object goes, its mirror stays: the table knows the port
    EXPECT_EQ((*second)->take_port(kPorts), 7801);
    source = std::move(*ThinMove::source(*here.store, volume));
    ASSERT_TRUE(source->finish(true, 1));
    second->reset();
    EXPECT_EQ(source->take_port(kPorts), 7800);
}

TEST_F(Move, MinorsOfOthersAreLeftAlone) {
    begin();
    here.system->drbd_loaded = true;
    here.system->drbd[0] = {.resource = "other", .connection = "Connected"};
    ASSERT_TRUE(source->prepare_mirror("10.213.1.1", "10.213.2.1", 7800));
    EXPECT_EQ(Mirror(here.store->thin(), "web").facts()->minor, 1u);
    EXPECT_EQ(source->prepare_mirror("10.213.1.1", "10.213.3.1", 7800).error().kind, Kind::kConflict);
    EXPECT_TRUE(source->prepare_mirror("10.213.1.1", "10.213.2.1", 7800));  // idempotent
}

}  // namespace
}  // namespace blanket::storage
