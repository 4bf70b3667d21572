// SPDX-License-Identifier: GPL-2.0-or-later
// OvsOverlay against the stateful fake: a host from nothing, a move at both ends, stale records, lost flows, failures.
#include "fake_host.hpp"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "net/overlay_ovs.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::net::test {
namespace {

constexpr const char* kWeb = "00000000-0000-4000-8000-000000000001";
constexpr const char* kClient = "00000000-0000-4000-8000-000000000002";

class OverlayTest : public ::testing::Test {
protected:
    void SetUp() override {
        folder_ = (std::filesystem::temp_directory_path() / ("blanket-net-" + random_hex(6))).string();
        make("east");
        sites_ = {site("east", 1), site("west", 2), site("north", 3)};
        nets_ = {{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390}};
        vms_ = {vm(kWeb, "web", "02:00:00:00:00:11", "10.1.0.2"), vm(kClient, "client", "02:00:00:00:00:12", "10.1.0.3")};
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void make(const std::string& name, std::chrono::milliseconds carrier_deadline = std::chrono::milliseconds(300)) {
        overlay_ = OvsOverlay::create({.site = name, .key_path = folder_ + "/pki/wg.key", .dhcp_folder = folder_ + "/dhcp",
                                       .port_deadline = std::chrono::milliseconds(300), .carrier_deadline = carrier_deadline,
                                       .last_words = std::chrono::milliseconds(25), .last_words_deadline = std::chrono::milliseconds(1500)},
                                      &host_, &holds_).value();
    }
    static Site site(const std::string& name, std::uint32_t index) {
        Site out;
        out.name = name;
        out.index = index;
        out.address = std::format("192.0.2.{}", index);
        std::string key(32, '\0');
        key[0] = static_cast<char>(index);
        out.wireguard_key = base64_encode(key);
        return out;
    }
    static VmRecord vm(const std::string& uuid, const std::string& name, const std::string& mac, const std::string& ip) {
        VmRecord out;
        out.uuid = uuid;
        out.name = name;
        out.owner = "east";
        out.epoch = 3;
        out.phase = Phase::kRunning;
        out.nics = {{"lan", mac, ip}};
        return out;
    }
    static VmRecord moving(VmRecord record, const std::string& target) {
        record.phase = Phase::kMigrating;
        record.migration = Migration{"m", target};
        return record;
    }
    static VmRecord moved(VmRecord record, const std::string& owner) {
        record.phase = Phase::kRunning;
        record.migration.reset();
        record.owner = owner;
        ++record.epoch;
        return record;
    }
    Result<void> apply() { return overlay_->apply(nets_, vms_, sites_); }
    bool installed(std::string_view part) {
        const std::lock_guard lock(host_.mutex);
        return has(part);
    }
    bool has(std::string_view part, std::string_view part2 = {}) const {
        return std::ranges::any_of(host_.flows, [&](const auto& entry) { return entry.second.contains(part) && entry.second.contains(part2); });
    }

    FakeHost host_;
    FakeHolds holds_;
    std::string folder_;
    std::unique_ptr<OvsOverlay> overlay_;
    std::vector<Net> nets_;
    std::vector<VmRecord> vms_;
    std::vector<Site> sites_;
};

constexpr std::string_view kToWest = "set_field:10.213.2.1->tun_dst";
constexpr std::string_view kWebDst = "dl_dst=02:00:00:00:00:11";

TEST_F(OverlayTest, MakesAHostFromNothingAndThenRests) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    const auto done = apply();
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(host_.bridge_columns["fail_mode"], "secure");
    EXPECT_EQ(host_.ports["vxlan0"].options["local_ip"], "10.213.1.1");
    EXPECT_EQ(host_.ports["gw101"].columns["mac"], "02:00:5e:00:00:65");
    EXPECT_EQ(host_.links["gw101"].second, std::vector<std::string>{"10.1.0.1/24"});
    EXPECT_EQ(host_.links["wg-blanket"].first, 1440u);
    EXPECT_TRUE(host_.wireguard.contains("AllowedIPs = 10.213.2.0/24\nEndpoint = 192.0.2.2:51820"));
    EXPECT_TRUE(host_.firewall.contains("udp dport 4789"));
    EXPECT_EQ(host_.units, std::vector<std::string>{"restart blanket-dhcp@101.service"});
    EXPECT_EQ(*read_file(folder_ + "/dhcp/101.hosts"), "02:00:00:00:00:11,10.1.0.2,web\n02:00:00:00:00:12,10.1.0.3,client\n");
    EXPECT_TRUE(has("table=10", kWebDst));
    const auto flows = host_.flows;
    host_.log.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.log.size(), 4u);  // read switch twice, addresses, flows: nothing is changed
    EXPECT_EQ(host_.flows, flows);
    // The key is in no command line, and the file is private.
    const auto key = read_file(folder_ + "/pki/wg.key");
    for (const auto& line : host_.log) EXPECT_FALSE(line.contains(std::string(trim(*key))));
}

