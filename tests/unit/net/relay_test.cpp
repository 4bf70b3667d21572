// SPDX-License-Identifier: GPL-2.0-or-later
// Which pairs are relayed, and by whom: the same at every site, members only, only who shares a network, bounded, gone with a revocation. And what hostile records can do: nothing more.
#include "net/relay.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "net/host.hpp"
#include "net/path_mtu.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net::test {
namespace {

Site relay_site(const std::string& name, std::uint32_t index, std::map<std::string, Heard> heard = {}) {
    Site site;
    site.name = name;
    site.index = index;
    site.address = std::format("192.0.2.{}", index);
    site.wireguard_key = base64_encode(std::string(32, static_cast<char>('a' + index)));
    site.heard = std::move(heard);
    return site;
}

VmRecord relay_vm(const std::string& owner, const std::string& net = "lan") {
    VmRecord vm;
    vm.owner = owner;
    vm.phase = Phase::kRunning;
    vm.nics = {{net, "", ""}};
    return vm;
}

// home and west do not hear each other; hub and far hear both.
std::vector<Site> four() {
    return {relay_site("hub", 1, {{"west", {"", 32}}, {"home", {"203.0.113.7:40123", 16}}, {"far", {}}}), relay_site("west", 2, {{"hub", {}}, {"far", {}}}),
            relay_site("far", 3, {{"west", {"", 128}}, {"home", {"203.0.113.7:40124", 128}}, {"hub", {}}}), relay_site("home", 4, {{"hub", {}}, {"far", {}}})};
}

std::vector<std::string> names(const std::vector<Relay>& relays) {
    std::vector<std::string> out;
    for (const auto& relay : relays) out.push_back(relay.site);
    return out;
}

TEST(Relay, TheQuickestThatBothHear) {
    auto sites = four();
    EXPECT_TRUE(are_apart(sites[1], sites[3]));
    EXPECT_FALSE(are_apart(sites[0], sites[3]));
    EXPECT_EQ(names(relays_between(sites[1], sites[3], sites)), (std::vector<std::string>{"hub", "far"}));
    EXPECT_EQ(relays_between(sites[1], sites[3], sites), relays_between(sites[3], sites[1], sites)) << "both ends agree";
    EXPECT_EQ(relays_between(sites[1], sites[3], sites)[0].cost_ms, 48u);
    EXPECT_TRUE(relays_between(sites[0], sites[3], sites).empty()) << "they hear each other";
    sites[0].heard["home"].rtt_ms = 0;  // not measured: counts as slow
    EXPECT_EQ(names(relays_between(sites[1], sites[3], sites)), (std::vector<std::string>{"far", "hub"}));
    sites[2].heard.erase("home");
    EXPECT_EQ(names(relays_between(sites[1], sites[3], sites)), (std::vector<std::string>{"hub"})) << "far does not hear home any more";
    sites[3].heard.erase("hub");
    EXPECT_TRUE(relays_between(sites[1], sites[3], sites).empty()) << "home does not hear hub";
    sites = four();
    sites[3].heard.clear();  // a version that does not tell: it is reached as ever
    EXPECT_FALSE(are_apart(sites[1], sites[3]));
}

TEST(Relay, OnlyForThoseThatShareANetwork) {
    const auto sites = four();
    const auto of = [&](const std::vector<VmRecord>& vms, const std::vector<Net>& nets = {}) { return relays_for(sites[1], sites[3], sites, shares_of(nets, vms)).size(); };
    EXPECT_EQ(of({}), 0u);
    EXPECT_EQ(of({relay_vm("west"), relay_vm("home", "dmz")}), 0u);
    EXPECT_EQ(of({relay_vm("west"), relay_vm("home")}), 2u);
    VmRecord vm = relay_vm("west");
    vm.standby = Standby{"home", 1, ""};
    EXPECT_EQ(of({vm}), 2u);
    vm.standby.reset();
    vm.migration = Migration{"m", "home"};
    EXPECT_EQ(of({vm}), 2u) << "it is about to";
    vm.phase = Phase::kDeleting;
    EXPECT_EQ(of({vm}), 0u);
    Net net{"lan", 1, "10.1.0.0/24", "10.1.0.1", 1390, {}};
    net.anchors = {{"home", "10.1.0.254", {{"u", RuleProto::kTcp, 80, 80}}}};
    EXPECT_EQ(of({relay_vm("west")}, {net}), 2u) << "what comes from outside at home goes to west";
}

TEST(Relay, WhatASitePassesOn) {
    auto sites = four();
    const std::vector<VmRecord> vms{relay_vm("west"), relay_vm("home")};
    EXPECT_EQ(relayed_by("hub", {}, vms, sites), (std::vector<RelayedPair>{{1, 2, 4}}));
    EXPECT_EQ(relayed_by("far", {}, vms, sites), (std::vector<RelayedPair>{{3, 2, 4}}));
    EXPECT_TRUE(relayed_by("west", {}, vms, sites).empty());
    EXPECT_EQ(relayed_to("west", {}, vms, sites), (std::vector<RelayedWay>{{1, 4}, {3, 4}}));
    EXPECT_EQ(relayed_to("home", {}, vms, sites), (std::vector<RelayedWay>{{1, 2}, {3, 2}}));
    EXPECT_TRUE(relayed_to("hub", {}, vms, sites).empty() && relayed_to("ghost", {}, vms, sites).empty() && relayed_to("west", {}, {}, sites).empty());
    EXPECT_TRUE(relayed_by("ghost", {}, vms, sites).empty());
    EXPECT_TRUE(relayed_by("hub", {}, {}, sites).empty()) << "no network is shared";
    for (const std::size_t end : {1u, 3u}) {
        auto cut = sites;
        cut[end].state = kRevoked;
        EXPECT_TRUE(relayed_by("hub", {}, vms, cut).empty()) << cut[end].name;
        EXPECT_TRUE(relays_between(cut[1], cut[3], cut).empty());
    }
    auto cut = sites;
    cut[0].state = kRevoked;
    EXPECT_TRUE(relayed_by("hub", {}, vms, cut).empty());
    EXPECT_EQ(names(relays_between(cut[1], cut[3], cut)), (std::vector<std::string>{"far"}));
    cut = sites;
    cut[0].role = "witness";
    EXPECT_EQ(names(relays_between(cut[1], cut[3], cut)), (std::vector<std::string>{"far"}));
    cut = sites;
    cut[0].index = 4;  // in somebody's place
    EXPECT_TRUE(relayed_by("hub", {}, vms, cut).empty());
    sites[1].heard["home"] = {};  // they hear each other again
    EXPECT_TRUE(relayed_by("hub", {}, vms, sites).empty());
}

TEST(Relay, TheNumberOfPairsIsBounded) {
    std::vector<Site> sites{relay_site("hub", 1)};
    std::vector<VmRecord> vms;
    for (std::uint32_t i = 2; i <= 60; ++i) {
        sites.push_back(relay_site(std::format("s{}", i), i, {{"hub", {}}}));
        sites[0].heard[sites.back().name] = {};
        vms.push_back(relay_vm(sites.back().name));
    }
    const auto pairs = relayed_by("hub", {}, vms, sites);
    EXPECT_EQ(pairs.size(), kMostRelayedPairs);
    EXPECT_EQ(pairs.front(), (RelayedPair{1, 2, 3}));
}

TEST(Relay, EndpointsSayWhichSite) {
    EXPECT_EQ(relay_endpoint(3, 2), "10.213.3.1:61002");
    EXPECT_EQ(relay_of_endpoint("10.213.3.1:61002"), 3u);
    for (const char* other : {"", "10.213.3.1", "10.213.3.1:51820", "10.213.3.1:61000", "10.213.3.1:61255", "10.213.3.2:61002", "10.214.3.1:61002", "10.213.3.1:61002x", "(none)"}) EXPECT_FALSE(relay_of_endpoint(other)) << other;
}

TEST(Relay, ItsTunnelsLeaveLess) {
    auto sites = four();
    EXPECT_EQ(pair_mtu(sites[1], sites[3], sites).mtu, 1440u);
    EXPECT_EQ(pair_mtu(sites[1], sites[3], sites).by, "hub");
    sites[0].path_mtu = {{"home", 1452}, {"west", 1500}};
    EXPECT_EQ(pair_mtu(sites[1], sites[3], sites).mtu, 1392u);
    sites[2].path_mtu = {{"home", 1400}};
    EXPECT_EQ(pair_mtu(sites[1], sites[3], sites).mtu, 1340u) << "they may be at the other one";
    EXPECT_EQ(pair_mtu(sites[1], sites[3], sites).by, "far");
    sites[2].path_mtu.clear();
    sites[3].path_mtu["hub"] = 1;  // not from the parser
    EXPECT_EQ(pair_mtu(sites[1], sites[3], sites).mtu, kSmallestPathMtu - kWireGuardOverhead);
    sites[3].path_mtu.clear();
    EXPECT_FALSE(pair_mtu(sites[0], sites[2], sites).mtu);
    std::vector<std::string> warnings;
    const auto underlay = plan_underlay("west", sites, 1500, warnings);
    const auto home = std::ranges::find(underlay.peers, "home", &Peer::site);
    ASSERT_NE(home, underlay.peers.end());
    EXPECT_EQ(home->mtu, 1332u) << "1452, less two tunnels";
    const Net net{"lan", 1, "10.1.0.0/24", "10.1.0.1", 1390, {}};
    const auto offered = offered_mtu(net, {relay_vm("west"), relay_vm("home")}, sites);
    EXPECT_EQ(offered.mtu, 1282u);
    EXPECT_EQ(offered.why, "the path between home and west by way of hub carries 1392, less 60 of WireGuard and 50 of VXLAN");
}

TEST(Relay, TheRulesAreForThePairsAlone) {
    const std::string none = firewall_rules();
    EXPECT_FALSE(none.contains("dnat"));
    const std::string rules = firewall_rules({}, {}, {{1, 2, 4}});
    for (const char* line : {"iifname \"wg-blanket\" ip saddr 10.213.2.1 ip daddr 10.213.1.1 udp sport 51820 udp dport 61004 dnat ip to 10.213.4.1:51820",
                             "iifname \"wg-blanket\" ip saddr 10.213.4.1 ip daddr 10.213.1.1 udp sport 51820 udp dport 61002 dnat ip to 10.213.2.1:51820",
                             "oifname \"wg-blanket\" ip saddr 10.213.2.1 ip daddr 10.213.4.1 udp dport 51820 ct status dnat snat ip to 10.213.1.1:61002",
                             "oifname \"wg-blanket\" ip saddr 10.213.4.1 ip daddr 10.213.2.1 udp dport 51820 ct status dnat snat ip to 10.213.1.1:61004",
                             "iifname \"wg-blanket\" oifname \"wg-blanket\" ip saddr 10.213.2.1 ip daddr 10.213.4.1 udp sport 51820 udp dport 51820 ct status dnat accept"})
        EXPECT_TRUE(rules.contains(line)) << rules;
    EXPECT_TRUE(rules.contains("        drop\n    }\n    chain public_in")) << "nothing else is forwarded";
    const std::string closed = "        iifname \"wg-blanket\" udp dport { 51820, 61001-61254 } drop\n";
    EXPECT_TRUE(none.contains(closed) && rules.contains(closed));
    EXPECT_TRUE(firewall_rules({}, {}, {}, {{1, 4}, {3, 4}}).contains("        iifname \"wg-blanket\" udp dport 51820 ip saddr . udp sport { 10.213.1.1 . 61004, 10.213.3.1 . 61004 } accept\n" + closed));
}

TEST(Relay, NothingIsSentIntoItsOwnTunnel) {
    auto sites = four();
    sites[0].address = "10.213.1.1";
    std::vector<std::string> warnings;
    const auto underlay = plan_underlay("west", sites, 1500, warnings);
    EXPECT_EQ(underlay.peers.size(), 2u);
    EXPECT_FALSE(std::ranges::contains(underlay.peers, "hub", &Peer::site));
    EXPECT_EQ(warnings, std::vector<std::string>{"no tunnel to site 'hub': its address 10.213.1.1 is one inside of the tunnels"});
}

// Whatever the records are: what two sites think of their relays agrees with what those pass on.
TEST(Relay, EndsAndRelaysAgree) {
    std::mt19937 random(7);
    const auto up_to = [&](std::uint32_t most) { return std::uniform_int_distribution<std::uint32_t>(0, most)(random); };
    unsigned relayed = 0;
    for (int round = 0; round < 2000; ++round) {
        std::vector<Site> sites;
        for (std::uint32_t i = 1; i <= 6; ++i) {
            sites.push_back(relay_site(std::format("s{}", i), up_to(15) == 0 ? 1 + up_to(5) : i));
            if (up_to(12) == 0) sites.back().state = kRevoked;
            if (up_to(12) == 0) sites.back().role = "witness";
            for (std::uint32_t j = 1; j <= 6; ++j)
                if (i != j && up_to(1) == 0) sites.back().heard[std::format("s{}", j)] = {"", up_to(300)};
        }
        std::vector<VmRecord> vms;
        for (std::uint32_t n = up_to(8); n > 0; --n) vms.push_back(relay_vm(std::format("s{}", 1 + up_to(5)), up_to(1) == 0 ? "lan" : "dmz"));
        const Shares shares = shares_of({}, vms);
        std::set<RelayedPair> wanted, passed, taken;
        for (const auto& a : sites) {
            for (const auto& pair : relayed_by(a.name, {}, vms, sites)) passed.insert(pair);
            for (const auto& way : relayed_to(a.name, {}, vms, sites)) taken.insert({way.relay, std::min(a.index, way.other), std::max(a.index, way.other)});
            for (const auto& b : sites) {
                const auto relays = relays_for(a, b, sites, shares);
                ASSERT_EQ(relays, relays_for(b, a, sites, shares));
                ASSERT_LE(relays.size(), kRelaysOfAPair);
                for (const auto& relay : relays) {
                    ASSERT_TRUE(share_a_network(a.name, b.name, shares));
                    ASSERT_TRUE(a.state != kRevoked && b.state != kRevoked && a.role != "witness" && b.role != "witness");
                    wanted.insert({relay.index, std::min(a.index, b.index), std::max(a.index, b.index)});
                }
            }
        }
        ASSERT_EQ(wanted, passed);
        ASSERT_EQ(wanted, taken);
        relayed += passed.empty() ? 0 : 1;
    }
    EXPECT_GT(relayed, 50u);
}

}  // namespace
}  // namespace blanket::net::test
