// SPDX-License-Identifier: GPL-2.0-or-later
// Parsers of what Open vSwitch and iproute2 print, with true samples, broken ones and random damage; and the diff of flow tables.
#include <gtest/gtest.h>
#include <random>

#include "net/dhcp.hpp"
#include "net/host.hpp"
#include "net/ovs.hpp"
#include "net/wireguard.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

#include <filesystem>
#include <sys/stat.h>

namespace blanket::net::test {
namespace {

constexpr std::string_view kSwitch =
    R"json({"data":[[["uuid","b"],"br-int",["set",[["uuid","p1"],["uuid","p2"],["uuid","p3"],["uuid","p4"],["uuid","p5"]]],"system","secure"]],"headings":["_uuid","name","ports","datapath_type","fail_mode"]}
{"data":[[["uuid","p1"],"vxlan0",["uuid","i1"]],[["uuid","p2"],"gw101",["uuid","i2"]],[["uuid","p3"],"vif3.0",["uuid","i3"]],[["uuid","p4"],"vif12.0",["uuid","i4"]],[["uuid","p5"],"vif7.0",["uuid","i5"]],[["uuid","p9"],"vif9.0",["uuid","i9"]]],"headings":["_uuid","name","interfaces"]}
{"data":[[["uuid","i1"],"vxlan0","vxlan",2,["map",[]],["map",[["key","flow"],["local_ip","10.213.1.1"],["remote_ip","flow"]]],["set",[]],["set",[]],["set",[]]],[["uuid","i2"],"gw101","internal",1,["map",[["blanket-gateway","101"]]],["map",[]],"02:00:5e:00:00:65",1390,["set",[]]],[["uuid","i3"],"vif3.0","",4,["map",[["vm-mac","02:00:00:00:00:11"],["vm-uuid","00000000-0000-4000-8000-000000000001"]]],["map",[]],["set",[]],1390,["set",[]]],[["uuid","i4"],"vif12.0","",3,["map",[["vm-mac","02:00:00:00:00:11"],["vm-uuid","00000000-0000-4000-8000-000000000001"]]],["map",[]],["set",[]],1390,["set",[]]],[["uuid","i5"],"vif7.0","",-1,["map",[["vm-mac","02:00:00:00:00:12"],["vm-uuid","00000000-0000-4000-8000-000000000002"]]],["map",[]],["set",[]],1390,"could not open network device vif7.0 (No such device)"],[["uuid","i9"],"vif9.0","",5,["map",[["vm-mac","02:00:00:00:00:13"],["vm-uuid","00000000-0000-4000-8000-000000000003"]]],["map",[]],["set",[]],1390,["set",[]]]],"headings":["_uuid","name","type","ofport","external_ids","options","mac","mtu_request","error"]}
)json";

constexpr std::string_view kDump =
    "OFPST_FLOW reply (OF1.4) (xid=0x2):\n"
    " cookie=0xb1a7000000000007, duration=0.008s, table=0, n_packets=0, n_bytes=0, priority=6,in_port=2 actions=set_field:0x65->metadata,goto_table:1\n"
    " cookie=0xb1a7000000000007, table=6, hard_timeout=30, priority=9,ip,metadata=0x65,dl_dst=02:00:00:00:00:01 actions=set_field:0->in_port,output:1\n";

TEST(Parse, SwitchAndItsPorts) {
    const auto state = parse_switch(kSwitch);
    ASSERT_TRUE(state) << state.error().what;
    EXPECT_TRUE(state->bridge);
    const LocalPorts ports = local_ports(*state);
    EXPECT_EQ(ports.tunnel, 2u);
    EXPECT_EQ(ports.gateways, (std::map<std::uint32_t, std::uint32_t>{{101, 1}}));
    ASSERT_EQ(ports.vms.size(), 1u);  // vif7.0 has no number, vif9.0 is on another bridge
    EXPECT_EQ(ports.vms[0].port, 3u);  // of vif3 and vif12 the younger domain
    std::vector<std::string> warnings;
    const auto gateways = plan_gateways({{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390}}, warnings);
    const Argv dead{"--if-exists", "del-port", "br-int", "vif7.0"};
    EXPECT_EQ(plan_switch(*state, gateways, 0x0ad50101, "system", {}), (std::vector<Argv>{dead}));
    EXPECT_EQ(plan_switch(*state, {}, 0x0ad50101, "system", {}), (std::vector<Argv>{{"--if-exists", "del-port", "br-int", "gw101"}, dead}));
    EXPECT_EQ(plan_switch(*state, gateways, 0x0ad50201, "system", {}).size(), 3u);  // another local_ip
}

TEST(Parse, HoldsAreKnownByTheirIdsAndStrayOnesGo) {
    SwitchState state{.bridge = true, .datapath = "system", .fail_mode = "secure", .interfaces = {}};
    const std::map<std::string, std::string> ids{{"blanket-hold", "00000000-0000-4000-8000-000000000001"}, {"vm-mac", "02:00:00:00:00:11"}};
    state.interfaces.push_back({.name = "hold3", .type = {}, .mac = {}, .error = {}, .port = 9, .ids = ids, .options = {}});
    state.interfaces.push_back({.name = "eth0", .type = {}, .mac = {}, .error = {}, .port = 10, .ids = ids, .options = {}});
    const LocalPorts ports = local_ports(state);
    EXPECT_EQ(ports.holds, (std::vector<VmPort>{{"00000000-0000-4000-8000-000000000001", 0x0200'0000'0011, 9, "hold3"}}));
    EXPECT_TRUE(ports.vms.empty());
    EXPECT_TRUE(plan_switch(state, {}, 0, "system", {"hold3", "eth0"}).empty());
    EXPECT_EQ(plan_switch(state, {}, 0, "system", {"eth0"}), (std::vector<Argv>{{"--if-exists", "del-port", "br-int", "hold3"}}));
}

TEST(Parse, PortsOfGuestsThatAHostDiedWithGo) {
    SwitchState state{.bridge = true, .datapath = "system", .fail_mode = "secure", .interfaces = {}};
    const std::map<std::string, std::string> ids{{"vm-uuid", "00000000-0000-4000-8000-000000000001"}, {"vm-mac", "02:00:00:00:00:11"}};
    const auto add = [&](const std::string& name, std::int64_t port, const std::string& error) { state.interfaces.push_back({.name = name, .type = {}, .mac = {}, .error = error, .port = port, .ids = ids, .options = {}}); };
    add("vif5.0", -1, "could not open network device vif5.0 (No such device)");
    add("vif6.0", -1, "");  // on its way
    add("vif7.0", 4, "");
    EXPECT_EQ(plan_switch(state, {}, 0, "system", {}), (std::vector<Argv>{{"--if-exists", "del-port", "br-int", "vif5.0"}}));
}

TEST(Parse, RefusedPortIsAnError) {
    SwitchState state{.bridge = true, .datapath = "system", .fail_mode = "secure", .interfaces = {}};
    state.interfaces.push_back({.name = "vxlan0", .type = "vxlan", .mac = {}, .error = "could not add network device", .port = -1, .ids = {}, .options = {}});
    const auto checked = check_switch(state);
    ASSERT_FALSE(checked);
    EXPECT_TRUE(checked.error().what.contains("could not add network device"));
}

TEST(Parse, NoBridge) {
    const auto state = parse_switch("{\"data\":[],\"headings\":[\"_uuid\",\"name\"]}\n{\"data\":[],\"headings\":[]}\n{\"data\":[],\"headings\":[]}\n");
    ASSERT_TRUE(state);
    EXPECT_FALSE(state->bridge);
    EXPECT_FALSE(parse_switch(""));
    EXPECT_FALSE(parse_switch("ovs-vsctl: db.sock: database connection failed\n"));
    EXPECT_FALSE(parse_switch("{\"data\":[[1]],\"headings\":[]}\n{}\n{}\n"));
    EXPECT_FALSE(parse_switch("{\"data\":[[1]],\"headings\":[\"ports\",\"ports\"]}\n{\"data\":[],\"headings\":[]}\n{\"data\":[],\"headings\":[]}\n"));  // a name for a cell that is not there
}

TEST(Parse, Flows) {
    const auto flows = parse_flow_dump(kDump);
    ASSERT_TRUE(flows) << flows.error().what;
    ASSERT_EQ(flows->size(), 2u);
    EXPECT_EQ((*flows)[0].key(), "table=0,priority=6,in_port=2");
    EXPECT_EQ((*flows)[1].key(), "table=6,priority=9,dl_dst=02:00:00:00:00:01,ip,metadata=0x65");
    EXPECT_EQ((*flows)[1].epoch(), 7u);
    EXPECT_FALSE(parse_flow_dump("ovs-ofctl: br-int is not a bridge or a socket\n"));
    EXPECT_FALSE(parse_flow_line("priority=70000 actions=drop"));
    EXPECT_FALSE(parse_flow_line("cookie=zz actions=drop"));
}

TEST(Parse, Links) {
    const auto links = parse_links(R"([{},{"ifname":"gw101","mtu":1390,"flags":["BROADCAST","UP"],"addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64}]}])");
    ASSERT_TRUE(links);
    std::vector<std::string> warnings;
    const auto gateways = plan_gateways({{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390}}, warnings);
    EXPECT_EQ(plan_gateway_links(*links, gateways), "address del 10.9.0.1/24 dev gw101\naddress add 10.1.0.1/24 dev gw101\n");
    const Underlay underlay{.address = 0x0ad50101, .mtu = 1440, .peers = {}};
    EXPECT_EQ(plan_wireguard_link(*links, underlay), "link add wg-blanket type wireguard\naddress add 10.213.1.1/16 dev wg-blanket\nlink set dev wg-blanket mtu 1440 up\n");
    EXPECT_EQ(plan_wireguard_link({{"wg-blanket", {1440, true, {"10.213.1.1/16"}}}}, underlay), "");
    EXPECT_FALSE(parse_links("{}"));
}

