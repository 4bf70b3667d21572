// SPDX-License-Identifier: GPL-2.0-or-later
// What of a network is public: words, bounds, the host's own ports, doubles, records that make no sense.
#include <gtest/gtest.h>

#include "toolstack/core/net_rules.hpp"

namespace blanket {
namespace {

constexpr const char* kOne = "00000000-0000-4000-8000-000000000001";
constexpr const char* kTwo = "00000000-0000-4000-8000-000000000002";

Net lan_of() { return {"lan", 7, "10.1.0.0/29", "10.1.0.1", 1390, {}}; }
PublicPort port(const std::string& text, const char* vm = kOne) {
    PublicPort out = parse_public_port(text).value();
    out.vm = vm;
    return out;
}

TEST(Exposures, WordsOfAPort) {
    const PublicPort plain = parse_public_port("tcp:80").value(), mapped = parse_public_port("udp:5353:53").value();
    EXPECT_TRUE(plain.proto == RuleProto::kTcp && plain.port == 80 && plain.to == 80);
    EXPECT_TRUE(mapped.proto == RuleProto::kUdp && mapped.port == 5353 && mapped.to == 53);
    EXPECT_EQ(to_text(plain), "tcp:80");
    EXPECT_EQ(to_text(mapped), "udp:5353:53");
    for (const char* bad : {"", "80", "tcp", "tcp:", "tcp:0", "tcp:65536", "tcp:80:", "tcp:80:0", "tcp:80:81:82", "sctp:80", "icmp:1", "tcp: 80", "tcp:-1", "TCP:80", "tcp:80,tcp:81", "tcp:0x50"}) {
        const auto refused = parse_public_port(bad);
        ASSERT_FALSE(refused) << bad;
        EXPECT_EQ(refused.error().kind, Kind::kInvalid) << bad;
    }
}

TEST(Exposures, TheHostsOwnPortsAreNeverPublic) {
    for (const char* own : {"tcp:22", "tcp:22:8022", "tcp:53", "udp:53", "udp:67", "udp:68", "udp:123", "tcp:2379", "tcp:2380", "udp:4789", "tcp:5900", "tcp:5999", "tcp:7443", "tcp:7444", "tcp:16509", "udp:51820", "tcp:32768", "tcp:60999", "udp:40000", "udp:8067:67"}) {
        const auto refused = parse_public_port(own);
        ASSERT_FALSE(refused) << own;
        EXPECT_EQ(refused.error().kind, Kind::kInvalid) << own;
    }
    for (const char* free : {"tcp:2222:22", "tcp:80:2379", "udp:5353:53", "tcp:32767", "udp:22"}) EXPECT_TRUE(parse_public_port(free)) << free;
}

TEST(Exposures, ComeBackAsTheyWent) {
    Net net = lan_of();
    ASSERT_TRUE(add_public(net, "east", "10.1.0.6", {port("tcp:80"), port("udp:5353:53", kTwo)}));
    ASSERT_TRUE(add_public(net, "west", "10.1.0.5", {port("tcp:80")}));
    ASSERT_TRUE(add_public(net, "east", "10.1.0.4", {port("tcp:81")}));
    EXPECT_EQ(net.anchors.size(), 2u) << "a site is one anchor, with the address that it has";
    EXPECT_EQ(parse_net(to_json(net)).value(), net);
    EXPECT_EQ(add_public(net, "east", "10.1.0.6", {port("tcp:80", kTwo)}).error().kind, Kind::kConflict);
    EXPECT_EQ(add_public(net, "north", "10.1.0.3", {port("tcp:80"), port("tcp:80:81")}).error().kind, Kind::kInvalid) << "one port named twice";

    EXPECT_EQ(remove_public(net, kTwo, "west", {}).error().kind, Kind::kNotFound);
    EXPECT_EQ(remove_public(net, kOne, "", {port("tcp:99")}).error().kind, Kind::kNotFound);
    EXPECT_TRUE(remove_public(net, kOne, "east", {port("tcp:80")}).value().empty());
    EXPECT_EQ(remove_public(net, kOne, "", {}).value(), std::vector<std::string>{"10.1.0.5"}) << "west has none left, its address is free";
    EXPECT_EQ(remove_public(net, kTwo, "", {}).value(), std::vector<std::string>{"10.1.0.6"});
    EXPECT_TRUE(net.anchors.empty());
    EXPECT_EQ(to_json(net), to_json(lan_of()));
}

TEST(Exposures, BoundsOfARecord) {
    Net net = lan_of();
    net.cidr = "10.1.0.0/16";
    for (unsigned i = 0; i < kMaxAnchors; ++i) ASSERT_TRUE(add_public(net, std::format("s{}", i), std::format("10.1.1.{}", i + 1), {port("tcp:80")}));
    EXPECT_EQ(add_public(net, "one-more", "10.1.2.1", {port("tcp:80")}).error().kind, Kind::kConflict);
    EXPECT_TRUE(parse_net(to_json(net)));
    for (unsigned i = 1; i < kMaxPublicPorts; ++i) ASSERT_TRUE(add_public(net, "s0", "", {port(std::format("tcp:{}", 10000 + i))}));
    EXPECT_EQ(add_public(net, "s0", "", {port("tcp:9999")}).error().kind, Kind::kConflict);
    EXPECT_TRUE(parse_net(to_json(net)));
}

TEST(Exposures, RecordsThatMakeNoSenseAreRefused) {
    Net net = lan_of();
    ASSERT_TRUE(add_public(net, "east", "10.1.0.6", {port("tcp:80")}));
    const Json good = to_json(net);
    ASSERT_TRUE(parse_net(good));
    const auto with = [&](const char* path, Json value) {
        Json bad = good;
        bad[Json::json_pointer(path)] = std::move(value);
        return parse_net(bad);
    };
    for (const auto& [path, value] : std::initializer_list<std::pair<const char*, Json>>{
             {"/anchors", "x"}, {"/anchors/0/site", "../x"}, {"/anchors/0/ip", "10.1.0.1"}, {"/anchors/0/ip", "10.1.0.7"}, {"/anchors/0/ip", "10.2.0.2"}, {"/anchors/0/ip", "10.1.0.6 drop"}, {"/anchors/0/ports", Json::object()},
             {"/anchors/0/ports/0/vm", "web"}, {"/anchors/0/ports/0/proto", "icmp"}, {"/anchors/0/ports/0/port", 22}, {"/anchors/0/ports/0/port", 0}, {"/anchors/0/ports/0/port", 65536 + 80}, {"/anchors/0/ports/0/port", "80"},
             {"/anchors/0/ports/0/to", 0}, {"/anchors/0/ports/1", good["anchors"][0]["ports"][0]}, {"/anchors/1", good["anchors"][0]}})
        EXPECT_FALSE(with(path, value)) << path << " " << value;
}

TEST(Exposures, AddressesAreTheVmsOrTheAnchors) {
    Net net = lan_of();  // .1 is the gateway's, .2 to .6 are free
    VmRecord vm;
    vm.nics = {{"lan", "02:00:00:00:00:01", "10.1.0.6"}};
    EXPECT_EQ(allocate_anchor_ip(net, {vm}).value(), "10.1.0.5");
    net.anchors = {{"east", "10.1.0.5", {}}, {"west", "10.1.0.2", {}}};
    EXPECT_EQ(allocate_anchor_ip(net, {vm}).value(), "10.1.0.4");
    EXPECT_EQ(allocate_ip(net, {vm}).value(), "10.1.0.3");
    EXPECT_EQ(check_card({"lan", "02:00:00:00:00:02", "10.1.0.2"}, &net).error().kind, Kind::kConflict);
    EXPECT_TRUE(check_card({"lan", "02:00:00:00:00:02", "10.1.0.3"}, &net));
    net.anchors = {{"a", "10.1.0.2", {}}, {"b", "10.1.0.3", {}}, {"c", "10.1.0.4", {}}, {"d", "10.1.0.5", {}}};
    EXPECT_EQ(allocate_anchor_ip(net, {vm}).error().kind, Kind::kConflict);
}

TEST(Exposures, OnePortOfASiteLeadsToOneVm) {
    Net lan = lan_of(), dmz = lan_of();
    dmz.name = "dmz";
    ASSERT_TRUE(add_public(dmz, "east", "10.1.0.6", {port("tcp:80", kTwo)}));
    VmRecord vm;
    vm.uuid = kTwo;
    vm.name = "shop";
    const auto taken = check_free({port("tcp:443"), port("tcp:80:8080")}, "east", {lan, dmz}, {vm});
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().kind, Kind::kConflict);
    EXPECT_TRUE(taken.error().what.contains("VM 'shop' of network 'dmz'")) << taken.error().what;
    EXPECT_TRUE(taken.error().hint.contains("blanket net unexpose shop --port tcp:80")) << taken.error().hint;
    EXPECT_TRUE(check_free({port("tcp:80")}, "west", {lan, dmz}, {vm})) << "another site's";
    EXPECT_TRUE(check_free({port("udp:80")}, "east", {lan, dmz}, {vm})) << "another protocol's";
    Site site;
    site.name = "east";
    site.address = "192.0.2.1";
    Net twin = lan_of();
    twin.name = "twin";
    EXPECT_EQ(check_new_net(twin, {dmz}, {site}, true).error().kind, Kind::kConflict) << "its host could not tell the two apart";
}

}  // namespace
}  // namespace blanket
