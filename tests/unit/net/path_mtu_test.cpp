// SPDX-License-Identifier: GPL-2.0-or-later
// The search for a path's MTU: right for every path, bounded for every answer. What is offered to guests: fits every path between two sites that share the network.
#include "net/path_mtu.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "net/model.hpp"

namespace blanket::net::test {
namespace {

TEST(PathMtu, IsFoundOnEveryPath) {
    std::mt19937 random(1);
    const auto up_to = [&](std::uint32_t most) { return std::uniform_int_distribution<std::uint32_t>(0, most)(random); };
    for (int round = 0; round < 20'000; ++round) {
        const std::uint32_t largest = round % 2 == 0 ? 1500 : kSmallestPathMtu + up_to(kLargestPathMtu - kSmallestPathMtu);
        const std::uint32_t carries = round % 3 == 0 ? up_to(kLargestPathMtu) : 1200 + up_to(400);
        const std::uint32_t hint = round % 5 == 0 ? up_to(kLargestPathMtu) : round % 5 == 1 ? carries : round % 5 == 2 ? 0 : kSmallestPathMtu + up_to(300);
        unsigned asked = 0;
        const auto found = largest_passing(largest, hint, [&](std::uint32_t size) {
            EXPECT_TRUE(size >= kSmallestPathMtu && size <= largest) << size;
            ++asked;
            return size <= carries;
        });
        ASSERT_EQ(found, carries < kSmallestPathMtu ? std::nullopt : std::optional(std::min(carries, largest))) << largest << ' ' << carries << ' ' << hint;
        ASSERT_LE(asked, kMostProbes);
        if (hint == carries && found) ASSERT_LE(asked, 4u);
    }
}

TEST(PathMtu, AnswersThatMakeNoSenseEndTheSearchAllTheSame) {
    std::mt19937 random(2);
    for (int round = 0; round < 20'000; ++round) {
        const std::uint32_t largest = std::uniform_int_distribution<std::uint32_t>(0, kLargestPathMtu)(random);
        unsigned asked = 0;
        const auto found = largest_passing(largest, static_cast<std::uint32_t>(random()), [&](std::uint32_t) {
            ++asked;
            return random() % 2 == 0;
        });
        ASSERT_LE(asked, kMostProbes);
        if (found) ASSERT_TRUE(*found >= kSmallestPathMtu && *found <= largest) << *found;
    }
    EXPECT_FALSE(largest_passing(kSmallestPathMtu - 1, 0, [](std::uint32_t) { return true; }));
}

Site mtu_site(const std::string& name, std::map<std::string, std::uint32_t> path_mtu = {}) {
    Site site;
    site.name = name;
    site.path_mtu = std::move(path_mtu);
    return site;
}

VmRecord mtu_vm(const std::string& owner, const std::string& net = "lan") {
    VmRecord vm;
    vm.owner = owner;
    vm.nics = {{net, "", ""}};
    return vm;
}

Net mtu_net() { return {"lan", 1, "10.1.0.0/24", "10.1.0.1", 1390, {}}; }

TEST(OfferedMtu, IsWhatTheNarrowestPathLeaves) {
    const std::vector<Site> sites{mtu_site("east", {{"west", 1460}, {"north", 1500}}), mtu_site("north", {{"west", 1300}}), mtu_site("west", {{"east", 1500}})};
    const auto offered = [&](const std::vector<VmRecord>& vms) { return offered_mtu(mtu_net(), vms, sites); };
    EXPECT_EQ(offered({}).mtu, 1390u);
    EXPECT_EQ(offered({mtu_vm("east"), mtu_vm("east")}).mtu, 1390u);
    EXPECT_EQ(offered({mtu_vm("east"), mtu_vm("north")}).why, "the network's own: its narrowest path, between east and north, carries 1500");
    const auto narrow = offered({mtu_vm("west"), mtu_vm("east")});
    EXPECT_EQ(narrow.mtu, 1350u) << "1460 - 60 - 50";
    EXPECT_EQ(narrow.why, "the path between east and west carries 1460, less 60 of WireGuard and 50 of VXLAN");
    EXPECT_EQ(offered({mtu_vm("west"), mtu_vm("east"), mtu_vm("north", "other")}).mtu, 1350u) << "north has no VM of it";
    Net open = mtu_net();
    open.anchors = {{"north", "10.1.0.254", {{"00000000-0000-4000-8000-000000000001", RuleProto::kTcp, 80, 80}}}};
    EXPECT_EQ(offered_mtu(open, {mtu_vm("west"), mtu_vm("east")}, sites).mtu, 1190u) << "what comes from outside at north goes to both";
    EXPECT_EQ(offered({mtu_vm("west"), mtu_vm("east"), mtu_vm("north")}).mtu, 1190u);
    VmRecord guarded = mtu_vm("east");
    guarded.standby = Standby{"west", 1, ""};
    EXPECT_EQ(offered({guarded}).mtu, 1350u) << "it may start there by itself";
    VmRecord going = mtu_vm("west");
    going.phase = Phase::kDeleting;
    EXPECT_EQ(offered({mtu_vm("east"), going}).mtu, 1390u);
    EXPECT_EQ(offered({mtu_vm("east"), mtu_vm("ghost")}).mtu, 1390u);
    EXPECT_EQ(offered_mtu(mtu_net(), {mtu_vm("east"), mtu_vm("west")}, {mtu_site("east"), mtu_site("west")}).mtu, 1390u) << "not measured yet";
    const auto partly = offered_mtu(mtu_net(), {mtu_vm("east"), mtu_vm("west"), mtu_vm("south")}, {mtu_site("east", {{"west", 1400}}), mtu_site("west"), mtu_site("south")});
    EXPECT_EQ(partly.mtu, 1290u);
    EXPECT_TRUE(partly.why.ends_with("; 2 of its paths not measured yet")) << partly.why;
    // Records that are not from the parser, which bounds them.
    EXPECT_EQ(offered_mtu(mtu_net(), {mtu_vm("east"), mtu_vm("west")}, {mtu_site("east", {{"west", 1}}), mtu_site("west")}).mtu, 1170u);
}

TEST(OfferedMtu, FitsEveryPathThatIsKnownAndNoOtherSiteMatters) {
    std::mt19937 random(4);
    const auto up_to = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random); };
    for (int round = 0; round < 3000; ++round) {
        std::vector<Site> sites;
        for (std::size_t i = 0; i < 6; ++i) {
            sites.push_back(mtu_site(std::format("s{}", i)));
            for (std::size_t j = 0; j < 6; ++j)
                if (up_to(2) != 0) sites.back().path_mtu[std::format("s{}", j)] = kSmallestPathMtu + static_cast<std::uint32_t>(up_to(300));
        }
        std::vector<VmRecord> vms;
        std::set<std::string> in;
        for (std::size_t n = up_to(5); n > 0; --n) {
            vms.push_back(mtu_vm(std::format("s{}", up_to(5)), up_to(1) == 0 ? "lan" : "other"));
            if (vms.back().nics[0].net == "lan") in.insert(vms.back().owner);
        }
        const auto offered = offered_mtu(mtu_net(), vms, sites);
        ASSERT_LE(offered.mtu, 1390u);
        bool bound = offered.mtu == 1390;
        for (const auto& a : sites)
            for (const auto& b : sites) {
                if (a.name == b.name || !in.contains(a.name) || !in.contains(b.name)) continue;
                if (const auto path = path_mtu(a, b)) {
                    ASSERT_LE(offered.mtu + kVxlanOverhead + kWireGuardOverhead, *path) << offered.why;
                    bound = bound || offered.mtu + kVxlanOverhead + kWireGuardOverhead == *path;
                }
                ASSERT_EQ(path_mtu(a, b), path_mtu(b, a));
            }
        ASSERT_TRUE(bound) << "less than any path asks for";
        std::ranges::shuffle(sites, random);
        std::ranges::shuffle(vms, random);
        for (auto& site : sites)  // whatever those say that do not share it
            if (!in.contains(site.name))
                for (auto& [to, mtu] : site.path_mtu) mtu = kSmallestPathMtu;
        ASSERT_EQ(offered_mtu(mtu_net(), vms, sites).mtu, offered.mtu);
    }
}

}  // namespace
}  // namespace blanket::net::test
