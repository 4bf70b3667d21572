// SPDX-License-Identifier: GPL-2.0-or-later
// trace: every way in which a packet ends, with its reason, and the comparison with the switch.
#include <algorithm>
#include <gtest/gtest.h>

#include "net/trace.hpp"

namespace blanket::net::test {
namespace {

constexpr const char* kTraceUuid = "00000000-0000-4000-8000-00000000000";

class TraceTest : public ::testing::Test {
protected:
    void SetUp() override {
        here.site = "east";
        here.nets = {{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390}, {"other", 102, "10.1.0.0/24", "10.1.0.1", 1390}};
        for (const auto& [name, index] : {std::pair("east", 1u), std::pair("west", 2u), std::pair("witness", 0u)}) {
            Site site;
            site.name = name;
            site.index = index;
            here.sites.push_back(site);
        }
        here.ports.tunnel = 1;
        here.ports.gateways = {{101, 2}, {102, 3}};
        add(1, "web", "east", "lan", 2, 10);
        add(2, "db", "east", "lan", 3, 11);
        add(3, "far", "west", "lan", 4, 0);
        add(4, "idle", "east", "lan", 5, 0);
        here.vms.back().phase = Phase::kStopped;
        add(5, "twin", "east", "other", 2, 12);
    }
    void add(unsigned number, const std::string& name, const std::string& owner, const std::string& net, unsigned host, std::uint32_t port) {
        VmRecord vm;
        vm.uuid = kTraceUuid + std::to_string(number);
        vm.name = name;
        vm.owner = owner;
        vm.phase = Phase::kRunning;
        vm.nics = {{net, std::format("02:00:00:00:00:{:02x}", 0x10 + host), std::format("10.1.0.{}", host)}};
        if (port != 0) here.ports.vms.push_back({vm.uuid, Mac{0x0200'0000'0010} + host, port, std::format("vif{}.0", port)});
        here.vms.push_back(vm);
    }
    std::vector<FlowText> planned() const {
        std::vector<std::string> quiet;
        std::vector<FlowText> out;
        for (const auto& flow : plan_flows(here, quiet)) out.push_back(to_flow_text(flow));
        return out;
    }
    Trace ask(const std::string& from, const std::string& to, IpProto proto = IpProto::kIcmp, std::uint16_t port = 0) const {
        const auto installed = planned();
        const auto traced = trace(here, &installed, {from, to, proto, port});
        EXPECT_TRUE(traced) << traced.error().what;
        return traced.value_or(Trace{});
    }
    static std::string way(const Trace& trace, std::string_view which) {
        std::string out;
        for (const auto& hop : trace.hops)
            if (hop.way == which) out += (out.empty() ? "" : " ") + hop.site + ":" + hop.table;
        return out;
    }
    World here;
};

TEST_F(TraceTest, BetweenVmsOfThisSite) {
    const Trace seen = ask("web", "10.1.0.3", IpProto::kTcp, 443);
    EXPECT_EQ(seen.verdict, "delivered");
    EXPECT_EQ(seen.answer, "delivered");
    EXPECT_EQ(seen.reason, "VM 'db' at 'east' gets it");
    EXPECT_EQ(way(seen, "arp"), "east:classify east:port-security east:arp");
    EXPECT_EQ(way(seen, "there"), way(seen, "back"));
    EXPECT_EQ(seen.hops[2].verdict, "answered: 10.1.0.3 is at 02:00:00:00:00:13");
    EXPECT_TRUE(seen.differences.empty());
    for (const auto& hop : seen.hops) EXPECT_EQ(hop.installed, "yes") << hop.table;
    EXPECT_EQ(ask("10.1.0.4", "10.1.0.3").from, "far") << "an address names its VM";
    EXPECT_EQ(ask("web", "db").to_ip, "10.1.0.3");
}

TEST_F(TraceTest, ToAnotherSiteAndBack) {
    for (const auto& seen : {ask("web", "10.1.0.4", IpProto::kUdp, 53), ask("far", "10.1.0.2", IpProto::kUdp, 53)}) {
        EXPECT_EQ(seen.verdict, "delivered");
        EXPECT_EQ(seen.answer, "delivered");
        EXPECT_TRUE(way(seen, "there").contains("tunnel-ingress")) << way(seen, "there");
        for (const auto& hop : seen.hops) EXPECT_EQ(hop.installed, hop.site == "east" ? "yes" : "");
    }
    EXPECT_EQ(ask("web", "far").reason, "VM 'far' at 'west' gets it");
}

TEST_F(TraceTest, DropsSayWhyAndWhatNext) {
    const auto expect = [&](const Trace& seen, std::string_view reason, std::string_view next) {
        EXPECT_EQ(seen.verdict, "dropped");
        EXPECT_TRUE(seen.reason.contains(reason)) << seen.reason;
        EXPECT_TRUE(seen.next.contains(next)) << seen.next;
    };
    expect(ask("web", "10.1.0.77"), "no VM of the network has the address 10.1.0.77", "blanket vm list");
    expect(ask("web", "10.1.0.5"), "VM 'idle' is stopped", "blanket vm start idle");
    expect(ask("idle", "10.1.0.2"), "VM 'idle' is stopped", "blanket vm start idle");
    expect(ask("web", "192.0.2.1"), "no way out", "blanket net list");
    expect(ask("web", "169.254.169.254"), "no way out", "blanket net list");
    expect(ask("web", "10.1.0.255"), "no host's address", "");
    expect(ask("web", "10.1.0.2"), "own address", "--to");
    expect(ask("web", "10.1.0.1", IpProto::kTcp, 22), "echo and answers", "from the host");
    expect(ask("web", "10.1.0.3", IpProto::kUdp, 67), "DHCP", "another port");
    here.ports.vms.erase(here.ports.vms.begin() + 1);
    expect(ask("web", "10.1.0.3"), "no network card", "ovs-vsctl show");
    here.ports.tunnel = 0;
    expect(ask("web", "10.1.0.4"), "has no tunnel", "blanket path list");
}

TEST_F(TraceTest, GatewayAnswersEchoOnly) {
    const Trace seen = ask("web", "10.1.0.1");
    EXPECT_EQ(seen.verdict, "delivered");
    EXPECT_EQ(seen.answer, "delivered");
    EXPECT_EQ(seen.reason, "the host 'east' (gw101) at 'east' gets it");
}

TEST_F(TraceTest, AVmThatLeavesIsFollowed) {
    VmRecord& db = here.vms[1];
    db.phase = Phase::kMigrating;
    db.migration = Migration{"m", "west"};
    here.handovers = {{db.uuid, "west", Handover::Way::kLeaving}};
    const Trace seen = ask("web", "10.1.0.3");
    EXPECT_EQ(seen.hops.back().site, "west") << "the redirect leads there; west's own records do not deliver yet";
    EXPECT_EQ(seen.verdict, "dropped");
    EXPECT_TRUE(seen.reason.contains("VM 'db' is at 'east'")) << seen.reason;
    here.handovers[0].way = Handover::Way::kOut;
    const Trace closed = ask("db", "10.1.0.2");
    EXPECT_TRUE(closed.reason.contains("being handed over to 'west'")) << closed.reason;
}

TEST_F(TraceTest, NamesWhatTheSwitchHasOtherwise) {
    auto installed = planned();
    const auto local = std::ranges::find_if(installed, [](const FlowText& flow) { return flow.actions == "output:11" && flow.key().starts_with("table=10"); });
    ASSERT_NE(local, installed.end());
    const auto with = [&] { return trace(here, &installed, {"web", "10.1.0.3", IpProto::kIcmp, 0}).value(); };
    local->actions = "output:99";
    Trace seen = with();
    ASSERT_EQ(seen.differences.size(), 1u);
    EXPECT_TRUE(seen.differences[0].starts_with("planned, but not so in the switch: ")) << seen.differences[0];
    EXPECT_TRUE(std::ranges::any_of(seen.hops, [](const TraceHop& hop) { return hop.table == "local" && hop.installed == "differs"; }));
    installed.erase(local);
    seen = with();
    EXPECT_TRUE(std::ranges::any_of(seen.hops, [](const TraceHop& hop) { return hop.table == "local" && hop.installed == "missing"; }));
    installed = planned();
    installed.push_back(parse_flow_line("cookie=0x0, table=0, priority=65000,ip actions=drop").value());
    seen = with();
    ASSERT_EQ(seen.differences.size(), 1u);
    EXPECT_EQ(seen.differences[0], "in the switch, but not planned: table=0,priority=65000,ip");
    installed.clear();
    EXPECT_EQ(with().differences.size(), kMaxDifferences);
    EXPECT_TRUE(trace(here, nullptr, {"web", "10.1.0.3", IpProto::kIcmp, 0}).value().differences.empty());
}

TEST_F(TraceTest, FromOutsideToAPublicPort) {
    here.nets[1].cidr = "10.2.0.0/24";
    here.nets[1].gateway = "10.2.0.1";
    here.vms[4].nics[0].ip = "10.2.0.2";
    here.nets[0].anchors = {{"east", "10.1.0.254", {{here.vms[0].uuid, RuleProto::kTcp, 8080, 80}, {here.vms[2].uuid, RuleProto::kTcp, 80, 80}}}, {"west", "10.1.0.253", {{here.vms[0].uuid, RuleProto::kUdp, 53, 53}}}};
    const auto from_outside = [&](const std::string& vm, const std::string& port, const std::string& site = {}) {
        const auto installed = planned();
        return trace(here, &installed, parse_public_query(vm, port, site).value());
    };
    const Trace near = from_outside("web", "tcp:8080").value();
    EXPECT_EQ(near.verdict, "delivered") << near.reason;
    EXPECT_EQ(near.answer, "delivered") << near.reason;
    EXPECT_EQ(way(near, "there"), "east:host east:classify east:source-group east:target-group east:egress east:ingress east:remote east:local");
    EXPECT_EQ(near.hops.front().verdict, "to 10.1.0.2:80, as from 10.1.0.254, by gw101");
    EXPECT_EQ(near.hops.back().table, "host");
    EXPECT_TRUE(near.differences.empty());
    const Trace far = from_outside("far", "tcp:80", "east").value();
    EXPECT_EQ(far.answer, "delivered") << far.reason;
    EXPECT_TRUE(way(far, "there").contains("west:tunnel-ingress") && way(far, "back").contains("east:tunnel-ingress")) << way(far, "there") << way(far, "back");
    here.ports.tunnel = 1;
    const auto missing = from_outside("web", "tcp:8081");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind, Kind::kNotFound);
    EXPECT_TRUE(missing.error().what.contains("it has tcp:8080 at 'east', udp:53 at 'west'")) << missing.error().what;
    EXPECT_FALSE(from_outside("web", "tcp:8080", "west"));
    EXPECT_FALSE(parse_public_query("web", "8080", ""));
    EXPECT_TRUE(ask("web", "10.1.0.254", IpProto::kTcp, 443).reason.contains("stands for the outside world")) << ask("web", "10.1.0.254", IpProto::kTcp, 443).reason;
    here.nets[0].groups = {{.name = "closed", .everybody = true, .rules = default_rules(), .vms = {}}};
    const Trace closed = from_outside("web", "tcp:8080").value();
    EXPECT_EQ(closed.verdict, "dropped");
    EXPECT_TRUE(closed.reason.contains("'closed', and no rule there does let it in")) << closed.reason;
}

TEST_F(TraceTest, WrongQuestionsAreRefused) {
    const auto refused = [&](const std::string& from, const std::string& to) { return trace(here, nullptr, {from, to, IpProto::kIcmp, 0}).error(); };
    EXPECT_EQ(refused("ghost", "10.1.0.3").kind, Kind::kNotFound);
    EXPECT_EQ(refused("10.1.0.2", "10.1.0.3").kind, Kind::kInvalid) << "two nets have that address";
    EXPECT_EQ(refused("web", "nowhere").kind, Kind::kInvalid);
    EXPECT_EQ(refused("web", "10.1.0").kind, Kind::kInvalid);
    here.vms[0].nics[0].ip = "10.9.0.1";
    EXPECT_TRUE(refused("web", "10.1.0.3").what.contains("no network card that can be used")) << refused("web", "10.1.0.3").what;
    struct Words {
        const char *from, *to, *proto, *port;
    };
    for (const Words& bad : {Words{"", "a", "icmp", ""}, {"a", "", "icmp", ""}, {"a", "b", "sctp", ""}, {"a", "b", "tcp", ""}, {"a", "b", "udp", "0"}, {"a", "b", "tcp", "65536"}, {"a", "b", "icmp", "7"}})
        EXPECT_EQ(parse_trace_query(bad.from, bad.to, bad.proto, bad.port).error().kind, Kind::kInvalid) << bad.proto << bad.port;
    EXPECT_EQ(parse_trace_query("a", "b", "tcp", "443").value().port, 443);
}

}  // namespace
}  // namespace blanket::net::test
