// SPDX-License-Identifier: GPL-2.0-or-later
// Random federations in the middle of random moves: every site has its own, possibly stale, view. Frames are walked from site to site through the
// planned flows. What must hold is listed at each test.
#include <gtest/gtest.h>
#include <random>

#include "interpreter.hpp"
#include "net/anchors.hpp"
#include "net/model.hpp"

namespace blanket::net::test {
namespace {

constexpr std::uint32_t kTunnel = 1;
constexpr unsigned kSites = 3, kNets = 2, kVmsPerNet = 4;

enum class Stage { kSettled, kMigrating, kLeaving, kSuspended, kCommitted };

struct Vm {
    VmRecord before, after;  // the record before and after the commit
    unsigned net = 0, source = 0, target = 0;
    Stage stage = Stage::kSettled;
    Mac mac = 0;
    std::uint32_t ip = 0;
    bool held = false;                 // its target keeps frames for it
    std::array<bool, kSites> knows{};  // kCommitted: this site has the new record
    [[nodiscard]] unsigned place() const { return stage == Stage::kCommitted ? target : source; }
    [[nodiscard]] bool runs() const { return stage != Stage::kSuspended; }
    [[nodiscard]] bool hears() const { return runs() && stage != Stage::kLeaving; }
};

std::string site_name(unsigned index) { return std::string(1, static_cast<char>('a' + index)); }
std::uint32_t address(unsigned site) { return 10u << 24 | 213u << 16 | (site + 1) << 8 | 1u; }
std::uint32_t vni(unsigned net) { return 101 + net; }
std::uint32_t vif(unsigned vm) { return 100 + vm; }
std::uint32_t hold(unsigned vm) { return 200 + vm; }
unsigned vm_of(std::uint32_t port) { return port % 100; }
std::uint32_t gateway_port(unsigned net) { return 10 + net; }
constexpr std::uint32_t kGatewayIp = 10u << 24 | 1u << 16 | 1u;

struct Federation {
    std::vector<Vm> vms;
    std::array<std::vector<Flow>, kSites> flows;

    explicit Federation(std::mt19937& random, bool settled = false, bool forgetful = false, std::optional<unsigned> anchor = {}) : forgetful_(forgetful), anchor_(anchor) {
        const auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
        for (unsigned i = 0; i < kNets * kVmsPerNet; ++i) {
            Vm vm;
            vm.net = i / kVmsPerNet;
            const unsigned n = i % kVmsPerNet;  // the same addresses in both nets
            vm.mac = 0x0200'0000'0010 + n;
            vm.ip = gateway_ip(vm.net) + 1 + n;
            vm.source = pick(kSites);
            vm.target = (vm.source + 1 + pick(kSites - 1)) % kSites;
            vm.stage = settled ? Stage::kSettled : static_cast<Stage>(pick(5));
            auto& r = vm.before;
            r.uuid = std::format("00000000-0000-4000-8000-{:012x}", i + 1);
            r.name = std::format("vm{}", i);
            r.owner = site_name(vm.source);
            r.epoch = 5;
            r.phase = Phase::kRunning;
            r.nics = {{std::format("net{}", vm.net), format_mac(vm.mac), format_ipv4(vm.ip)}};
            if (vm.stage != Stage::kSettled) {
                r.phase = Phase::kMigrating;
                r.migration = Migration{"m", site_name(vm.target)};
            }
            vm.after = r;
            vm.after.owner = site_name(vm.target);
            vm.after.epoch = 6;
            vm.after.phase = Phase::kRunning;
            vm.after.migration.reset();
            vm.held = vm.stage != Stage::kSettled && pick(2) == 0;
            for (unsigned s = 0; s < kSites; ++s) vm.knows[s] = s == vm.target || pick(2) == 0;
            vms.push_back(vm);
        }
        for (unsigned s = 0; s < kSites; ++s) flows[s] = plan(s);
    }

