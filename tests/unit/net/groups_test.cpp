// SPDX-License-Identifier: GPL-2.0-or-later
// Security groups: over random tenants with equal MACs and addresses, a packet passes exactly when the rules say so. What the rules say is computed here from
// the records alone, as their header (core/security_groups.hpp) puts it, without registers, masks or tables.
#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <random>

#include "net/groups.hpp"
#include "net/walk.hpp"

namespace blanket::net::test {
namespace {

constexpr unsigned kPlaces = 2, kTenants = 2, kEach = 5;
constexpr std::uint32_t kWan = 1, kLan = 10u << 24 | 7u << 16;

struct Card {
    VmRecord record;
    unsigned tenant = 0, place = 0;
    Mac mac = 0;
    std::uint32_t ip = 0, port = 0;
};

unsigned draw(std::mt19937& random, std::size_t n) { return static_cast<unsigned>(random() % n); }
std::string place_name(unsigned place) { return std::string("site-") + static_cast<char>('a' + place); }

SecurityRule random_rule(std::mt19937& random, const std::vector<std::string>& groups) {
    SecurityRule rule;
    rule.ingress = draw(random, 2) == 0;
    rule.proto = std::vector{RuleProto::kAny, RuleProto::kTcp, RuleProto::kUdp, RuleProto::kIcmp}[draw(random, 4)];
    if ((rule.proto == RuleProto::kTcp || rule.proto == RuleProto::kUdp) && draw(random, 2) == 0) {
        rule.first_port = static_cast<std::uint16_t>(1 + draw(random, 65535));
        rule.last_port = static_cast<std::uint16_t>(rule.first_port + draw(random, static_cast<std::size_t>(65536 - rule.first_port)));
    }
    rule.established = rule.proto == RuleProto::kTcp && draw(random, 4) == 0;
    if (const unsigned kind = draw(random, 3); kind == 0) {
        const unsigned prefix = std::vector{0u, 24u, 29u, 31u, 32u}[draw(random, 5)];
        const std::uint32_t address = kLan + 2 + draw(random, kEach), mask = prefix == 0 ? 0 : 0xffff'ffffu << (32 - prefix);
        rule.remote = std::format("{}/{}", format_ipv4(address & mask), prefix);
    } else if (kind == 1) rule.remote_group = groups[draw(random, groups.size())];
    return rule;
}

struct Tenants {
    std::vector<Net> nets;
    std::vector<Card> cards;
    std::array<std::vector<Flow>, kPlaces> flows;

    explicit Tenants(std::mt19937& random) {
        for (unsigned tenant = 0; tenant < kTenants; ++tenant)
            for (unsigned i = 0; i < kEach; ++i) {
                Card card{.record = {}, .tenant = tenant, .place = draw(random, kPlaces), .mac = Mac{0x0200'0000'0020} + i, .ip = kLan + 2 + i, .port = 100 + tenant * kEach + i};
                card.record.uuid = std::format("00000000-0000-4000-8000-0000000000{:02x}", card.port);
                card.record.name = std::format("vm{}", card.port);
                card.record.owner = place_name(card.place);
                card.record.phase = Phase::kRunning;
                card.record.nics = {{std::format("net{}", tenant), format_mac(card.mac), format_ipv4(card.ip)}};
                cards.push_back(card);
            }
        for (unsigned tenant = 0; tenant < kTenants; ++tenant) {
            Net net{std::format("net{}", tenant), 500 + tenant, "10.7.0.0/24", "10.7.0.1", 1390};
            std::vector<std::string> names;
            for (unsigned i = 0, count = draw(random, 4); i < count; ++i) names.push_back(std::format("g{}", i));
            for (const auto& name : names) {
                SecurityGroup group{.name = name, .everybody = draw(random, 8) == 0, .rules = {}, .vms = {}};
                for (unsigned i = 0, count = draw(random, 5); i < count; ++i) group.rules.push_back(random_rule(random, names));
                for (const auto& card : cards)  // also VMs of the other tenant, whom it must not touch
                    if (draw(random, 3) == 0) group.vms.push_back(card.record.uuid);
                net.groups.push_back(std::move(group));
            }
            EXPECT_EQ(parse_net(to_json(net)).value(), net);
            nets.push_back(std::move(net));
        }
        for (unsigned place = 0; place < kPlaces; ++place) flows[place] = plan(place);
    }

