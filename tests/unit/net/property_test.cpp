// SPDX-License-Identifier: GPL-2.0-or-later
// What holds in random federations (random_federation.hpp): who hears which frame. At each test.
#include "random_federation.hpp"

namespace blanket::net::test {
namespace {

TEST(Property, SettledFederationDeliversEachFrameOnceAndDirectly) {
    for (unsigned seed = 1; seed <= 50; ++seed) {
        std::mt19937 random(seed);
        const Federation federation(random, true);
        for (unsigned i = 0; i < federation.vms.size(); ++i)
            for (unsigned j = 0; j < federation.vms.size(); ++j) {
                const Vm &from = federation.vms[i], &to = federation.vms[j];
                if (i == j || from.net != to.net) continue;
                Federation::Journey journey;
                federation.send(from.source, vif(i), between(from, to), journey);
                ASSERT_EQ(journey.delivered.size(), 1u);
                EXPECT_EQ(journey.delivered[0].site, to.source);
                EXPECT_EQ(journey.delivered[0].port, vif(j));
                EXPECT_EQ(journey.longest, from.source == to.source ? 1u : 2u);
            }
    }
}

// Isolation between nets with equal addresses, no loop and no copy, whatever the views; a settled VM reaches one that has just moved, whoever knows it.
TEST(Property, MovesNeverLoopNorCrossTenantsAndLateFramesArrive) {
    for_many(400, [](const Federation& federation, std::mt19937&) {
        for (unsigned i = 0; i < federation.vms.size(); ++i)
            for (unsigned j = 0; j < federation.vms.size(); ++j) {
                const Vm &from = federation.vms[i], &to = federation.vms[j];
                if (i == j || !from.runs()) continue;
                Federation::Journey journey;
                federation.send(from.place(), vif(i), between(from, to), journey);
                ASSERT_LE(journey.longest, 3u) << "loop";
                ASSERT_LE(journey.delivered.size(), 1u) << "copies";
                for (const auto& delivery : journey.delivered) {
                    ASSERT_EQ(federation.vms[vm_of(delivery.port)].net, from.net) << "crossed tenants";
                    ASSERT_EQ(federation.vms[vm_of(delivery.port)].mac, to.mac);
                }
                if (from.net != to.net || from.stage == Stage::kCommitted) continue;
                if (to.hears()) {
                    ASSERT_EQ(journey.delivered.size(), 1u) << to.before.name << " unreachable";
                    ASSERT_EQ(journey.delivered[0].site, to.place());
                } else {
                    ASSERT_EQ(journey.delivered.size(), to.held ? 1u : 0u);
                }
                for (const auto& delivery : journey.delivered)
                    ASSERT_EQ(delivery.port, to.held && delivery.site == to.target ? hold(j) : vif(j));
            }
    });
}

// What comes out of a hold reaches its own VM at its own site, once that site owns it, and nobody else ever.
TEST(Property, HeldFramesReachOnlyTheirVm) {
    for_many(100, [](const Federation& federation, std::mt19937&) {
        for (unsigned i = 0; i < federation.vms.size(); ++i)
            for (unsigned j = 0; j < federation.vms.size(); ++j) {
                const Vm &from = federation.vms[j], &to = federation.vms[i];
                if (!to.held || i == j) continue;
                Federation::Journey journey;
                federation.send(to.target, hold(i), between(from, to), journey);
                if (to.stage != Stage::kCommitted && !(to.stage == Stage::kSuspended && i % 2 == 0)) {
                    ASSERT_TRUE(journey.delivered.empty());
                } else {
                    ASSERT_EQ(journey.delivered.size(), 1u);
                    ASSERT_EQ(journey.delivered[0].port, vif(i));
                }
                Federation::Journey stray;
                if (from.mac != to.mac) federation.send(to.target, hold(i), between(to, from), stray);
                ASSERT_TRUE(stray.delivered.empty() && stray.on_wan.empty() && journey.on_wan.empty());
            }
    });
}

// A VM that has moved is heard from its new place by everyone who knows the commit, and by its old place from the redirect on; by nobody else.
TEST(Property, MovedVmIsHeardWhereTheCommitIsKnown) {
    for_many(300, [](const Federation& federation, std::mt19937&) {
        for (unsigned i = 0; i < federation.vms.size(); ++i)
            for (unsigned j = 0; j < federation.vms.size(); ++j) {
                const Vm &from = federation.vms[i], &to = federation.vms[j];
                if (i == j || from.net != to.net || from.stage != Stage::kCommitted || to.stage != Stage::kSettled) continue;
                Federation::Journey journey;
                federation.send(from.target, vif(i), between(from, to), journey);
                const bool heard = from.knows[to.source] || to.source == from.source;
                ASSERT_EQ(journey.delivered.size(), heard ? 1u : 0u);
            }
    });
}

// The copy that was left behind is heard by nobody from the redirect on; and if its site forgot the redirect, by no other site that knows the commit.
TEST(Property, StaleOwnerIsUnheard) {
    const auto check = [](const Federation& federation, std::mt19937&) {
        for (unsigned i = 0; i < federation.vms.size(); ++i)
            for (unsigned j = 0; j < federation.vms.size(); ++j) {
                const Vm &from = federation.vms[i], &to = federation.vms[j];
                if (i == j || from.net != to.net || from.stage != Stage::kCommitted) continue;
                Federation::Journey journey;
                federation.send(from.source, vif(i), between(from, to), journey);
                if (!federation.forgetful_ || from.knows[from.source]) ASSERT_TRUE(journey.delivered.empty() && journey.on_wan.empty());
                for (const auto& delivery : journey.delivered) ASSERT_TRUE(delivery.site == from.source || !from.knows[delivery.site]);
            }
    };
    for_many(300, check);
    for_many(300, check, true);
}

// A port may use its own two addresses and nothing else; unknown, broadcast and IPv6 frames go nowhere.
TEST(Property, SpoofedAndUnknownFramesAreDropped) {
    for_many(100, [](const Federation& federation, std::mt19937& random) {
        for (unsigned i = 0; i < federation.vms.size(); ++i) {
            const Vm& from = federation.vms[i];
            const Vm& to = federation.vms[random() % federation.vms.size()];
            std::vector<Frame> bad;
            bad.push_back(between(from, to));
            bad.back().eth_src = 0x0200'0000'0010 + random() % 6;
            bad.back().ip_src = kGatewayIp + static_cast<std::uint32_t>(random() % 6);
            if (bad.back().eth_src == from.mac && bad.back().ip_src == from.ip) bad.back().ip_src ^= 0x100;
            bad.push_back(between(from, to));
            bad.back().eth_src = gateway_mac(vni(from.net));
            bad.back().ip_src = kGatewayIp;
            bad.push_back(between(from, to));
            bad.back().eth_dst = 0x0200'0000'9999;
            bad.push_back(between(from, to));
            bad.back().eth_dst = kBroadcastMac;
            bad.push_back(between(from, to));
            bad.back().eth_dst = 0x0100'5e00'0001;
            bad.push_back(between(from, to));
            bad.back().ether_type = 0x86dd;
            bad.push_back({.eth_src = from.mac, .eth_dst = kBroadcastMac, .ether_type = 0x0806, .arp_spa = to.ip ^ 0x40, .arp_tpa = to.ip, .arp_sha = from.mac});
            bad.push_back({.eth_src = from.mac, .eth_dst = kBroadcastMac, .ether_type = 0x0806, .arp_spa = from.ip, .arp_tpa = from.ip, .arp_sha = from.mac});
            bad.push_back({.eth_src = from.mac, .eth_dst = to.mac, .ether_type = 0x0806, .arp_op = 2, .arp_spa = from.ip, .arp_tpa = to.ip, .arp_sha = from.mac});
            for (std::size_t k = 0; k < bad.size(); ++k) {
                Federation::Journey journey;
                federation.send(from.place(), vif(i), bad[k], journey);
                ASSERT_TRUE(journey.delivered.empty() && journey.on_wan.empty()) << "frame " << k << " of " << from.before.name;
            }
        }
    });
}

}  // namespace
}  // namespace blanket::net::test