    std::uint32_t gateway_ip(unsigned net) const { return kGatewayIp + (anchor_ ? net << 16 : 0); }
    bool forgetful_;  // agents restarted: no hand-over is remembered
    std::optional<unsigned> anchor_;  // the nets have addresses of their own, and port 80 of each VM is public at that site

    std::vector<Flow> plan(unsigned site) const {
        World world{.site = site_name(site), .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}};
        for (unsigned n = 0; n < kNets; ++n) {
            const std::uint32_t gateway = gateway_ip(n);
            world.nets.push_back({std::format("net{}", n), vni(n), format_ipv4(gateway - 1) + "/24", format_ipv4(gateway), 1390});
            if (anchor_) {
                Anchor anchor{site_name(*anchor_), format_ipv4(gateway + 253), {}};
                for (unsigned i = 0; i < vms.size(); ++i)
                    if (vms[i].net == n) anchor.ports.push_back({vms[i].before.uuid, RuleProto::kTcp, static_cast<std::uint16_t>(8000 + i), 80});
                world.nets.back().anchors = {anchor};
            }
            world.ports.gateways[vni(n)] = gateway_port(n);
        }
        for (unsigned s = 0; s < kSites; ++s) {
            Site other;
            other.name = site_name(s);
            other.index = s + 1;
            world.sites.push_back(other);
        }
        world.ports.tunnel = kTunnel;
        for (unsigned i = 0; i < vms.size(); ++i) {
            const Vm& vm = vms[i];
            const bool fresh = vm.stage == Stage::kCommitted && vm.knows[site];
            world.vms.push_back(fresh ? vm.after : vm.before);
            if (site == vm.source || (site == vm.target && vm.stage >= Stage::kSuspended)) world.ports.vms.push_back({vm.before.uuid, vm.mac, vif(i), {}});
            if (site == vm.target && vm.held) world.ports.holds.push_back({vm.before.uuid, vm.mac, hold(i), {}});
            if (site == vm.target && vm.held && vm.stage == Stage::kSuspended && i % 2 == 0) world.armed.insert(vm.before.uuid);
            if (forgetful_) continue;
            if (site == vm.source && vm.stage >= Stage::kLeaving)
                world.handovers.push_back({vm.before.uuid, site_name(vm.target), vm.stage == Stage::kLeaving ? Handover::Way::kLeaving : Handover::Way::kOut});
            if (site == vm.target && vm.stage == Stage::kCommitted) world.handovers.push_back({vm.before.uuid, site_name(vm.source), Handover::Way::kIn});
        }
        std::vector<std::string> warnings;
        auto out = plan_flows(world, warnings);
        EXPECT_TRUE(warnings.empty()) << warnings.front();
        return out;
    }

    struct Delivery {
        unsigned site;
        std::uint32_t port;
        Frame frame;
    };
    struct Journey {
        std::vector<Delivery> delivered;
        std::vector<Frame> on_wan;
        unsigned longest = 0;  // sites passed
    };