TEST_F(OverlayTest, WhatThePathsCarryReachesRoutesAndGuests) {
    vms_[1].owner = "west";
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.routes["10.213.2.0/24"], "route replace 10.213.2.0/24 dev wg-blanket");
    EXPECT_TRUE(read_file(folder_ + "/dhcp/101.conf")->contains("dhcp-option=option:mtu,1390\n"));
    sites_[1].path_mtu = {{"east", 1400}, {"north", 1280}};  // as west has found
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.routes["10.213.2.0/24"], "route replace 10.213.2.0/24 dev wg-blanket mtu 1340");
    EXPECT_EQ(host_.routes["10.213.3.0/24"], "route replace 10.213.3.0/24 dev wg-blanket") << "not this site's path";
    EXPECT_TRUE(read_file(folder_ + "/dhcp/101.conf")->contains("dhcp-option=option:mtu,1290\n"));
    EXPECT_EQ(host_.ports["gw101"].columns["mtu_request"], "1290");
    host_.log.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.log.size(), 4u);  // nothing is changed
    host_.links.erase("wg-blanket");
    host_.routes.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.routes.size(), 2u) << "gone with the interface";
    sites_[1].path_mtu["east"] = 9001;
    host_.fail_on = "-batch";
    EXPECT_FALSE(apply());
    host_.fail_on.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.routes["10.213.2.0/24"], "route replace 10.213.2.0/24 dev wg-blanket mtu 1440") << "no more than the interface's";
    EXPECT_TRUE(read_file(folder_ + "/dhcp/101.conf")->contains("dhcp-option=option:mtu,1390\n"));
}

TEST_F(OverlayTest, APeerStaysOnTheWayThatWasFoundForIt) {
    host_.endpoints = sites_[1].wireguard_key + "\t203.0.113.7:40123\n" + sites_[2].wireguard_key + "\t(none)\n";  // of an earlier life
    ASSERT_TRUE(apply());
    EXPECT_FALSE(host_.wireguard.contains("Endpoint = 192.0.2.2")) << host_.wireguard;
    EXPECT_TRUE(host_.wireguard.contains("Endpoint = 192.0.2.3"));
    const auto asked = host_.count("wg show");
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.count("wg show"), asked);
    overlay_->keep_endpoints({"north"});
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.wireguard.contains("Endpoint = 192.0.2.2"));
    EXPECT_FALSE(host_.wireguard.contains("Endpoint = 192.0.2.3"));
    EXPECT_TRUE(host_.wireguard.contains("10.213.3.0/24")) << "the peer is there all the same";
    sites_[2].wireguard_key = base64_encode(std::string(32, 'z'));  // another key: it comes from where it is
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.wireguard.contains(sites_[2].wireguard_key));
    EXPECT_FALSE(host_.wireguard.contains("Endpoint = 192.0.2.3"));
}

TEST_F(OverlayTest, ARevokedSiteLosesItsTunnelBeforeAnythingElse) {
    vms_[1].owner = "west";
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.wireguard.contains(sites_[1].wireguard_key));
    EXPECT_TRUE(has(kToWest));
    sites_[1].state = kRevoked;
    sites_[1].wireguard_key.clear();
    host_.log.clear();
    ASSERT_TRUE(apply());
    ASSERT_FALSE(host_.log.empty());
    EXPECT_TRUE(host_.log.front().contains("syncconf")) << host_.log.front();
    EXPECT_FALSE(host_.wireguard.contains("10.213.2.0/24")) << host_.wireguard;
    EXPECT_TRUE(host_.wireguard.contains("10.213.3.0/24")) << "the others keep theirs";
    EXPECT_FALSE(has(kToWest)) << "nothing is sent to it, and nothing of it is heard";
    // Its record cannot take another site's number away from it.
    sites_[1].index = 3;
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.wireguard.contains("10.213.3.0/24"));
    // Where the switch cannot be read, the tunnel goes all the same.
    sites_[2].state = kRevoked;
    host_.fail_on = "ovs-vsctl";
    EXPECT_FALSE(apply());
    EXPECT_FALSE(host_.wireguard.contains("10.213.3.0/24")) << host_.wireguard;
}