    std::vector<Flow> plan(unsigned place) const {
        World world{.site = place_name(place), .nets = nets, .vms = {}, .sites = {}, .ports = {}, .handovers = {}};
        world.ports.tunnel = kWan;
        for (unsigned other = 0; other < kPlaces; ++other) {
            Site site;
            site.name = place_name(other);
            site.index = other + 1;
            world.sites.push_back(site);
        }
        for (const auto& card : cards) {
            world.vms.push_back(card.record);
            if (card.place == place) world.ports.vms.push_back({card.record.uuid, card.mac, card.port, {}});
        }
        std::vector<std::string> warnings;
        auto out = plan_flows(world, warnings);
        EXPECT_TRUE(warnings.empty());
        return out;
    }

    // The port that gets the frame, 0 = none. `skip_sender`: the sender's own site does not keep to the rules.
    std::uint32_t send(const Card& from, const Frame& frame, bool skip_sender = false) const {
        if (skip_sender) {
            Frame forged = frame;
            forged.tun_id = 500 + from.tenant;
            forged.tun_src = 10u << 24 | 213u << 16 | (from.place + 1) << 8 | 1u;
            const auto out = walk(flows[1 - from.place], forged, kWan);
            return out.empty() ? 0 : out.front().port;
        }
        auto out = walk(flows[from.place], frame, from.port);
        EXPECT_LE(out.size(), 1u);
        if (out.empty() || out.front().port != kWan) return out.empty() ? 0 : out.front().port;
        Frame next = out.front().frame;
        next.tun_id = out.front().tun_id;
        next.tun_src = 10u << 24 | 213u << 16 | (from.place + 1) << 8 | 1u;
        out = walk(flows[1 - from.place], next, kWan);
        return out.empty() ? 0 : out.front().port;
    }

    bool member(const SecurityGroup& group, const Card& card) const { return group.everybody || std::ranges::find(group.vms, card.record.uuid) != group.vms.end(); }

    bool rule_allows(const Net& net, const SecurityRule& rule, const Card& other, const Frame& frame) const {
        switch (rule.proto) {
            case RuleProto::kAny: break;
            case RuleProto::kTcp:
                if (frame.ip_proto != 6) return false;
                break;
            case RuleProto::kUdp:
                if (frame.ip_proto != 17) return false;
                break;
            case RuleProto::kIcmp:
                if (frame.ip_proto != 1) return false;
                break;
        }
        if (rule.first_port != 0 && (frame.l4_dst < rule.first_port || frame.l4_dst > rule.last_port)) return false;
        if (rule.established && !frame.ack) return false;
        if (!rule.remote_group.empty()) return member(*std::ranges::find(net.groups, rule.remote_group, &SecurityGroup::name), other);
        if (rule.remote.empty()) return true;
        const auto slash = rule.remote.find('/');
        const int prefix = std::stoi(rule.remote.substr(slash + 1));
        const std::uint32_t base = parse_ipv4(rule.remote.substr(0, slash)).value();
        for (int bit = 0; bit < prefix; ++bit)
            if ((base >> (31 - bit) & 1) != (other.ip >> (31 - bit) & 1)) return false;
        return true;
    }