// Damaged answers are refused or read as something else, never a crash (run it under the sanitizers).
TEST(Parse, SurvivesDamage) {
    std::mt19937 random(7);
    const auto damage = [&](std::string text) {
        for (auto n = random() % 6; n > 0; --n) {
            if (text.empty()) break;
            const auto at = random() % text.size();
            switch (random() % 4) {
                case 0: text[at] = static_cast<char>(random() % 256); break;
                case 1: text.erase(at, random() % 20); break;
                case 2: text.insert(at, text.substr(random() % text.size(), random() % 30)); break;
                default: text.resize(at); break;
            }
        }
        return text;
    };
    unsigned good = 0;
    for (unsigned i = 0; i < 3000; ++i) {
        if (const auto state = parse_switch(damage(std::string(kSwitch)))) {
            ++good;
            (void)local_ports(*state);
            (void)plan_switch(*state, {}, 1, "system", {});
        }
        if (const auto flows = parse_flow_dump(damage(std::string(kDump)))) (void)plan_bundle({}, *flows);
        (void)parse_links(damage(R"([{"ifname":"gw101","mtu":1390,"flags":["UP"],"addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24}]}])"));
    }
    EXPECT_GT(good, 0u);
}

Flow local_flow(std::uint64_t epoch, std::uint32_t port) {
    Flow flow{.table = Table::kLocal, .priority = 100, .epoch = epoch, .match = {}, .actions = {{Action::Op::kOutput, port}}};
    flow.match.metadata = 0x65;
    flow.match.ether_type = EtherType::kIpv4;
    flow.match.eth_dst = 0x0200'0000'0011;
    return flow;
}