TEST_F(OverlayTest, RepairsAfterARestartOfTheSwitch) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    ASSERT_TRUE(apply());
    const auto flows = host_.flows;
    host_.flows.clear();
    host_.links["gw101"].second.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.flows, flows);
    EXPECT_EQ(host_.links["gw101"].second, std::vector<std::string>{"10.1.0.1/24"});
}

TEST_F(OverlayTest, TracesByWhatIsInstalled) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    host_.plug("vif2.0", kClient, "02:00:00:00:00:12");
    const TraceQuery query{"client", "10.1.0.2", IpProto::kTcp, 80};
    EXPECT_EQ(overlay_->trace(query).error().kind, Kind::kPrecondition) << "nothing is known before the first apply()";
    ASSERT_TRUE(apply());
    auto seen = overlay_->trace(query);
    ASSERT_TRUE(seen) << seen.error().what;
    EXPECT_EQ(seen->verdict, "delivered");
    EXPECT_TRUE(seen->differences.empty());
    std::erase_if(host_.flows, [](const auto& entry) { return entry.first.starts_with("table=10,priority=100"); });
    seen = overlay_->trace(query);
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->differences.size(), 2u);
    host_.fail_on = "dump-flows";
    EXPECT_FALSE(overlay_->trace(query));
}

TEST_F(OverlayTest, AloneThereIsNoTunnel) {
    sites_.clear();
    ASSERT_TRUE(apply());
    EXPECT_FALSE(host_.ports.contains("vxlan0"));
    EXPECT_TRUE(host_.wireguard.empty());
    const auto refused = overlay_->redirect(vms_[0], site("west", 2));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kPrecondition);
}

TEST_F(OverlayTest, SourceRedirectsAndTakesItBack) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    host_.plug("vif2.0", kClient, "02:00:00:00:00:12");
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    const auto before = host_.flows;
    host_.log.clear();
    holds_.last_words = 3;
    ASSERT_TRUE(overlay_->divert(vms_[0], sites_[1]));
    EXPECT_EQ(holds_.last_words, 0u);  // it waits until the guest has said all
    holds_.last_words = 1'000'000;
    ASSERT_TRUE(overlay_->divert(vms_[0], sites_[1]));  // but not for ever
    holds_.last_words = 0;
    EXPECT_EQ(host_.log.size(), 1u);  // one ovs-ofctl
    EXPECT_TRUE(has("in_port=1 "));   // what it was asked before it can still answer
    EXPECT_TRUE(has("priority=200,ip,metadata=0x65,dl_dst=02:00:00:00:00:11", kToWest));
    host_.log.clear();
    ASSERT_TRUE(overlay_->redirect(vms_[0], sites_[1]));
    EXPECT_EQ(host_.log.size(), 1u);  // one ovs-ofctl
    const auto redirected = host_.flows;
    EXPECT_FALSE(has("in_port=1 "));  // the suspended guest is not heard here any more
    EXPECT_TRUE(has("priority=200,ip,metadata=0x65,dl_dst=02:00:00:00:00:11", kToWest));
    ASSERT_TRUE(apply());  // a record of somebody else changed meanwhile: the redirect stays
    EXPECT_EQ(host_.flows, redirected);
    host_.log.clear();
    ASSERT_TRUE(overlay_->undo_redirect(vms_[0]));
    EXPECT_EQ(host_.log.size(), 1u);
    EXPECT_EQ(host_.flows, before);
}

TEST_F(OverlayTest, SourceAfterTheCommitSendsDirect) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    ASSERT_TRUE(overlay_->redirect(vms_[0], sites_[1]));
    const auto old = vms_;
    vms_[0] = moved(vms_[0], "west");
    ASSERT_TRUE(apply());
    EXPECT_TRUE(has("table=9", kToWest));
    EXPECT_TRUE(has("priority=200", kToWest));  // for third sites that are late
    EXPECT_FALSE(has("table=1,", "02:00:00:00:00:11"));  // whatever the old copy says goes nowhere
    const auto flows = host_.flows;
    vms_ = old;  // a stale snapshot does not turn anything back
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.flows, flows);
    EXPECT_EQ(overlay_->redirect(old[0], sites_[1]).error().kind, Kind::kConflict);
    EXPECT_EQ(overlay_->activate(old[0]).error().kind, Kind::kConflict);
}