    void send(unsigned site, std::uint32_t port, const Frame& frame, Journey& journey, unsigned depth = 1) const {
        journey.longest = std::max(journey.longest, depth);
        if (depth > 8) return;  // a loop: `longest` tells
        for (const auto& sent : walk(flows[site], frame, port)) {
            if (sent.port != kTunnel) {
                journey.delivered.push_back({site, sent.port, sent.frame});
                continue;
            }
            journey.on_wan.push_back(sent.frame);
            for (unsigned other = 0; other < kSites; ++other) {
                if (address(other) != sent.tun_dst) continue;
                Frame next = sent.frame;
                next.tun_id = sent.tun_id;
                next.tun_src = address(site);
                send(other, kTunnel, next, journey, depth + 1);
            }
        }
    }
};

Frame between(const Vm& from, const Vm& to) { return {.eth_src = from.mac, .eth_dst = to.mac, .ip_src = from.ip, .ip_dst = to.ip}; }

template <typename Check>
void for_many(unsigned rounds, Check check, bool forgetful = false) {
    for (unsigned seed = 1; seed <= rounds; ++seed) {
        std::mt19937 random(seed);
        const Federation federation(random, false, forgetful);
        SCOPED_TRACE(std::format("seed {}", seed));
        check(federation, random);
        if (::testing::Test::HasFailure()) return;
    }
}

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

// From outside to a public port, whatever stage the VM's move is in, and back: to the anchor's host and nobody else; no other port, no other net.
TEST(Property, PublicPortsFollowTheirVmsAndOpenNothingElse) {
    unsigned delivered = 0, answered = 0;
    for (unsigned seed = 1; seed <= 300; ++seed) {
        std::mt19937 random(seed);
        const unsigned anchor = seed % kSites;
        const Federation federation(random, false, false, anchor);
        SCOPED_TRACE(std::format("seed {}", seed));
        for (unsigned i = 0; i < federation.vms.size(); ++i) {
            const Vm& vm = federation.vms[i];
            const std::uint32_t outside = federation.gateway_ip(vm.net) + 253;
            const Mac mac = anchor_mac(anchor + 1);
            const auto in = [&](std::uint16_t to, unsigned site, std::uint32_t port, Mac eth_src) {
                Federation::Journey journey;
                federation.send(site, port, {.eth_src = eth_src, .eth_dst = vm.mac, .ip_src = outside, .ip_dst = vm.ip, .ip_proto = 6, .l4_src = 5000, .l4_dst = to, .syn = true}, journey);
                return journey;
            };
            const auto there = in(80, anchor, gateway_port(vm.net), gateway_mac(vni(vm.net)));
            ASSERT_LE(there.longest, 3u);
            ASSERT_EQ(there.delivered.size(), vm.hears() || vm.held ? 1u : 0u);
            for (const auto& delivery : there.delivered) {
                ASSERT_EQ(vm_of(delivery.port), i);
                ASSERT_EQ(delivery.site, vm.hears() ? vm.place() : vm.target);
                ASSERT_EQ(delivery.frame.eth_src, mac);
                ++delivered;
            }
            ASSERT_TRUE(in(81, anchor, gateway_port(vm.net), gateway_mac(vni(vm.net))).delivered.empty()) << "not public";
            ASSERT_TRUE(in(80, (anchor + 1) % kSites, gateway_port(vm.net), gateway_mac(vni(vm.net))).delivered.empty()) << "not the anchor's host";
            ASSERT_TRUE(in(80, anchor, gateway_port(1 - vm.net), gateway_mac(vni(1 - vm.net))).delivered.empty()) << "another net's gateway port";
            for (unsigned other = 0; other < federation.vms.size(); ++other)  // a VM that plays the anchor
                ASSERT_TRUE(in(80, federation.vms[other].place(), vif(other), mac).delivered.empty());
            for (unsigned site = 0; site < kSites; ++site) {  // a site that does, unless it is the one that hands this VM over
                if (site == anchor || site == vm.place() || (vm.stage != Stage::kSettled && site == vm.source)) continue;
                Federation::Journey forged;
                federation.send(vm.place(), kTunnel, {.eth_src = mac, .eth_dst = vm.mac, .ip_src = outside, .ip_dst = vm.ip, .ip_proto = 6, .l4_dst = 80, .tun_id = vni(vm.net), .tun_src = address(site)}, forged);
                ASSERT_TRUE(vm.place() == anchor || vm.stage != Stage::kSettled || forged.delivered.empty());
            }
            if (!vm.runs()) continue;
            const auto back = [&](std::uint16_t from, std::uint32_t to_ip) {
                Federation::Journey journey;
                federation.send(vm.place(), vif(i), {.eth_src = vm.mac, .eth_dst = mac, .ip_src = vm.ip, .ip_dst = to_ip, .ip_proto = 6, .l4_src = from, .l4_dst = 5000, .ack = true}, journey);
                return journey;
            };
            const bool heard = vm.stage != Stage::kCommitted || vm.knows[anchor] || vm.source == anchor;
            const auto answer = back(80, outside);
            ASSERT_EQ(answer.delivered.size(), heard ? 1u : 0u);
            for (const auto& delivery : answer.delivered) {
                ASSERT_EQ(delivery.site, anchor);
                ASSERT_EQ(delivery.port, gateway_port(vm.net));
                ASSERT_EQ(delivery.frame.eth_dst, gateway_mac(vni(vm.net)));
                ++answered;
            }
            ASSERT_TRUE(back(81, outside).delivered.empty());
            ASSERT_TRUE(back(80, 0xcb00'7109).delivered.empty()) << "the way out into the world";
            ASSERT_TRUE(back(80, 0xa9fe'a9fe).delivered.empty()) << "providers' metadata";
        }
    }
    EXPECT_GT(delivered, 1000u);
    EXPECT_GT(answered, 500u);
}

// What a site keeps grows with the networks that it has a part in, not with the federation.
TEST(Property, ASiteKeepsNothingOfNetworksThatItHasNoPartIn) {
    const auto flows_at_a = [](unsigned nets, unsigned vms) {
        World world{.site = "a", .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}};
        for (unsigned s = 0; s < kSites; ++s) {
            Site site;
            site.name = site_name(s);
            site.index = s + 1;
            world.sites.push_back(site);
        }
        world.ports.tunnel = kTunnel;
        for (unsigned n = 0; n < nets; ++n) {
            world.nets.push_back({std::format("net{}", n), n + 1, "10.1.0.0/24", "10.1.0.1", 1390});
            for (unsigned v = 0; v < vms; ++v) {
                VmRecord vm;
                vm.uuid = std::format("00000000-0000-4000-8000-{:06x}{:06x}", n, v);
                vm.name = std::format("vm{}-{}", n, v);
                vm.owner = n == 0 && v == 0 ? "a" : "b";
                vm.phase = Phase::kRunning;
                vm.nics = {{std::format("net{}", n), format_mac(0x0200'0000'0010 + v), format_ipv4(kGatewayIp + 1 + v)}};
                world.vms.push_back(vm);
            }
        }
        std::vector<std::string> warnings;
        return plan_flows(world, warnings).size();
    };
    EXPECT_EQ(flows_at_a(10, 4), flows_at_a(1, 4));
    EXPECT_EQ(flows_at_a(100, 40), flows_at_a(1, 40));
    EXPECT_GT(flows_at_a(1, 40), flows_at_a(1, 4)) << "those of its own network it must know";
}

// A hostile site may speak only for VMs that its victim's records give to it, or that are being handed over between the two.
TEST(Property, TunnelIngressHearsOnlyTheOwner) {
    for_many(300, [](const Federation& federation, std::mt19937& random) {
        for (unsigned tries = 0; tries < 60; ++tries) {
            const auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
            const unsigned site = pick(kSites), attacker = (site + 1 + pick(kSites - 1)) % kSites;
            const Vm& as = federation.vms[random() % federation.vms.size()];
            const Vm& to = federation.vms[random() % federation.vms.size()];
            Frame frame = between(as, to);
            if (random() % 4 == 0) frame.ip_src ^= 1;
            if (random() % 8 == 0) frame.eth_src = gateway_mac(vni(to.net));
            frame.tun_id = vni(to.net);
            frame.tun_src = address(attacker);
            const Vm* claimed = nullptr;
            for (const auto& vm : federation.vms)
                if (vm.net == to.net && vm.mac == frame.eth_src && vm.ip == frame.ip_src) claimed = &vm;
            const auto owner = [&](const Vm& vm) { return vm.stage == Stage::kCommitted && vm.knows[site] ? vm.target : vm.source; };
            const bool owned = claimed != nullptr && owner(*claimed) == attacker;
            const bool handed = claimed != nullptr && claimed->stage >= Stage::kLeaving && claimed->source == site && claimed->target == attacker;
            const bool relayed = to.stage != Stage::kSettled && to.target == site && to.source == attacker && frame.eth_src != gateway_mac(vni(to.net));
            const bool anything = !walk(federation.flows[site], frame, kTunnel).empty();
            if (!owned && !handed && !relayed) ASSERT_FALSE(anything);
        }
    });
}

// ARP is answered here and correctly, DHCP goes to the gateway port of this host and net, the host is reached by echo and answers only.
TEST(Property, ServicesAreLocal) {
    for_many(100, [](const Federation& federation, std::mt19937& random) {
        for (unsigned i = 0; i < federation.vms.size(); ++i) {
            const Vm& from = federation.vms[i];
            if (!from.runs()) continue;
            const auto run = [&](const Frame& frame) {
                Federation::Journey journey;
                federation.send(from.place(), vif(i), frame, journey);
                EXPECT_TRUE(journey.on_wan.empty());
                return journey.delivered;
            };
            const Vm& other = federation.vms[from.net * kVmsPerNet + random() % kVmsPerNet];
            const bool ask_gateway = other.mac == from.mac;
            const std::uint32_t wanted = ask_gateway ? kGatewayIp : other.ip;
            const auto answer = run({.eth_src = from.mac, .eth_dst = kBroadcastMac, .ether_type = 0x0806, .arp_spa = from.ip, .arp_tpa = wanted, .arp_sha = from.mac});
            ASSERT_EQ(answer.size(), 1u);
            EXPECT_EQ(answer[0].port, vif(i));
            EXPECT_EQ(answer[0].frame.arp_sha, ask_gateway ? gateway_mac(vni(from.net)) : other.mac);
            EXPECT_EQ(answer[0].frame.arp_spa, wanted);
            EXPECT_EQ(answer[0].frame.eth_dst, from.mac);

            Frame dhcp{.eth_src = from.mac, .eth_dst = kBroadcastMac, .ip_src = 0, .ip_dst = 0xffff'ffff, .l4_src = 68, .l4_dst = 67};
            auto out = run(dhcp);
            ASSERT_EQ(out.size(), 1u);
            EXPECT_EQ(out[0].port, gateway_port(from.net));
            dhcp.ip_src = from.ip;
            dhcp.ip_dst = kGatewayIp;
            dhcp.eth_dst = gateway_mac(vni(from.net));
            EXPECT_EQ(run(dhcp).size(), 1u);
            dhcp.eth_dst = other.mac;  // another VM as DHCP server: neither asked nor answering
            dhcp.ip_dst = other.ip;
            EXPECT_TRUE(run(dhcp).empty());
            dhcp.l4_src = 67;
            dhcp.l4_dst = 68;
            EXPECT_TRUE(run(dhcp).empty());

            Frame host{.eth_src = from.mac, .eth_dst = gateway_mac(vni(from.net)), .ip_src = from.ip, .ip_dst = kGatewayIp, .ip_proto = 1, .icmp_type = 8};
            EXPECT_EQ(run(host).size(), 1u);
            host.icmp_type = 5;
            EXPECT_TRUE(run(host).empty());
            host.ip_proto = 6;
            host.syn = true;
            EXPECT_TRUE(run(host).empty()) << "a VM opened a connection to the host";
            host.ack = true;
            EXPECT_EQ(run(host).size(), 1u);
            host.ip_dst = 10u << 24 | 213u << 16 | 0x101;  // another address of the host behind the gateway's MAC
            EXPECT_TRUE(run(host).empty());
            host.ip_proto = 17;
            host.ip_dst = kGatewayIp;
            EXPECT_TRUE(run(host).empty());
            Frame metadata = between(from, other);
            metadata.ip_dst = 169u << 24 | 254u << 16 | 169u << 8 | 254u;
            EXPECT_TRUE(run(metadata).empty());

            // The host towards the VM: by its gateway address only, and only where the VM is.
            Frame down{.eth_src = gateway_mac(vni(from.net)), .eth_dst = from.mac, .ip_src = kGatewayIp, .ip_dst = from.ip, .ip_proto = 6, .syn = true};
            Federation::Journey journey;
            federation.send(from.place(), gateway_port(from.net), down, journey);
            ASSERT_EQ(journey.delivered.size(), 1u);
            EXPECT_EQ(journey.delivered[0].port, vif(i));
            journey = {};
            federation.send((from.place() + 1) % kSites, gateway_port(from.net), down, journey);
            EXPECT_TRUE(journey.on_wan.empty());
            if (from.stage == Stage::kSettled) EXPECT_TRUE(journey.delivered.empty());
            down.ip_src ^= 3;
            journey = {};
            federation.send(from.place(), gateway_port(from.net), down, journey);
            EXPECT_TRUE(journey.delivered.empty());
        }
    });
}

// Whatever a VM sends: it comes out at VMs of its own net, or at its host's gateway port, addressed to the gateway itself. So nothing of it is ever
// routed on, and no provider's metadata service hears it, under any of its addresses.
TEST(Property, NoVmReachesAProvidersMetadata) {
    const std::vector<std::uint32_t> metadata{169u << 24 | 254u << 16 | 169u << 8 | 254u, 169u << 24 | 254u << 16 | 170u << 8 | 2u, 168u << 24 | 63u << 16 | 129u << 8 | 16u,
                                              100u << 24 | 100u << 16 | 100u << 8 | 200u};
    for_many(100, [&](const Federation& federation, std::mt19937& random) {
        for (unsigned i = 0; i < federation.vms.size(); ++i) {
            const Vm& from = federation.vms[i];
            std::vector<Mac> next_hops{gateway_mac(vni(from.net)), gateway_mac(vni(1 - from.net)), kBroadcastMac, 0x0200'0000'9999};
            for (const auto& vm : federation.vms) next_hops.push_back(vm.mac);
            for (const Mac hop : next_hops)
                for (const std::uint8_t protocol : {std::uint8_t{1}, std::uint8_t{6}, std::uint8_t{17}}) {
                    Frame frame{.eth_src = from.mac, .eth_dst = hop, .ip_src = from.ip, .ip_proto = protocol, .icmp_type = 8};
                    frame.syn = random() % 2 == 0;
                    frame.ack = random() % 2 == 0;
                    if (random() % 4 == 0) frame.l4_src = 68, frame.l4_dst = 67;
                    for (const std::uint32_t address_of_metadata : metadata) {
                        frame.ip_dst = address_of_metadata;
                        Federation::Journey journey;
                        federation.send(from.place(), vif(i), frame, journey);
                        ASSERT_TRUE(journey.delivered.empty() && journey.on_wan.empty()) << format_ipv4(address_of_metadata);
                    }
                    Frame v6 = frame;  // fd00:ec2::254
                    v6.ether_type = 0x86dd;
                    Federation::Journey six;
                    federation.send(from.place(), vif(i), v6, six);
                    ASSERT_TRUE(six.delivered.empty() && six.on_wan.empty());
                    frame.ip_dst = random() % 3 == 0 ? kGatewayIp : static_cast<std::uint32_t>(random());
                    Federation::Journey anywhere;
                    federation.send(from.place(), vif(i), frame, anywhere);
                    for (const auto& delivery : anywhere.delivered) {
                        if (delivery.port < vif(0)) ASSERT_TRUE(delivery.port == gateway_port(from.net) && (delivery.frame.ip_dst == kGatewayIp || delivery.frame.ip_dst == 0xffff'ffff));
                        else ASSERT_EQ(federation.vms[vm_of(delivery.port)].net, from.net);
                    }
                }
        }
    });
}

}  // namespace
}  // namespace blanket::net::test
