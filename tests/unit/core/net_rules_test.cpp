// SPDX-License-Identifier: GPL-2.0-or-later
// New networks and security groups: what is refused, with the next step, and that records come back as they went.
#include <gtest/gtest.h>

#include "toolstack/core/group_edits.hpp"
#include "toolstack/core/net_rules.hpp"

namespace blanket {
namespace {

Net net(const std::string& name, const std::string& cidr) { return {name, 7, cidr, "", 1390, {}}; }

Result<void> create(const std::string& name, const std::string& cidr, bool same_addresses = false) {
    Site site;
    site.name = "east";
    site.address = "192.168.7.20";
    return check_new_net(net(name, cidr), {net("lan", "10.42.0.0/16"), net("dmz", "172.16.0.0/24")}, {site}, same_addresses);
}

TEST(NewNet, OverlappingRangesAreRefused) {
    for (const char* cidr : {"10.42.0.0/16", "10.42.9.0/24", "10.40.0.0/13", "172.16.0.128/25"}) {
        const auto refused = create("new", cidr);
        ASSERT_FALSE(refused) << cidr;
        EXPECT_EQ(refused.error().kind, Kind::kConflict);
        EXPECT_TRUE(refused.error().what.contains(cidr)) << refused.error().what;
        EXPECT_TRUE(refused.error().hint.contains("--same-addresses")) << refused.error().hint;
        EXPECT_TRUE(create("new", cidr, true)) << "a tenant may have the same addresses, if that is said";
    }
    for (const char* cidr : {"10.43.0.0/24", "172.16.1.0/24", "192.168.8.0/24"}) EXPECT_TRUE(create("new", cidr)) << cidr;
}

TEST(NewNet, TheSitesOwnAddressesAreRefused) {
    struct Case {
        const char *cidr, *why;
    };
    for (const Case& bad : {Case{"10.213.4.0/24", "inside of the tunnels"}, {"10.0.0.0/8", "inside of the tunnels"}, {"169.254.0.0/16", "metadata"}, {"169.254.169.0/24", "metadata"}, {"127.0.0.0/8", "own"},
                            {"224.0.0.0/8", "multicast"}, {"255.255.255.0/24", "multicast"}, {"0.0.0.0/8", "no address"}, {"192.168.7.0/24", "address of site 'east'"}, {"192.168.0.0/16", "address of site 'east'"}})
        for (const bool same : {false, true}) {
            const auto refused = create("new", bad.cidr, same);
            ASSERT_FALSE(refused) << bad.cidr;
            EXPECT_EQ(refused.error().kind, Kind::kInvalid);
            EXPECT_TRUE(refused.error().what.contains(bad.why)) << refused.error().what;
            EXPECT_FALSE(refused.error().hint.empty());
        }
}

TEST(NewNet, BadNamesAndRangesAreRefused) {
    for (const char* name : {"", "Lan", "-lan", "a/b", "a b", "..", "lan;reboot", "0123456789012345678901234567890123456789012345678901234567890123"}) {
        const auto refused = create(name, "10.50.0.0/24");
        ASSERT_FALSE(refused) << name;
        EXPECT_TRUE(refused.error().hint.contains("a-z")) << refused.error().hint;
    }
    for (const char* cidr : {"", "10.50.0.0", "10.50.0.1/24", "10.50.0.0/7", "10.50.0.0/31", "10.50.0.0/24x", "10.050.0.0/24", "fd00::/64", "10.50.0/24"}) EXPECT_EQ(create("new", cidr).error().kind, Kind::kInvalid) << cidr;
}

TEST(OldNet, NobodyComesIntoOneThatIsBeingDeleted) {
    Net lan = net("lan", "10.42.0.0/24");
    lan.gateway = "10.42.0.1";
    EXPECT_FALSE(to_json(lan).contains("deleting")) << "older versions' records look the same";
    EXPECT_TRUE(check_card({"lan", "", "10.42.0.2"}, &lan));
    for (const char* ip : {"10.42.0.1", "10.42.0.0", "10.42.0.255", "10.43.0.2", "", "x"}) EXPECT_EQ(check_card({"lan", "", ip}, &lan).error().kind, Kind::kInvalid) << ip;
    EXPECT_EQ(check_card({"lan", "", "10.42.0.2"}, nullptr).error().kind, Kind::kNotFound);
    lan.deleting = true;
    EXPECT_EQ(parse_net(to_json(lan)).value(), lan);
    EXPECT_EQ(check_card({"lan", "", "10.42.0.2"}, &lan).error().kind, Kind::kConflict);
    EXPECT_TRUE(check_open(lan).error().hint.contains("blanket net delete lan"));
}

TEST(OldNet, WhoUsesItIsNamed) {
    std::vector<VmRecord> vms;
    for (int i = 9; i >= 1; --i) {
        VmRecord vm;
        vm.name = std::format("vm{}", i);
        vm.phase = i == 9 ? Phase::kDeleting : Phase::kStopped;
        vm.nics = {{i > 2 ? "lan" : "dmz", "", ""}, {i == 2 ? "lan" : "dmz", "", ""}};
        vms.push_back(vm);
    }
    EXPECT_TRUE(check_unused("office", vms));
    const auto refused = check_unused("lan", vms);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().what, "network 'lan' is used by 8 VMs: vm2, vm3, vm4, vm5, vm6 and 3 more");
    EXPECT_TRUE(refused.error().hint.ends_with("blanket vm delete vm2"));
}

TEST(Records, AddressesOutsideOfTheNetworkAreRefused) {
    const Json good = {{"name", "lan"}, {"vni", 7u}, {"cidr", "10.42.0.0/24"}, {"gateway", "10.42.0.1"}, {"mtu", 1390u}};
    EXPECT_TRUE(parse_net(good));
    Json bad = good;
    bad["gateway"] = "10.43.0.1";
    EXPECT_TRUE(parse_net(bad).error().what.contains("outside"));
    const Cidr cidr = parse_cidr("10.42.0.0/24").value();
    EXPECT_TRUE(inside(cidr, parse_ipv4("10.42.0.2").value()));
    for (const char* address : {"10.42.0.0", "10.42.0.255", "10.42.1.2", "11.42.0.2"}) EXPECT_FALSE(inside(cidr, parse_ipv4(address).value())) << address;
}

TEST(Groups, RulesThatMakeNoSenseAreRefused) {
    for (const Json& bad : {Json{{"proto", "tcp"}}, Json{{"direction", "in"}}, Json{{"direction", "ingress"}, {"proto", "sctp"}}, Json{{"direction", "ingress"}, {"proto", "icmp"}, {"ports", "80"}},
                            Json{{"direction", "ingress"}, {"ports", "80"}}, Json{{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "0"}}, Json{{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "80-70"}},
                            Json{{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "1-65536"}}, Json{{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "80,81"}}, Json{{"direction", "ingress"}, {"proto", "udp"}, {"established", true}},
                            Json{{"direction", "ingress"}, {"remote", "10.0.0.1/24"}}, Json{{"direction", "ingress"}, {"remote", "10.0.0.0/33"}}, Json{{"direction", "ingress"}, {"remote", "lan"}},
                            Json{{"direction", "ingress"}, {"remote", "10.0.0.1"}, {"remote_group", "web"}}, Json{{"direction", "ingress"}, {"remote_group", "No Name"}}, Json{{"direction", 3}}})
        EXPECT_EQ(parse_rule(bad).error().kind, Kind::kInvalid) << bad.dump();
    const SecurityRule rule = parse_rule({{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "80-443"}, {"remote", "10.1.0.0/24"}}).value();
    EXPECT_EQ(to_text(rule), "ingress tcp 80-443 from 10.1.0.0/24");
    EXPECT_EQ(parse_rule(to_json(rule)).value(), rule);
    EXPECT_EQ(to_text(default_rules()[0]), "egress any to anybody");
    EXPECT_EQ(to_text(default_rules()[1]), "ingress tcp established from anybody");
}

TEST(Groups, EditsAreCheckedAndBounded) {
    Net lan = net("lan", "10.42.0.0/24");
    ASSERT_TRUE(add_group(lan, "web", false));
    EXPECT_EQ(add_group(lan, "web", false).error().kind, Kind::kConflict);
    EXPECT_EQ(add_group(lan, "Web!", false).error().kind, Kind::kInvalid);
    ASSERT_TRUE(add_group(lan, "office", true));
    SecurityRule rule;
    rule.remote_group = "ghost";
    EXPECT_EQ(add_rule(lan, "web", rule).error().kind, Kind::kNotFound);
    rule.remote_group = "office";
    EXPECT_TRUE(add_rule(lan, "web", rule));
    EXPECT_EQ(add_rule(lan, "web", rule).error().kind, Kind::kConflict);
    EXPECT_TRUE(remove_group(lan, "office").error().hint.contains("remove-rule lan web 3"));
    rule = {};
    rule.remote = "10.43.0.0/24";
    EXPECT_TRUE(add_rule(lan, "web", rule).error().what.contains("outside of network 'lan'"));
    rule.remote = "0.0.0.0/0";
    EXPECT_TRUE(add_rule(lan, "web", rule));
    EXPECT_EQ(remove_rule(lan, "web", 0).error().kind, Kind::kNotFound);
    EXPECT_EQ(remove_rule(lan, "web", 5).error().kind, Kind::kNotFound);
    EXPECT_TRUE(remove_rule(lan, "web", 3));
    EXPECT_TRUE(remove_group(lan, "office"));
    EXPECT_EQ(remove_group(lan, "office").error().kind, Kind::kNotFound);

    VmRecord vm;
    vm.name = "web1";
    vm.uuid = "00000000-0000-4000-8000-000000000001";
    EXPECT_EQ(add_member(lan, "web", vm).error().kind, Kind::kInvalid) << "it has no card there";
    vm.nics = {{"lan", "02:00:00:00:00:01", "10.42.0.2"}};
    EXPECT_TRUE(add_member(lan, "web", vm));
    EXPECT_EQ(add_member(lan, "web", vm).error().kind, Kind::kConflict);
    EXPECT_EQ(parse_groups(to_json(lan)["groups"]).value(), lan.groups);
    EXPECT_TRUE(remove_member(lan, "web", vm));
    EXPECT_EQ(remove_member(lan, "web", vm).error().kind, Kind::kNotFound);

    for (std::uint16_t port = 1; lan.groups[0].rules.size() < kMaxGroupRules; ++port) {
        SecurityRule one;
        one.proto = RuleProto::kTcp;
        one.first_port = one.last_port = port;
        ASSERT_TRUE(add_rule(lan, "web", one));
    }
    rule = {};
    EXPECT_TRUE(add_rule(lan, "web", rule).error().what.contains("64 rules"));
    while (lan.groups.size() < kMaxGroups) ASSERT_TRUE(add_group(lan, "g" + std::to_string(lan.groups.size()), false));
    EXPECT_TRUE(add_group(lan, "one-more", false).error().what.contains("16 security groups"));
}

TEST(Groups, RecordsFromTheStoreAreBounded) {
    const auto list = [](const Json& groups) { return parse_groups(groups).error().kind; };
    const Json web = {{"name", "web"}};
    Json many = Json::array(), rules = Json::array(), vms = Json::array();
    for (int i = 0; i < 17; ++i) many.push_back({{"name", "g" + std::to_string(i)}});
    for (int i = 0; i < 65; ++i) rules.push_back({{"direction", "egress"}});
    for (int i = 0; i < 4097; ++i) vms.push_back("00000000-0000-4000-8000-000000000001");
    for (const Json& bad : {many, Json::array({web, web}), Json::object(), Json::array({{{"name", "web"}, {"rules", rules}}}), Json::array({{{"name", "web"}, {"vms", vms}}}),
                            Json::array({{{"name", "web"}, {"vms", {"x"}}}}), Json::array({{{"name", "web"}, {"vms", {7}}}}), Json::array({{{"name", "../x"}}}), Json::array({7}),
                            Json::array({{{"name", "web"}, {"rules", Json::array({Json{{"direction", "ingress"}, {"remote_group", "ghost"}}})}}})})
        EXPECT_EQ(list(bad), Kind::kInvalid) << bad.dump().substr(0, 100);
}

}  // namespace
}  // namespace blanket