TEST_F(OverlayTest, TargetActivates) {
    make("west");
    host_.plug("vif5.0", "00000000-0000-4000-8000-000000000009", "02:00:00:00:00:19");
    auto neighbour = vm("00000000-0000-4000-8000-000000000009", "near", "02:00:00:00:00:19", "10.1.0.9");
    neighbour.owner = "west";
    vms_.push_back(neighbour);
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    EXPECT_TRUE(has("table=9", kWebDst));
    EXPECT_TRUE(has("priority=50,ip,metadata=0x65,tun_src=10.213.1.1", kWebDst));  // east relays already
    EXPECT_FALSE(has("table=10", kWebDst));
    host_.plug("vif8.0", kWeb, "02:00:00:00:00:11");
    ASSERT_TRUE(apply());
    EXPECT_FALSE(has("table=10", kWebDst));  // the vif alone changes nothing: the record decides
    const VmRecord now = moved(vms_[0], "west");
    host_.log.clear();
    const auto done = overlay_->activate(now);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(host_.count("ovs-vsctl"), 1u);
    EXPECT_EQ(host_.count("ovs-ofctl"), 1u);
    EXPECT_TRUE(has("table=10", kWebDst));
    EXPECT_FALSE(has("table=9", kWebDst));
    EXPECT_FALSE(has("table=2", "dl_src=02:00:00:00:00:11"));  // east no longer speaks for it
    EXPECT_TRUE(has("priority=50,ip,metadata=0x65,tun_src=10.213.1.1", kWebDst));
    ASSERT_EQ(host_.packets.size(), 1u);
    EXPECT_TRUE(host_.packets[0].contains("ffffffffffff02000000001108060001080006040001020000000011" "0a010002" "000000000000" "0a010002"));
    const auto flows = host_.flows;
    ASSERT_TRUE(apply());  // with the record from before the commit: ignored
    EXPECT_EQ(host_.flows, flows);
    vms_[0] = now;
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.flows, flows);
    // And on to the north at once: the relay ends, the redirect begins.
    ASSERT_TRUE(overlay_->redirect(moving(now, "north"), sites_[2]));
    EXPECT_FALSE(has("priority=50,ip,metadata=0x65,tun_src=10.213.1.1", kWebDst));
    EXPECT_TRUE(has("priority=200", "set_field:10.213.3.1->tun_dst"));
}

TEST_F(OverlayTest, TargetHoldsFramesUntilTheGuestListens) {
    make("west", std::chrono::seconds(20));
    ASSERT_TRUE(apply());
    const VmRecord coming = moving(vms_[0], "west");
    const auto held = overlay_->hold_frames(coming);  // before the watch told of the migration
    ASSERT_TRUE(held) << held.error().what;
    ASSERT_EQ(holds_.devices.size(), 1u);
    const std::string to_hold = std::format("output:{}", host_.ports["hold0"].number);
    EXPECT_TRUE(has("priority=150,ip,metadata=0x65,dl_dst=02:00:00:00:00:11", to_hold));
    EXPECT_TRUE(has("priority=50,ip,metadata=0x65,tun_src=10.213.1.1", kWebDst));  // and the source's relay is heard
    EXPECT_FALSE(has(std::format("in_port={}", host_.ports["hold0"].number)));      // nothing comes out before the commit
    EXPECT_EQ(overlay_->hold_frames(coming).error().kind, Kind::kConflict);
    host_.plug("vif8.0", kWeb, "02:00:00:00:00:11");
    overlay_->arm(coming);
    const std::string vif = std::format("{}", host_.ports["vif8.0"].number);
    const std::string out_of_hold = std::format("in_port={}", host_.ports["hold0"].number);
    for (int i = 0; i < 4000 && !installed(out_of_hold); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    {
        const std::lock_guard lock(host_.mutex);
        EXPECT_TRUE(has("table=0", "in_port=" + vif + " "));                       // the guest can speak from its first moment
        EXPECT_TRUE(has(out_of_hold, "output:" + vif));
        EXPECT_TRUE(has("priority=150", to_hold));
        EXPECT_FALSE(has("table=10,priority=100,", kWebDst));                        // and hears nothing but what comes out of the hold
        EXPECT_TRUE(has("table=9", kWebDst));
    }
    const VmRecord now = moved(vms_[0], "west");
    vms_[0] = coming;
    ASSERT_TRUE(apply());  // in between: the hold stays
    EXPECT_TRUE(host_.ports.contains("hold0") && has("priority=150", to_hold));
    holds_.devices["hold0"].waiting = 7;
    holds_.connects_after["vif8.0"] = 2;  // the driver takes its time
    const auto released = overlay_->release_frames(now);
    ASSERT_TRUE(released) << released.error().what;
    EXPECT_EQ(holds_.devices["hold0"].delivered, 7u);
    EXPECT_TRUE(holds_.devices["hold0"].closed);
    EXPECT_FALSE(host_.ports.contains("hold0"));
    EXPECT_FALSE(has("priority=150"));
    EXPECT_TRUE(has("table=10", kWebDst));
    EXPECT_FALSE(has("table=9", kWebDst));
    EXPECT_EQ(host_.packets.size(), 1u);  // announced
    EXPECT_TRUE(has("priority=50,ip,metadata=0x65,tun_src=10.213.1.1", kWebDst));  // the old owner may still relay
    vms_[0] = now;
    const auto flows = host_.flows;
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.flows, flows);
}