TEST(Bundle, TouchesOnlyWhatDiffersAndNeverGoesBack) {
    const auto at = [](const Flow& flow) { return std::vector{to_flow_text(flow)}; };
    EXPECT_TRUE(plan_bundle({local_flow(5, 9)}, at(local_flow(5, 9))).empty());
    EXPECT_EQ(plan_bundle({local_flow(6, 9)}, at(local_flow(5, 9))).size(), 1u);   // the same entry under a newer epoch
    EXPECT_TRUE(plan_bundle({local_flow(4, 8)}, at(local_flow(5, 9))).empty());    // a lower epoch does not replace
    EXPECT_EQ(plan_bundle({}, at(local_flow(5, 9))), (std::vector<std::string>{"flow delete_strict table=10,priority=100,dl_dst=02:00:00:00:00:11,ip,metadata=0x65"}));
    Flow remote = local_flow(4, 1);
    remote.table = Table::kRemote;
    EXPECT_TRUE(plan_bundle({remote}, at(local_flow(5, 9))).empty());  // nor does it put a rule in front of the newer one, nor delete that
    remote.epoch = 6;
    EXPECT_EQ(plan_bundle({remote}, at(local_flow(5, 9))).size(), 2u);
}

// An address or a port of the switch that another VM has now: its epoch is no older than that of the VM that had it, nor newer.
TEST(Bundle, WhatAnotherVmHasNowIsNotHeldBackByTheEpochOfTheOneBefore) {
    const auto at = [](const Flow& flow) { return std::vector{to_flow_text(flow)}; };
    const auto answer = [](std::uint64_t epoch, Mac mac) {
        Flow flow{.table = Table::kArp, .priority = 100, .epoch = epoch, .match = {}, .actions = {{Action::Op::kArpReply, mac, 0x0a010005}}};
        flow.match.metadata = 0x65;
        flow.match.ether_type = EtherType::kArp;
        flow.match.arp_op = 1;
        flow.match.arp_tpa = 0x0a010005;
        return flow;
    };
    EXPECT_EQ(plan_bundle({answer(1, 0x0200'0000'0012)}, at(answer(7, 0x0200'0000'0011))), (std::vector<std::string>{"flow add " + flow_text(answer(1, 0x0200'0000'0012))}));
    EXPECT_EQ(plan_bundle({answer(0, 0x0200'5f00'0001)}, at(answer(7, 0x0200'0000'0011))).size(), 1u);  // an anchor
    EXPECT_TRUE(plan_bundle({answer(4, 0x0200'0000'0011)}, at(answer(5, 0x0200'0000'0011))).empty());    // the same answer under a stale record
    EXPECT_EQ(plan_bundle({answer(6, 0x0200'0000'0011)}, at(answer(5, 0x0200'0000'0011))).size(), 1u);
    Flow port{.table = Table::kClassify, .priority = 100, .epoch = 7, .match = {}, .actions = {{Action::Op::kSetMetadata, 0x65}, {Action::Op::kGoto, 1}}};
    port.match.in_port = 5;
    Flow other = port;
    other.epoch = 1;
    other.actions[0].value = 0x66;
    EXPECT_EQ(plan_bundle({other}, at(port)).size(), 1u) << "or it would speak in the other network";
}

