// SPDX-License-Identifier: GPL-2.0-or-later
// What holds in random federations (random_federation.hpp): what a VM, a tenant or a site cannot reach. At each test.
#include "random_federation.hpp"

namespace blanket::net::test {
namespace {

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
        world.sites = all_sites();
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