TEST_F(OverlayTest, AGuestThatNeverListensDoesNotKeepItsHold) {
    make("west");
    ASSERT_TRUE(apply());
    ASSERT_TRUE(overlay_->hold_frames(moving(vms_[0], "west")));
    host_.plug("vif8.0", kWeb, "02:00:00:00:00:11");
    const VmRecord now = moved(vms_[0], "west");
    EXPECT_EQ(overlay_->release_frames(now).error().kind, Kind::kTimeout);
    EXPECT_FALSE(host_.ports.contains("hold0"));
    EXPECT_FALSE(has("priority=150"));
}

TEST_F(OverlayTest, AHoldThatCannotBeMadeOrIsNotWantedLeavesNothing) {
    make("west");
    EXPECT_EQ(overlay_->hold_frames(moving(vms_[0], "west")).error().kind, Kind::kPrecondition);
    ASSERT_TRUE(apply());
    const auto flows = host_.flows;
    holds_.broken = true;
    EXPECT_FALSE(overlay_->hold_frames(moving(vms_[0], "west")));
    holds_.broken = false;
    host_.fail_on = "hold1";
    EXPECT_FALSE(overlay_->hold_frames(moving(vms_[0], "west")));
    host_.fail_on.clear();
    ASSERT_TRUE(overlay_->hold_frames(moving(vms_[0], "west")));
    host_.plug("vif8.0", kWeb, "02:00:00:00:00:11");
    overlay_->arm(moving(vms_[0], "west"));
    ASSERT_TRUE(overlay_->drop_frames(kWeb));  // the source gave up
    host_.unplug("vif8.0");
    for (const auto& [name, device] : holds_.devices) EXPECT_TRUE(device.closed) << name;
    EXPECT_FALSE(host_.ports.contains("hold2"));
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    EXPECT_FALSE(has("priority=150"));
    // What a daemon that died left behind goes at the next one's first look.
    host_.ports["hold9"] = {.columns = {}, .ids = {{"blanket-hold", kWeb}, {"vm-mac", "02:00:00:00:00:11"}}, .options = {}, .number = 77};
    ASSERT_TRUE(apply());
    EXPECT_FALSE(host_.ports.contains("hold9"));
    EXPECT_FALSE(has("priority=150"));
}

TEST_F(OverlayTest, ThereAndBackLeavesNoRedirect) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    ASSERT_TRUE(overlay_->redirect(vms_[0], sites_[1]));
    vms_[0] = moved(vms_[0], "west");
    host_.unplug("vif1.0");
    ASSERT_TRUE(apply());
    vms_[0] = moving(vms_[0], "east");
    ASSERT_TRUE(apply());
    EXPECT_FALSE(has("priority=200", kToWest));
    host_.plug("vif4.0", kWeb, "02:00:00:00:00:11");
    vms_[0] = moved(vms_[0], "east");
    ASSERT_TRUE(overlay_->activate(vms_[0]));
    ASSERT_TRUE(apply());
    EXPECT_FALSE(has("priority=200", kToWest));
    EXPECT_TRUE(has("table=10", kWebDst));
}

TEST_F(OverlayTest, ActivateWaitsForTheVif) {
    ASSERT_TRUE(apply());
    const auto late = overlay_->activate(vms_[0]);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().kind, Kind::kTimeout);
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    EXPECT_TRUE(overlay_->activate(vms_[0]));
    EXPECT_TRUE(has("table=10", kWebDst));
}