TEST(Records, NewestWins) {
    VmRecord old_one, new_one;
    old_one.uuid = new_one.uuid = "u";
    old_one.epoch = 4;
    new_one.epoch = 5;
    new_one.owner = "west";
    EXPECT_EQ(newest({new_one}, {old_one})[0].owner, "west");
    EXPECT_EQ(newest({old_one}, {new_one})[0].owner, "west");
    EXPECT_TRUE(newest({new_one}, {}).empty());
}

TEST(WireGuard, KeyIsMadeOnceAndPrivate) {
    const std::string folder = (std::filesystem::temp_directory_path() / ("blanket-net-" + random_hex(6))).string();
    const std::string path = folder + "/pki/wg.key";
    const auto first = identity(path), second = identity(path);
    ASSERT_TRUE(first && second) << first.error().what;
    EXPECT_EQ(first->secret, second->secret);
    EXPECT_EQ(first->pub, second->pub);
    EXPECT_NE(first->pub, first->secret);
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    ASSERT_TRUE(write_file(path, "nonsense\n", 0600));
    EXPECT_FALSE(identity(path));
    // RFC 7748 section 6.1, Alice's pair.
    ASSERT_TRUE(write_file(path, "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n", 0600));
    EXPECT_EQ(identity(path)->pub, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
    std::filesystem::remove_all(folder);
}

// Whatever they are called: the name is the newcomer's choice, its number is not.
TEST(WireGuard, OfTwoSitesWithOneKeyTheOlderKeepsItsTunnel) {
    const auto site = [](const std::string& name, std::uint32_t index, char key) {
        Site out;
        out.name = name;
        out.index = index;
        out.address = std::format("192.0.2.{}", index);
        out.wireguard_key = base64_encode(std::string(32, key));
        return out;
    };
    const auto peers = [](const std::vector<Site>& sites) {
        std::vector<std::string> warnings;
        std::string out;
        for (const auto& peer : plan_underlay("east", sites, 1500, warnings).peers) out += peer.site + ' ';
        return out + std::to_string(warnings.size());
    };
    const Site east = site("east", 1, 'e'), west = site("west", 2, 'w');
    EXPECT_EQ(peers({east, west}), "west 0");
    EXPECT_EQ(peers({site("a-thief", 3, 'w'), east, west}), "west 1");
    EXPECT_EQ(peers({site("a-thief", 3, 'e'), east, west}), "west 1") << "this site's own key is no peer's";
    Site revoked = site("a-thief", 1, 'w');
    revoked.state = kRevoked;
    EXPECT_EQ(peers({revoked, east, west}), "west 0");
}

// dnsmasq reads them as a lease time, or as an order to serve nobody: the VM gets its address without a name.
TEST(Dhcp, NamesThatDnsmasqReadsOtherwiseAreLeftOut) {
    std::vector<std::string> warnings;
    const auto gateways = plan_gateways({{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390}}, warnings);
    const auto line = [&](const std::string& name) { return plan_dhcp(gateways, {{.vni = 101, .mac = 0x0200'0000'0011, .ip = 0x0a010002, .uuid = {}, .name = name, .port = {}, .hold = {}}}, "/x")[0].hosts[0]; };
    for (const char* name : {"ignore", "infinite", "2h", "10m", "30s", "1d", "1w", "7", "with.dot", "under_score"}) EXPECT_EQ(line(name), "02:00:00:00:00:11,10.1.0.2") << name;
    for (const char* name : {"web", "h", "ignored", "h2", "2hh", "2x", "10-m", "set"}) EXPECT_EQ(line(name), std::string("02:00:00:00:00:11,10.1.0.2,") + name);
}

TEST(Dhcp, VerbFollowsTheChange) {
    const DhcpNet net{.vni = 1, .config = "c", .hosts = {"a,1", "b,2"}};
    EXPECT_EQ(plan_dhcp_verb(net, {}), "restart");
    EXPECT_EQ(plan_dhcp_verb(net, {"c", "a,1\nb,2\n"}), "");
    EXPECT_EQ(plan_dhcp_verb(net, {"c", "a,1\n"}), "reload");
    EXPECT_EQ(plan_dhcp_verb(net, {"c", ""}), "reload");
    EXPECT_EQ(plan_dhcp_verb(net, {"c", "a,1\nz,2\n"}), "restart");  // z may hold the lease of address 2
    EXPECT_EQ(plan_dhcp_verb(net, {"old", "a,1\nb,2\n"}), "restart");
}

}  // namespace
}  // namespace blanket::net::test