    bool allowed(const Card& from, const Card& to, const Frame& frame) const {
        const Net& net = nets[from.tenant];
        const auto side = [&](bool ingress, const Card& self, const Card& other) {
            bool grouped = false, pass = false;
            for (const auto& group : net.groups) {
                if (!member(group, self)) continue;
                grouped = true;
                for (const auto& rule : group.rules) pass = pass || (rule.ingress == ingress && rule_allows(net, rule, other, frame));
            }
            return !grouped || pass;
        };
        return side(false, from, to) && side(true, to, from);
    }
};

Frame random_frame(std::mt19937& random, const Card& from, const Card& to, const Net& net) {
    Frame frame{.eth_src = from.mac, .eth_dst = to.mac, .ip_src = from.ip, .ip_dst = to.ip};
    frame.ip_proto = std::vector<std::uint8_t>{1, 6, 17}[draw(random, 3)];
    frame.icmp_type = draw(random, 2) == 0 ? 8 : 0;
    frame.l4_dst = static_cast<std::uint16_t>(1 + draw(random, 65535));
    for (const auto& group : net.groups)  // the edges of the ranges are where mistakes are
        for (const auto& rule : group.rules)
            if (rule.first_port != 0 && draw(random, 4) == 0) frame.l4_dst = static_cast<std::uint16_t>(draw(random, 2) == 0 ? rule.first_port - draw(random, 2) : rule.last_port + draw(random, 2));
    if (frame.l4_dst == 67 || frame.l4_dst == 0) frame.l4_dst = 68;  // DHCP has its own rules
    frame.l4_src = 1000;
    frame.ack = draw(random, 2) == 0;
    frame.syn = !frame.ack;
    return frame;
}

TEST(Groups, APacketPassesExactlyWhenTheRulesSaySo) {
    std::size_t passed = 0, refused = 0;
    for (unsigned seed = 1; seed <= 150; ++seed) {
        SCOPED_TRACE(std::format("seed {}", seed));
        std::mt19937 random(seed);
        const Tenants world(random);
        for (const auto& from : world.cards)
            for (const auto& to : world.cards) {
                if (from.tenant != to.tenant || &from == &to) continue;
                for (unsigned tries = 0; tries < 3; ++tries) {
                    const Frame frame = random_frame(random, from, to, world.nets[from.tenant]);
                    const bool want = world.allowed(from, to, frame);
                    ASSERT_EQ(world.send(from, frame), want ? to.port : 0) << from.record.name << " to " << to.record.name << " proto " << frame.ip_proto << " port " << frame.l4_dst;
                    if (from.place != to.place) ASSERT_EQ(world.send(from, frame, true), want ? to.port : 0) << "the receiver's site believed the sender's";
                    ++(want ? passed : refused);
                }
            }
    }
    EXPECT_GT(passed, 1000u);
    EXPECT_GT(refused, 1000u);
}

// In a network with groups a frame whose address is another VM's than its MAC goes nowhere: rules name addresses, delivery goes by MAC.
TEST(Groups, AForeignAddressDoesNotGetPastTheRules) {
    for (unsigned seed = 1; seed <= 50; ++seed) {
        std::mt19937 random(seed);
        const Tenants world(random);
        for (const auto& from : world.cards)
            for (const auto& to : world.cards) {
                if (from.tenant != to.tenant || &from == &to || world.nets[from.tenant].groups.empty()) continue;
                Frame frame = random_frame(random, from, to, world.nets[from.tenant]);
                frame.ip_dst = kLan + 2 + (to.ip - kLan - 2 + 1 + draw(random, kEach - 1)) % kEach;
                ASSERT_EQ(world.send(from, frame), 0u);
            }
    }
}

TEST(Groups, PortMasksMatchTheRangeAndNothingElse) {
    std::mt19937 random(7);
    for (unsigned tries = 0; tries < 60; ++tries) {
        const auto first = static_cast<std::uint16_t>(tries == 0 ? 1 : 1 + draw(random, 65535));
        const auto last = static_cast<std::uint16_t>(tries == 0 ? 65535 : first + draw(random, static_cast<std::size_t>(65536 - first)));
        const auto masks = port_masks(first, last);
        ASSERT_LE(masks.size(), 30u);
        for (std::uint32_t port = 0; port < 65536; ++port) {
            unsigned hits = 0;
            for (const auto& [value, mask] : masks) hits += (port & mask) == value ? 1 : 0;
            ASSERT_EQ(hits, port >= first && port <= last ? 1u : 0u) << first << '-' << last << ": " << port;
        }
    }
}

// 16 groups of 64 rules, each of which lets all of a group in, over 500 VMs: entries are members plus rules.
TEST(Groups, EntriesDoNotMultiply) {
    Net net{"big", 9, "10.7.0.0/16", "10.7.0.1", 1390};
    std::vector<Endpoint> endpoints(500);
    for (unsigned i = 0; i < 500; ++i) {
        endpoints[i].vni = 9;
        endpoints[i].mac = 0x0200'0000'1000 + i;
        endpoints[i].ip = kLan + 2 + i;
        endpoints[i].uuid = std::to_string(i);
    }
    for (unsigned g = 0; g < kMaxGroups; ++g) {
        SecurityGroup group{.name = std::format("g{}", g), .everybody = true, .rules = {}, .vms = {}};
        for (unsigned r = 0; r < kMaxGroupRules; ++r) {
            SecurityRule rule;
            rule.remote_group = std::format("g{}", r % kMaxGroups);
            group.rules.push_back(rule);
        }
        net.groups.push_back(group);
    }
    EXPECT_EQ(group_flows(net, endpoints).size(), 2u * 500u + kMaxGroups * kMaxGroupRules + 3u);
    net.groups.clear();
    EXPECT_TRUE(group_flows(net, endpoints).empty());
}

}  // namespace
}  // namespace blanket::net::test