TEST_F(OverlayTest, AFailureIsToldAndTheNextRoundRepairs) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    for (const char* part : {"ovs-vsctl", "nft", "wg syncconf", "ovs-ofctl", "bundle", "-batch", "systemctl"}) {
        host_.fail_on = part;
        const auto failed = apply();
        ASSERT_FALSE(failed) << part;
        EXPECT_TRUE(failed.error().what.contains("told to")) << failed.error().what;
        host_.fail_on.clear();
        ASSERT_TRUE(apply()) << part;
        EXPECT_TRUE(has("table=10", kWebDst));
        host_ = FakeHost();
        host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
        std::filesystem::remove_all(folder_);
        make("east");
    }
}

// What only the records say does not wait for processes, nor for a host on which something is broken.
TEST_F(OverlayTest, ACommitElsewhereIsInTheSwitchBeforeAnythingElse) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    vms_[1].owner = "north";
    ASSERT_TRUE(apply());
    EXPECT_FALSE(has("table=9", kToWest));
    vms_[1] = moved(vms_[1], "west");
    host_.log.clear();
    host_.fail_on = "ovs-vsctl";
    EXPECT_FALSE(apply());
    ASSERT_GE(host_.log.size(), 2u);
    EXPECT_TRUE(host_.log[0].contains("bundle")) << host_.log[0];
    EXPECT_TRUE(has("table=9", kToWest));
    host_.fail_on.clear();
    const auto flows = host_.flows;
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.flows, flows) << "and the whole plan says the same";
    vms_.pop_back();
    host_.fail_on = "ovs-vsctl";
    EXPECT_FALSE(apply());
    EXPECT_FALSE(has("table=9", kToWest)) << "its record is gone";
}

// The record of a VM that comes here is activate()'s to learn, which opens the relay for the old owner by it.
TEST_F(OverlayTest, AnApplyInTheMiddleLeavesTheArrivalToActivate) {
    make("west");
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    host_.plug("vif8.0", kWeb, "02:00:00:00:00:11");
    vms_[0] = moved(vms_[0], "west");
    host_.fail_on = "ovs-vsctl";  // it gets no further than what goes first
    EXPECT_FALSE(apply());
    host_.fail_on.clear();
    ASSERT_TRUE(overlay_->activate(vms_[0]));
    EXPECT_TRUE(has("priority=50,ip,metadata=0x65,tun_src=10.213.1.1", kWebDst));
    EXPECT_TRUE(has("table=10", kWebDst));
}

TEST_F(OverlayTest, ABundleWhoseAnswerIsLostIsNotTakenForUndone) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    vms_[0] = moving(vms_[0], "west");
    ASSERT_TRUE(apply());
    const auto before = host_.flows;
    host_.lose_answer = true;
    EXPECT_FALSE(overlay_->redirect(vms_[0], sites_[1]));
    EXPECT_TRUE(has("priority=200", kToWest));
    ASSERT_TRUE(overlay_->undo_redirect(vms_[0]));
    EXPECT_EQ(host_.flows, before);
    host_.log.clear();
    ASSERT_TRUE(overlay_->redirect(vms_[0], sites_[1]));
    EXPECT_EQ(host_.log.size(), 1u) << "what the switch holds is known again";
}

// An entry of a newer epoch, of another life of this daemon, is left alone for as long as no record is as new: also in the changes after the first.
TEST_F(OverlayTest, ANewerEntryStaysThroughLaterChanges) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    ASSERT_TRUE(apply());
    for (auto& [key, line] : host_.flows)
        if (key.starts_with("table=10,priority=100") && line.contains(kWebDst)) line.replace(line.find("cookie=0x"), 25, "cookie=0xb1a7000000000009");
    const auto newer = [&] { return has("table=10", "cookie=0xb1a7000000000009"); };
    ASSERT_TRUE(newer());
    for (const std::uint64_t epoch : {3u, 4u, 5u}) {
        vms_[0].epoch = epoch;
        ASSERT_TRUE(apply());
        EXPECT_TRUE(newer()) << epoch;
        vms_[0].epoch = 6;
        vms_[1].epoch++;
        host_.fail_on = "ovs-vsctl";
        EXPECT_FALSE(apply());
        host_.fail_on.clear();
        EXPECT_TRUE(newer());
        make("east");
    }
    vms_[0].epoch = 10;
    ASSERT_TRUE(apply());
    EXPECT_FALSE(newer());
}

