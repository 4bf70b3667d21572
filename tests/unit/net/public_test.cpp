// SPDX-License-Identifier: GPL-2.0-or-later
// The anchor's host against the fake: firewall and forwarding go together, the host's own ports stay its own, records that contradict each other open nothing;
// and tables of sockets as the kernel prints them.
#include "fake_host.hpp"

#include <algorithm>
#include <filesystem>

#include "net/listeners.hpp"
#include "net/overlay_ovs.hpp"
#include "net/public_ports.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::net::test {
namespace {

constexpr const char* kShop = "00000000-0000-4000-8000-000000000001";
constexpr const char* kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    "   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n"
    "   2: 0A00000A:0051 0B00000A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0\n";
constexpr const char* kTable6 =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n";

TEST(Listeners, OfTheKernelsTables) {
    EXPECT_EQ(parse_listeners(kTable, IpProto::kTcp).value(), (std::set<HostPort>{{IpProto::kTcp, 8080}})) << "not on loopback, not a connection";
    EXPECT_EQ(parse_listeners(kTable6, IpProto::kTcp).value(), (std::set<HostPort>{{IpProto::kTcp, 22}}));
    EXPECT_TRUE(parse_listeners("", IpProto::kUdp).value().empty());
    for (const char* bad : {"head\n1: nonsense\n", "head\n 0: 00000000:XYZ 0 0A\n", "head\n 0: 00000000:11F90 0 0A\n", "head\n 0: 00000000 0 0A 0\n"}) EXPECT_FALSE(parse_listeners(bad, IpProto::kTcp)) << bad;
    EXPECT_TRUE(listeners("/nowhere").value().empty());
    EXPECT_TRUE(listeners("/proc/net"));
}

class PublicTest : public ::testing::Test {
protected:
    void SetUp() override {
        folder_ = (std::filesystem::temp_directory_path() / ("blanket-public-" + random_hex(6))).string();
        ASSERT_TRUE(make_dirs(folder_ + "/proc"));
        ASSERT_TRUE(write_file(folder_ + "/ip_forward", "0\n"));
        make();
        for (const unsigned index : {1u, 2u}) {
            Site site;
            site.name = index == 1 ? "east" : "west";
            site.index = index;
            site.address = std::format("192.0.2.{}", index);
            site.wireguard_key = base64_encode(std::string(32, static_cast<char>('a' + index)));
            sites_.push_back(site);
        }
        nets_ = {{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390, {}}, {"dmz", 102, "10.2.0.0/24", "10.2.0.1", 1390, {}}};
        for (const unsigned number : {1u, 2u}) {
            VmRecord vm;
            vm.uuid = std::format("00000000-0000-4000-8000-00000000000{}", number);
            vm.name = number == 1 ? "shop" : "blog";
            vm.owner = "east";
            vm.phase = Phase::kRunning;
            vm.nics = {{number == 1 ? "lan" : "dmz", std::format("02:00:00:00:00:1{}", number), std::format("10.{}.0.2", number)}};
            vms_.push_back(vm);
        }
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void make(std::size_t bundle_lines = 50'000) {
        overlay_ = OvsOverlay::create({.site = "east", .key_path = folder_ + "/wg.key", .dhcp_folder = folder_ + "/dhcp", .bundle_lines = bundle_lines, .forward_control = folder_ + "/ip_forward",
                                       .forward_mark = folder_ + "/run/mark", .listeners_folder = folder_ + "/proc"},
                                      &host_)
                       .value();
    }
    void apply() {
        const auto done = overlay_->apply(nets_, vms_, sites_);
        ASSERT_TRUE(done) << done.error().what;
    }
    [[nodiscard]] bool forwards() const { return read_file(folder_ + "/ip_forward").value() == "1\n"; }
    void expose(const std::string& site = "east") { nets_[0].anchors = {{site, "10.1.0.254", {{kShop, RuleProto::kTcp, 8080, 80}}}}; }

    std::string folder_;
    FakeHost host_;
    std::unique_ptr<OvsOverlay> overlay_;
    std::vector<Net> nets_;
    std::vector<VmRecord> vms_;
    std::vector<Site> sites_;
};

TEST_F(PublicTest, TheHostForwardsOnlyWhileSomethingIsPublicHere) {
    apply();
    EXPECT_FALSE(forwards());
    EXPECT_FALSE(host_.firewall.contains("dnat"));
    expose("west");
    apply();
    EXPECT_FALSE(forwards()) << "another site's";
    expose();
    apply();
    EXPECT_TRUE(forwards());
    EXPECT_TRUE(host_.firewall.contains("tcp dport 8080 dnat ip to 10.1.0.2:80")) << host_.firewall;
    EXPECT_TRUE(host_.firewall.contains("snat ip to 10.1.0.254"));
    const auto loads = host_.count("nft");
    apply();
    EXPECT_EQ(host_.count("nft"), loads) << "nothing has changed";
    make();  // the daemon starts anew
    apply();
    EXPECT_TRUE(forwards());
    nets_[0].anchors.clear();
    make();  // ... and was away when it was taken back
    apply();
    EXPECT_FALSE(forwards());
    EXPECT_FALSE(host_.firewall.contains("dnat"));
}

TEST_F(PublicTest, ARelayForwardsToo) {
    Site far = sites_[1];
    far.name = "far";
    far.index = 3;
    far.wireguard_key = base64_encode(std::string(32, 'f'));
    sites_.push_back(far);
    sites_[0].heard = {{"west", {}}, {"far", {}}};
    sites_[1].heard = sites_[2].heard = {{"east", {}}};
    vms_[0].owner = "west";
    vms_[1].owner = "far";
    apply();
    EXPECT_FALSE(forwards()) << "they share no network";
    vms_[1].nics[0].net = "lan";
    vms_[1].nics[0].ip = "10.1.0.3";
    apply();
    EXPECT_TRUE(forwards());
    EXPECT_TRUE(host_.firewall.contains("ip saddr 10.213.2.1 ip daddr 10.213.1.1 udp sport 51820 udp dport 61003 dnat ip to 10.213.3.1:51820")) << host_.firewall;
    sites_[2].state = kRevoked;
    apply();
    EXPECT_FALSE(forwards());
    EXPECT_FALSE(host_.firewall.contains("dnat"));
}

TEST_F(PublicTest, RulesThatCannotBeLoadedForwardNothing) {
    expose();
    host_.fail_on = "public_in";
    EXPECT_FALSE(overlay_->apply(nets_, vms_, sites_));
    EXPECT_FALSE(forwards());
    host_.fail_on.clear();
    apply();
    EXPECT_TRUE(forwards());
}

TEST_F(PublicTest, AHostThatForwardsAnywayIsLeftSo) {
    ASSERT_TRUE(write_file(folder_ + "/ip_forward", "1\n"));
    expose();
    apply();
    nets_[0].anchors.clear();
    apply();
    EXPECT_TRUE(forwards());
}

TEST_F(PublicTest, TheHostsOwnPortsStayItsOwn) {
    ASSERT_TRUE(write_file(folder_ + "/proc/tcp", kTable));
    expose();
    apply();
    EXPECT_FALSE(forwards());
    EXPECT_FALSE(host_.firewall.contains("dnat")) << "it listens on 8080";
    nets_[0].anchors[0].ports.push_back({kShop, RuleProto::kTcp, 80, 80});
    apply();
    EXPECT_TRUE(host_.firewall.contains("tcp dport 80 dnat")) << "only on loopback there";
    EXPECT_FALSE(host_.firewall.contains("8080"));
}

TEST_F(PublicTest, WhatTwoClaimOpensForNeither) {
    expose();
    nets_[1].anchors = {{"east", "10.2.0.254", {{vms_[1].uuid, RuleProto::kTcp, 8080, 80}, {vms_[1].uuid, RuleProto::kTcp, 8081, 80}}}};
    apply();
    EXPECT_FALSE(host_.firewall.contains("8080"));
    EXPECT_TRUE(host_.firewall.contains("tcp dport 8081 dnat ip to 10.2.0.2:80"));
    nets_[1].cidr = "10.1.0.0/24";
    nets_[1].gateway = "10.1.0.1";
    nets_[1].anchors.clear();
    vms_[1].nics[0].ip = "10.1.0.2";
    apply();
    EXPECT_FALSE(host_.firewall.contains("dnat")) << "two networks with its addresses";
}

TEST_F(PublicTest, RecordsThatCannotBeOpenNothing) {
    struct Case {
        const char* what;
        std::function<void()> spoil;
    };
    for (const Case& bad : {Case{"a VM has the address", [&] { vms_[0].nics[0].ip = "10.1.0.254"; }}, Case{"a VM has its MAC", [&] { vms_[0].nics[0].mac = "02:00:5f:00:00:01"; }}, Case{"the VM is gone", [&] { vms_.erase(vms_.begin()); }},
                            Case{"the VM has no card there", [&] { vms_[0].nics[0].net = "dmz"; vms_[0].nics[0].ip = "10.2.0.9"; }}, Case{"the net is of no use", [&] { nets_[0].gateway = "x"; }}}) {
        const auto vms = vms_;
        const auto nets = nets_;
        expose();
        bad.spoil();
        apply();
        EXPECT_FALSE(host_.firewall.contains("dnat")) << bad.what;
        EXPECT_FALSE(forwards()) << bad.what;
        vms_ = vms;
        nets_ = nets;
    }
}

// One atomic change has a bound; a switch that has forgotten a large site needs more than one.
TEST_F(PublicTest, AnEmptySwitchIsFilledInSeveralBundles) {
    apply();
    const auto whole = host_.flows;
    host_.flows.clear();
    make(10);
    host_.log.clear();
    apply();
    EXPECT_EQ(host_.flows, whole);
    EXPECT_GE(host_.count(" bundle "), whole.size() / 10);
    host_.log.clear();
    apply();
    EXPECT_EQ(host_.count(" bundle "), 0u);
}

}  // namespace
}  // namespace blanket::net::test
