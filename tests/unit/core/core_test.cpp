// SPDX-License-Identifier: GPL-2.0-or-later
// Records and their JSON, addresses, and the content hash.
#include <gtest/gtest.h>

#include "toolstack/core/content_hash.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {
namespace {

VmRecord sample() {
    VmRecord vm;
    vm.uuid = "11111111-2222-4333-8444-555555555555";
    vm.name = "web";
    vm.owner = "east";
    vm.epoch = 7;
    vm.phase = Phase::kMigrating;
    vm.migration = Migration{"job-1", "west"};
    vm.memory_mib = 256;
    vm.definition = "<domain/>";
    vm.cpu_features = {"avx", "sse2"};
    vm.nics.push_back({"lan", "02:00:00:00:00:01", "10.42.0.2"});
    vm.volumes.push_back({"web-1", std::string(64, 'a'), 1u << 30, "xvda"});
    vm.forks = {{"south", 5, "2026-01-01T00:00:00Z"}};
    vm.standby = Standby{"north", 6, "2026-01-01T00:00:00Z"};
    vm.created = "2026-01-01T00:00:00Z";
    return vm;
}

TEST(Records, RoundTrip) {
    const VmRecord vm = sample();
    EXPECT_EQ(*parse_vm(to_json(vm)), vm);
    const Site site{"east", 1, "192.0.2.1", std::string(43, 'A') + "=", "voter", "0.1", 0xfedcba9876543210u, "joined"};
    EXPECT_EQ(*parse_site(to_json(site)), site);
    const Net net{"lan", 5, "10.42.0.0/24", "10.42.0.1", 1390};
    EXPECT_EQ(*parse_net(to_json(net)), net);
    const Image image{"debian", std::string(64, '0'), 5, {"east"}};
    EXPECT_EQ(*parse_image(to_json(image)), image);
    const Token token{"t1", std::string(64, 'f'), "site", "west", 12345, true};
    EXPECT_EQ(*parse_token(to_json(token)), token);
}

TEST(Records, WhatASiteHearsIsTakenWhereItMakesSense) {
    Site site{"east", 1, "192.0.2.1", std::string(43, 'A') + "=", "voter", "0.1", 0, "joined"};
    site.heard = {{"west", {"203.0.113.7:40123", 32}}, {"home", {}}};
    EXPECT_EQ(*parse_site(to_json(site)), site);
    Json json = to_json(site);
    for (const char* from : {"", "203.0.113.7", "203.0.113.7:0", "203.0.113.7:65536", "203.0.113.7:1 x", "127.0.0.1:1", "0.0.0.1:1", "169.254.169.254:80", "224.0.0.1:5", "255.255.255.255:1", "10.213.2.1:61003", "[::1]:5"}) {
        json["heard"]["west"]["from"] = from;
        EXPECT_EQ(parse_site(json)->heard["west"].from, "") << from;
    }
    json["heard"]["west"] = {{"from", 5}, {"rtt_ms", 10'001}};
    EXPECT_EQ(parse_site(json)->heard["west"], Heard{});
    json["heard"]["a b"] = Json::object();
    json["heard"]["north"] = 7;
    EXPECT_EQ(parse_site(json)->heard.size(), 2u);
    for (int i = 0; i < 400; ++i) json["heard"][std::format("s{}", i)] = Json::object();
    EXPECT_EQ(parse_site(json)->heard.size(), 254u);
    json["heard"] = "nonsense";
    EXPECT_TRUE(parse_site(json)->heard.empty());
}

TEST(Records, RefuseHostileFields) {
    const auto refuse = [](const char* field, const Json& value) {
        Json record = to_json(sample());
        record[field] = value;
        EXPECT_FALSE(parse_vm(record)) << field << " = " << value.dump();
    };
    refuse("uuid", "../etc");
    refuse("name", "a b");
    refuse("owner", "");
    refuse("epoch", -1);
    refuse("phase", "flying");
    refuse("phase", "running");  // with a migration
    refuse("memory_mib", std::uint64_t{1} << 40);
    refuse("vcpus", 100000);
    refuse("nics", Json::array({{{"net", "lan"}, {"mac", "01:00:00:00:00:01"}, {"ip", "10.0.0.1"}}}));
    refuse("nics", Json::array({{{"net", "lan"}, {"mac", "02:00:00:00:00:01"}, {"ip", "10.0.0.1; drop"}}}));
    refuse("nics", "none");
    refuse("volumes", Json::array({{{"id", "../x"}, {"size", 65536}, {"target", "xvda"}}}));
    refuse("volumes", Json::array({{{"id", "x"}, {"size", 65537}, {"target", "xvda"}}}));
    refuse("cpu_features", Json::array({1}));
    refuse("forks", Json::array({{{"site", sample().owner}, {"epoch", 1}}}));
    refuse("forks", Json::array({{{"site", "south"}, {"epoch", 1}}, {{"site", "south"}, {"epoch", 2}}}));
    refuse("standby", "west");
    refuse("standby", {{"site", sample().owner}, {"epoch", 1}});
    refuse("standby", {{"site", "a b"}, {"epoch", 1}});
    EXPECT_FALSE(parse_vm(Json::array()));
    EXPECT_FALSE(parse_net({{"name", "n"}, {"vni", 1u << 24}, {"cidr", "10.0.0.0/24"}, {"gateway", "10.0.0.1"}, {"mtu", 1390}}));
    EXPECT_FALSE(parse_net({{"name", "n"}, {"vni", 1}, {"cidr", "10.0.0.0/24"}, {"gateway", "10.1.0.1"}, {"mtu", 1390}}));
}

TEST(Addresses, OnlyTheCanonicalForm) {
    EXPECT_EQ(format_ipv4(*parse_ipv4("10.0.0.255")), "10.0.0.255");
    for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", "a.b.c.d"}) EXPECT_FALSE(parse_ipv4(text)) << text;
    EXPECT_TRUE(check_mac("02:00:5e:00:00:01"));
    for (const char* text : {"02:00:5E:00:00:01", "03:00:00:00:00:00", "02-00-00-00-00-00", "02:00:00:00:00", ""}) EXPECT_FALSE(check_mac(text)) << text;
    EXPECT_EQ(parse_cidr("10.42.0.0/24")->prefix, 24u);
    EXPECT_TRUE(overlap(*parse_cidr("168.63.128.0/20"), kMetadataAddresses[1]) && overlap(kMetadataAddresses[0], *parse_cidr("169.254.7.0/24")));
    EXPECT_FALSE(overlap(*parse_cidr("168.63.128.0/24"), kMetadataAddresses[1]) || overlap(*parse_cidr("10.0.0.0/8"), kMetadataAddresses[2]));
    const auto host_bits = parse_cidr("10.42.0.5/24");
    ASSERT_FALSE(host_bits);
    EXPECT_NE(host_bits.error().hint.find("10.42.0.0/24"), std::string::npos);
    for (const char* text : {"10.0.0.0", "10.0.0.0/7", "10.0.0.0/31", "x/24", "10.0.0.0/-1"}) EXPECT_FALSE(parse_cidr(text)) << text;
}

TEST(Addresses, TheAllocatorSkipsWhatIsUsedAndEnds) {
    const Net net{"lan", 1, "10.42.0.0/29", "10.42.0.1", 1390};
    std::vector<VmRecord> vms;
    std::vector<std::string> given;
    for (;;) {
        const auto ip = allocate_ip(net, vms);
        if (!ip) {
            EXPECT_EQ(ip.error().kind, Kind::kConflict);
            break;
        }
        given.push_back(*ip);
        VmRecord vm;
        vm.nics.push_back({"lan", "02:00:00:00:00:01", *ip});
        vms.push_back(vm);
    }
    EXPECT_EQ(given, (std::vector<std::string>{"10.42.0.2", "10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6"}));
}

TEST(ContentHash, SeesContentPlaceAndSizeButHolesAreFree) {
    const auto hash = [](std::vector<std::byte> data) {
        ContentHasher hasher;
        for (std::size_t at = 0; at < data.size(); at += kBlockSize) hasher.add(std::span(data).subspan(at, std::min(kBlockSize, data.size() - at)));
        return hasher.finish();
    };
    std::vector<std::byte> data(3 * kBlockSize);
    data[kBlockSize + 5] = std::byte{1};
    ContentHasher holes;
    holes.add_zero_blocks(1, kBlockSize);
    EXPECT_FALSE(holes.add(std::span(data).subspan(kBlockSize, kBlockSize)));
    EXPECT_TRUE(holes.add(std::span(data).subspan(2 * kBlockSize)));
    EXPECT_EQ(holes.finish(), hash(data));
    auto moved = data;
    std::swap(moved[kBlockSize + 5], moved[5]);
    EXPECT_NE(hash(moved), hash(data));
    auto longer = data;
    longer.resize(4 * kBlockSize);
    EXPECT_NE(hash(longer), hash(data));
    EXPECT_EQ(hash(data).size(), 64u);
}

}  // namespace
}  // namespace blanket