// A VM is deleted, and another one has its MAC address next, whose epochs begin anew: a site may see both in one step.
TEST_F(OverlayTest, ACardOfAVmThatIsNoMoreHoldsNothingBack) {
    host_.plug("vif1.0", kWeb, "02:00:00:00:00:11");
    for (const bool refused : {false, true}) {
        SCOPED_TRACE(refused);
        vms_[1] = vm(kClient, "client", "02:00:00:00:00:12", "10.1.0.3");
        vms_[1].owner = "north";
        vms_[1].epoch = 7;
        ASSERT_TRUE(apply());
        ASSERT_FALSE(has("dl_dst=02:00:00:00:00:12", kToWest));
        vms_[1] = vm("00000000-0000-4000-8000-000000000009", "anew", "02:00:00:00:00:12", "10.1.0.9");
        vms_[1].owner = "west";
        vms_[1].epoch = 1;
        if (refused) {  // by the switch, at first: its table is read before the next attempt
            host_.fail_on = "bundle";
            EXPECT_FALSE(apply());
            EXPECT_FALSE(has("dl_dst=02:00:00:00:00:12", kToWest));
            host_.fail_on.clear();
        }
        ASSERT_TRUE(apply());
        EXPECT_TRUE(has("dl_dst=02:00:00:00:00:12", kToWest));
        EXPECT_FALSE(has("cookie=0xb1a7000000000007"));
        vms_[1].epoch = 0;  // of one VM the older record is stale as ever
        vms_[1].owner = "north";
        ASSERT_TRUE(apply());
        EXPECT_TRUE(has("dl_dst=02:00:00:00:00:12", kToWest));
    }
}

// A site makes a gateway and a DHCP server for the networks that it has a part in, and takes them away when their last VM has left.
TEST_F(OverlayTest, OtherTenantsCostASiteNothing) {
    for (unsigned i = 0; i < 50; ++i) {
        nets_.push_back({std::format("foreign{}", i), 200 + i, std::format("10.2.{}.0/24", i), std::format("10.2.{}.1", i), 1390});
        auto other = vm(std::format("00000000-0000-4000-8000-0000000001{:02x}", i), std::format("f{}", i), "02:00:00:00:01:11", std::format("10.2.{}.2", i));
        other.owner = "west";
        other.nics[0].net = nets_.back().name;
        vms_.push_back(other);
    }
    ASSERT_TRUE(apply());
    const auto flows = host_.flows;
    EXPECT_EQ(host_.units, std::vector<std::string>{"restart blanket-dhcp@101.service"});
    EXPECT_EQ(host_.ports.size(), 2u) << "the tunnel's and one gateway";
    vms_.resize(2);
    nets_.resize(1);
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.flows, flows);
    // One of them comes: its network is there before it is, and goes when it has gone.
    nets_.push_back({"foreign", 200, "10.2.0.0/24", "10.2.0.1", 1390});
    vms_.push_back(vm("00000000-0000-4000-8000-000000000100", "guest", "02:00:00:00:01:11", "10.2.0.2"));
    vms_[2].nics[0].net = "foreign";
    vms_[2].owner = "west";
    vms_[2] = moving(vms_[2], "east");
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.ports.contains("gw200"));
    vms_[2] = moved(vms_[2], "east");
    host_.plug("vif7.0", vms_[2].uuid, "02:00:00:00:01:11");
    ASSERT_TRUE(overlay_->activate(vms_[2]));
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.ports.contains("gw200"));
    vms_[2] = moving(vms_[2], "west");
    ASSERT_TRUE(overlay_->redirect(vms_[2], sites_[1]));
    vms_[2] = moved(vms_[2], "west");
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.ports.contains("gw200")) << "it has just left: late frames go through here";
    make("east");  // as after the redirect's time
    host_.unplug("vif7.0");
    ASSERT_TRUE(apply());
    EXPECT_FALSE(host_.ports.contains("gw200"));
}

// The provider's subnet, or its router, is not taken from the host by a network that has its addresses: that network has no gateway here, and everything else works.
TEST_F(OverlayTest, WhatTheHostNeedsItselfIsNoGateways) {
    const std::string routes = folder_ + "-route";
    const auto route = [&](const std::string& hop) {
        ASSERT_TRUE(write_file(routes, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\nens5\t00000000\t" + hop + "\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"));
    };
    route("01FFFEA9");
    overlay_ = OvsOverlay::create({.site = "east", .key_path = folder_ + "/pki/wg.key", .dhcp_folder = folder_ + "/dhcp", .route_table = routes}, &host_, &holds_).value();
    nets_.push_back({"vpc", 102, "172.31.0.0/20", "172.31.0.1", 1390});
    vms_.push_back(vm("00000000-0000-4000-8000-000000000003", "guest", "02:00:00:00:00:13", "172.31.0.9"));
    vms_[2].nics[0].net = "vpc";
    vms_[2].owner = "west";
    vms_[2] = moving(vms_[2], "east");
    const auto left_out = [&] {
        return !host_.ports.contains("gw102") && !std::filesystem::exists(folder_ + "/dhcp/102.conf") && !has("table=4", "nw_dst=172.31.0.1");
    };
    host_.links["ens5"] = {9001, {"172.31.5.7/20"}};
    const auto refused = overlay_->check_net(nets_[1]);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kPrecondition);
    EXPECT_TRUE(refused.error().what.contains("172.31.5.7/20 of ens5")) << refused.error().what;
    EXPECT_TRUE(overlay_->check_net(nets_[0]));
    host_.log.clear();
    const auto all = overlay_->check_nets(nets_);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_TRUE(all[0] && !all[1]);
    EXPECT_EQ(host_.log.size(), 1u) << "one look for all";
    ASSERT_TRUE(apply());
    EXPECT_TRUE(left_out());
    EXPECT_EQ(host_.links["ens5"].second, std::vector<std::string>{"172.31.5.7/20"});
    EXPECT_EQ(host_.links["gw101"].second, std::vector<std::string>{"10.1.0.1/24"}) << "the others are served";
    host_.log.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.log.size(), 4u) << "and it rests";

    // Some clouds give a host one address alone; its way out is in no subnet of its own.
    host_.links["ens5"] = {1460, {"192.0.2.1/32"}};
    route("01001FAC");
    EXPECT_TRUE(overlay_->check_net(nets_[1]).error().what.contains("172.31.0.1, the way out by ens5"));
    ASSERT_TRUE(apply());
    EXPECT_TRUE(left_out());
    route("01FFFEA9");
    EXPECT_TRUE(overlay_->check_net(nets_[1]));
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.links["gw102"].second, std::vector<std::string>{"172.31.0.1/20"}) << "nothing is in its way any more";
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/dhcp/102.conf"));
    // Its provider renumbers the host: the gateway that stands goes, in the next round.
    host_.links["ens5"] = {1460, {"172.31.5.7/20"}};
    ASSERT_TRUE(apply());
    EXPECT_TRUE(left_out());
    sites_[2].address = "10.1.0.77";  // and a site that joined with an address of a network is reached past it
    ASSERT_TRUE(apply());
    EXPECT_FALSE(host_.ports.contains("gw101"));
    std::filesystem::remove(routes);
}

// `systemctl restart nftables` takes our rules away as well: they come back at the next look.
TEST_F(OverlayTest, RulesThatSomebodyFlushedComeBack) {
    overlay_ = OvsOverlay::create({.site = "east", .key_path = folder_ + "/pki/wg.key", .dhcp_folder = folder_ + "/dhcp", .firewall_look = std::chrono::milliseconds(0)}, &host_, &holds_).value();
    ASSERT_TRUE(apply());
    const std::string rules = host_.firewall;
    ASSERT_TRUE(rules.contains("udp dport 4789"));
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.count("nft -f"), 1u) << "they are there";
    for (const std::string& left : {std::string(), std::string("table inet blanket_net {\n}\n")}) {
        host_.firewall = left;
        host_.fail_on = "nft -f";
        EXPECT_FALSE(apply());
        EXPECT_EQ(host_.firewall, left);
        host_.fail_on.clear();
        ASSERT_TRUE(apply());
        EXPECT_EQ(host_.firewall, rules);
    }
}

TEST_F(OverlayTest, AReloadOfDhcpThatFailedIsMadeGood) {
    ASSERT_TRUE(apply());
    vms_.push_back(vm("00000000-0000-4000-8000-000000000003", "third", "02:00:00:00:00:13", "10.1.0.4"));
    host_.fail_on = "systemctl reload";
    EXPECT_FALSE(apply());
    host_.fail_on.clear();
    host_.units.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.units, std::vector<std::string>{"restart blanket-dhcp@101.service"}) << "its files are right already, and it has not read them";
    host_.units.clear();
    ASSERT_TRUE(apply());
    EXPECT_TRUE(host_.units.empty());
}

TEST_F(OverlayTest, NetsAndVmsGoAway) {
    ASSERT_TRUE(apply());
    host_.units.clear();
    vms_.pop_back();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.units, std::vector<std::string>{"restart blanket-dhcp@101.service"});
    host_.units.clear();
    nets_.clear();
    ASSERT_TRUE(apply());
    EXPECT_EQ(host_.units, std::vector<std::string>{"stop blanket-dhcp@101.service"});
    EXPECT_FALSE(host_.ports.contains("gw101"));
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/dhcp/101.conf"));
}

}  // namespace
}  // namespace blanket::net::test
