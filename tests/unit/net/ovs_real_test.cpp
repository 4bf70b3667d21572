// SPDX-License-Identifier: GPL-2.0-or-later
// Against a true ovs-vswitchd with dummy devices (no privileges, no kernel part): every flow text is taken, reads back as it was written, and
// ofproto/trace agrees with the interpreter. Links, WireGuard, firewall and units are faked.
#include "fake_host.hpp"

#include <fcntl.h>
#include <filesystem>
#include <thread>

#include "interpreter.hpp"
#include "net/overlay_ovs.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::net::test {
namespace {

constexpr const char* kWeb = "00000000-0000-4000-8000-000000000001";
constexpr const char* kClient = "00000000-0000-4000-8000-000000000002";
constexpr const char* kFar = "00000000-0000-4000-8000-000000000003";

// ovs-* commands are run, others are faked.
class HalfReal final : public FakeHost {
public:
    Result<std::string> run(const Command& command) override {
        if (!command.argv[0].starts_with("ovs-")) return FakeHost::run(command);
        log.push_back(to_string(command.argv));
        if (command.argv[0] == "ovs-vsctl")
            for (const auto& word : command.argv)
                if (word.starts_with("gw")) links.try_emplace(word, 1500u, std::vector<std::string>{});
        return SystemRunner().run(command);
    }
};

class RealOvs : public ::testing::Test {
protected:
    void SetUp() override {
        if (!std::filesystem::exists("/usr/sbin/ovs-vswitchd")) GTEST_SKIP() << "ovs-vswitchd is not installed";
        folder_ = "/tmp/bn-" + random_hex(4);
        ASSERT_TRUE(make_dirs(folder_));
        for (const char* name : {"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"}) ::setenv(name, folder_.c_str(), 1);
        const std::string db = "unix:" + folder_ + "/db.sock";
        ASSERT_TRUE(blanket::run({"ovsdb-tool", "create", folder_ + "/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"}));
        quiet_ = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        start({"ovsdb-server", folder_ + "/conf.db", "--remote=p" + db, "--unixctl=" + folder_ + "/db.ctl"});
        ASSERT_TRUE(blanket::run({"ovs-vsctl", "--timeout=10", "--retry", "--no-wait", "init"}));
        start({"ovs-vswitchd", "--enable-dummy=override", "--disable-system", db, "--unixctl=" + folder_ + "/vswitchd.ctl"});
        overlay_ = OvsOverlay::create({.site = "east", .key_path = folder_ + "/wg.key", .dhcp_folder = folder_ + "/dhcp", .datapath = "dummy"}, &host_).value();
        for (unsigned i = 1; i <= 3; ++i) {
            Site site;
            site.name = std::vector<std::string>{"east", "west", "north"}[i - 1];
            site.index = i;
            site.address = std::format("192.0.2.{}", i);
            site.wireguard_key = base64_encode(std::string(31, 'k') + static_cast<char>('0' + i));
            sites_.push_back(site);
        }
        nets_ = {{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390}, {"other", 102, "10.1.0.0/24", "10.1.0.1", 1390}};
        vms_ = {vm(kWeb, "web", "east", {{"lan", "02:00:00:00:00:11", "10.1.0.2"}}),
                vm(kClient, "client", "east", {{"lan", "02:00:00:00:00:12", "10.1.0.3"}, {"other", "02:00:00:00:00:11", "10.1.0.2"}}),
                vm(kFar, "far", "north", {{"lan", "02:00:00:00:00:14", "10.1.0.4"}})};
    }
    void TearDown() override {
        children_.clear();  // kills and reaps
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }
    void start(const Argv& argv) {
        auto child = Child::spawn(argv, {.in = -1, .out = quiet_.get(), .err = quiet_.get(), .pass = {}});
        ASSERT_TRUE(child) << child.error().what;
        children_.insert(children_.begin(), std::move(*child));
    }
    static VmRecord vm(const std::string& uuid, const std::string& name, const std::string& owner, std::vector<Nic> nics) {
        VmRecord out;
        out.uuid = uuid;
        out.name = name;
        out.owner = owner;
        out.epoch = 3;
        out.phase = Phase::kRunning;
        out.nics = std::move(nics);
        return out;
    }
    static void plug(const std::string& name, const std::string& uuid, const std::string& mac) {
        ASSERT_TRUE(blanket::run({"ovs-vsctl", "--timeout=10", "--may-exist", "add-port", "br-int", name, "--", "set", "Interface", name, "type=dummy",
                                  "external_ids:vm-uuid=" + uuid, std::format("external_ids:vm-mac=\"{}\"", mac)}));
    }
    static std::vector<FlowText> dump() { return parse_flow_dump(SystemRunner().run(commands::flows_read()).value()).value(); }
    World world(std::vector<Handover> handovers = {}) {
        World out{.site = "east", .nets = nets_, .vms = vms_, .sites = sites_, .ports = {}, .handovers = std::move(handovers)};
        out.ports = local_ports(parse_switch(SystemRunner().run(commands::switch_read()).value()).value());
        return out;
    }
    static void expect_installed(const std::vector<Flow>& want) {
        const auto have = dump();
        EXPECT_EQ(have.size(), want.size());
        for (const auto& line : plan_bundle(want, have)) ADD_FAILURE() << "read back differently: " << line;
    }
    // The OpenFlow outputs of a trace, in order, without those that Open vSwitch skips.
    static std::vector<std::uint32_t> trace(const Frame& frame, std::uint32_t in_port) {
        std::string flow = std::format("in_port={},dl_src={},dl_dst={}", in_port, format_mac(frame.eth_src), format_mac(frame.eth_dst));
        if (frame.ether_type == 0x0806)
            flow += std::format(",arp,arp_op={},arp_spa={},arp_tpa={},arp_sha={}", frame.arp_op, format_ipv4(frame.arp_spa), format_ipv4(frame.arp_tpa),
                                format_mac(frame.arp_sha));
        else {
            flow += std::format(",{},nw_src={},nw_dst={},nw_ttl=64", frame.ip_proto == 1 ? "icmp" : frame.ip_proto == 6 ? "tcp" : "udp",
                                format_ipv4(frame.ip_src), format_ipv4(frame.ip_dst));
            if (frame.ip_proto == 1) flow += std::format(",icmp_type={}", frame.icmp_type);
            else flow += std::format(",{0}_src={1},{0}_dst={2}", frame.ip_proto == 6 ? "tcp" : "udp", frame.l4_src, frame.l4_dst);
            if (frame.ip_proto == 6) flow += std::format(",tcp_flags={:#x}", (frame.syn ? 2 : 0) | (frame.ack ? 16 : 0));
        }
        if (frame.tun_id != 0) flow += std::format(",tun_id={},tun_src={}", frame.tun_id, format_ipv4(frame.tun_src));
        const auto text = blanket::run({"ovs-appctl", "--timeout=10", "-t", std::string(::getenv("OVS_RUNDIR")) + "/vswitchd.ctl", "ofproto/trace", "br-int", flow});
        EXPECT_TRUE(text) << (text ? "" : text.error().what);
        std::vector<std::uint32_t> out;
        for (const auto& line : split(text.value_or(""), '\n')) {
            const auto word = trim(line);
            if (word.starts_with("output:")) out.push_back(static_cast<std::uint32_t>(parse_number(word.substr(7), 1, 65535, "port").value_or(0)));
            else if (word == "IN_PORT") out.push_back(in_port);
            else if (word.contains("skipping output to input port")) out.pop_back();
        }
        return out;
    }

    std::string folder_;
    UniqueFd quiet_;
    std::vector<Child> children_;
    HalfReal host_;
    std::unique_ptr<OvsOverlay> overlay_;
    std::vector<Net> nets_;
    std::vector<VmRecord> vms_;
    std::vector<Site> sites_;
};

TEST_F(RealOvs, TakesThePlanReadsItBackAndTracesLikeTheInterpreter) {
    auto done = overlay_->apply(nets_, vms_, sites_);
    ASSERT_TRUE(done) << done.error().what;
    plug("vif1.0", kWeb, "02:00:00:00:00:11");
    plug("vif2.0", kClient, "02:00:00:00:00:12");
    plug("vif2.1", kClient, "02:00:00:00:00:11");
    done = overlay_->activate(vms_[0]);
    ASSERT_TRUE(done) << done.error().what;
    done = overlay_->apply(nets_, vms_, sites_);
    ASSERT_TRUE(done) << done.error().what;
    expect_installed(plan_flows(world(), *std::make_unique<std::vector<std::string>>()));
    host_.log.clear();
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));
    EXPECT_EQ(host_.count("bundle"), 0u);

    const auto moving = [&] {
        VmRecord record = vms_[0];
        record.phase = Phase::kMigrating;
        record.migration = Migration{"m", "west"};
        return record;
    }();
    vms_[0] = moving;
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));
    for (const bool redirected : {false, true}) {
        if (redirected) {
            const auto begin = std::chrono::steady_clock::now();
            done = overlay_->redirect(moving, sites_[1]);
            ASSERT_TRUE(done) << done.error().what;
            RecordProperty("redirect_us", static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count()));
        }
        const World now = world(redirected ? std::vector<Handover>{{kWeb, "west", Handover::Way::kOut}} : std::vector<Handover>{});
        std::vector<std::string> warnings;
        const auto flows = plan_flows(now, warnings);
        expect_installed(flows);
        const auto port = [&](const char* uuid, Mac mac) {
            for (const auto& item : now.ports.vms)
                if (item.uuid == uuid && item.mac == mac) return item.port;
            return 0u;
        };
        const std::uint32_t web = port(kWeb, 0x0200'0000'0011), client = port(kClient, 0x0200'0000'0012), elsewhere = port(kClient, 0x0200'0000'0011),
                            tunnel = now.ports.tunnel, gateway = now.ports.gateways.at(101);
        ASSERT_TRUE(web && client && elsewhere && tunnel && gateway);
        constexpr Mac kWebMac = 0x0200'0000'0011, kClientMac = 0x0200'0000'0012, kFarMac = 0x0200'0000'0014;
        constexpr std::uint32_t kNet = 0x0a010000, kNorth = 0x0ad50301, kWest = 0x0ad50201;
        const Frame frames[] = {
            {.eth_src = kClientMac, .eth_dst = kWebMac, .ip_src = kNet + 3, .ip_dst = kNet + 2},
            {.eth_src = kClientMac, .eth_dst = kFarMac, .ip_src = kNet + 3, .ip_dst = kNet + 4},
            {.eth_src = kClientMac, .eth_dst = kWebMac, .ip_src = kNet + 9, .ip_dst = kNet + 2},
            {.eth_src = kClientMac, .eth_dst = 0x0200'0000'0077, .ip_src = kNet + 3, .ip_dst = kNet + 7},
            {.eth_src = kClientMac, .eth_dst = kBroadcastMac, .ip_src = 0, .ip_dst = 0xffff'ffff, .l4_src = 68, .l4_dst = 67},
            {.eth_src = kClientMac, .eth_dst = gateway_mac(101), .ip_src = kNet + 3, .ip_dst = kNet + 1, .ip_proto = 1, .icmp_type = 8},
            {.eth_src = kClientMac, .eth_dst = gateway_mac(101), .ip_src = kNet + 3, .ip_dst = kNet + 1, .ip_proto = 6, .syn = true},
            {.eth_src = kClientMac, .eth_dst = gateway_mac(101), .ip_src = kNet + 3, .ip_dst = kNet + 1, .ip_proto = 6, .syn = true, .ack = true},
            {.eth_src = kClientMac, .eth_dst = kFarMac, .ip_src = kNet + 3, .ip_dst = 0xa9fea9fe},
            {.eth_src = kClientMac, .eth_dst = kBroadcastMac, .ether_type = 0x0806, .arp_spa = kNet + 3, .arp_tpa = kNet + 4, .arp_sha = kClientMac},
            {.eth_src = kClientMac, .eth_dst = kBroadcastMac, .ether_type = 0x0806, .arp_spa = kNet + 3, .arp_tpa = kNet + 8, .arp_sha = kClientMac},
            {.eth_src = kFarMac, .eth_dst = kClientMac, .ip_src = kNet + 4, .ip_dst = kNet + 3, .tun_id = 101, .tun_src = kNorth},
            {.eth_src = kFarMac, .eth_dst = kWebMac, .ip_src = kNet + 4, .ip_dst = kNet + 2, .tun_id = 101, .tun_src = kNorth},
            {.eth_src = kFarMac, .eth_dst = kClientMac, .ip_src = kNet + 4, .ip_dst = kNet + 3, .tun_id = 101, .tun_src = kWest},
            {.eth_src = kFarMac, .eth_dst = kWebMac, .ip_src = kNet + 4, .ip_dst = kNet + 2, .tun_id = 102, .tun_src = kNorth},
            {.eth_src = kWebMac, .eth_dst = kClientMac, .ip_src = kNet + 2, .ip_dst = kNet + 3, .tun_id = 101, .tun_src = kWest},
        };
        unsigned outputs = 0;
        for (const auto& frame : frames) {
            const std::uint32_t in = frame.tun_id != 0 ? tunnel : client;
            std::vector<std::uint32_t> want;
            for (const auto& sent : walk(flows, frame, in)) want.push_back(sent.port);
            outputs += static_cast<unsigned>(want.size());
            EXPECT_EQ(trace(frame, in), want) << "frame " << (&frame - frames) << (redirected ? " while redirected" : "");
        }
        EXPECT_EQ(outputs, redirected ? 9u : 8u);
    }
    ASSERT_TRUE(overlay_->undo_redirect(moving));
    expect_installed(plan_flows(world(), *std::make_unique<std::vector<std::string>>()));
}

// Registers, masked ports and prefixes: the switch takes the entries of security groups by our own codec, prints them as we do, and decides as the interpreter.
TEST_F(RealOvs, SecurityGroups) {
    SecurityRule any_out, web, ping, answers;
    any_out.ingress = false;
    web.proto = RuleProto::kTcp;
    web.first_port = 80;
    web.last_port = 90;
    web.remote_group = "clients";
    ping.proto = RuleProto::kIcmp;
    ping.remote = "10.1.0.2/31";
    answers.proto = RuleProto::kTcp;
    answers.established = true;
    nets_[0].groups = {{.name = "web", .everybody = false, .rules = {any_out, web, ping, answers}, .vms = {kWeb}}, {.name = "clients", .everybody = false, .rules = {any_out, answers}, .vms = {kClient, kFar}}};
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));
    plug("vif1.0", kWeb, "02:00:00:00:00:11");
    plug("vif2.0", kClient, "02:00:00:00:00:12");
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));
    std::vector<std::string> warnings;
    const World now = world();
    const auto flows = plan_flows(now, warnings);
    expect_installed(flows);
    host_.log.clear();
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));
    EXPECT_EQ(host_.count("bundle"), 0u) << "what was printed back is what was planned";
    constexpr Mac kWebMac = 0x0200'0000'0011, kClientMac = 0x0200'0000'0012, kFarMac = 0x0200'0000'0014;
    constexpr std::uint32_t kNet = 0x0a010000, kNorth = 0x0ad50301;
    std::uint32_t client = 0, web_port = 0;
    for (const auto& port : now.ports.vms) (port.uuid == kClient ? client : web_port) = port.port;
    ASSERT_TRUE(client && web_port);
    unsigned passed = 0;
    for (const unsigned port : {79u, 80u, 87u, 88u, 90u, 91u, 443u})
        for (const bool ack : {false, true})
            for (const bool far : {false, true}) {
                Frame frame{.eth_src = far ? kFarMac : kClientMac, .eth_dst = kWebMac, .ip_src = kNet + (far ? 4u : 3u), .ip_dst = kNet + 2, .ip_proto = 6, .l4_dst = static_cast<std::uint16_t>(port), .syn = !ack, .ack = ack};
                if (far) {
                    frame.tun_id = 101;
                    frame.tun_src = kNorth;
                }
                const bool want = ack || (port >= 80 && port <= 90);
                const auto got = trace(frame, far ? now.ports.tunnel : client);
                EXPECT_EQ(got, want ? std::vector{web_port} : std::vector<std::uint32_t>{}) << port << ack << far;
                EXPECT_EQ(walk(flows, frame, far ? now.ports.tunnel : client).size(), got.size());
                passed += want ? 1 : 0;
            }
    EXPECT_EQ(passed, 22u);
    Frame ping_frame{.eth_src = kClientMac, .eth_dst = kWebMac, .ip_src = kNet + 3, .ip_dst = kNet + 2, .ip_proto = 1, .icmp_type = 8};
    EXPECT_EQ(trace(ping_frame, client), std::vector{web_port});
    std::swap(ping_frame.eth_src, ping_frame.eth_dst);
    std::swap(ping_frame.ip_src, ping_frame.ip_dst);
    EXPECT_TRUE(trace(ping_frame, web_port).empty()) << "no rule of the clients lets ICMP in";
}

// What our own codec does not know goes by ovs-ofctl; what the switch refuses is told, and nothing of that bundle stays.
TEST_F(RealOvs, BundlesOfForeignAndBadWords) {
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));
    const auto before = dump();
    const auto change = [](const std::string& lines) { return SystemRunner().run(commands::flows_change(lines)); };
    ASSERT_TRUE(change("flow add cookie=0xb1a7000000000000,table=0,priority=7,ip,nw_tos=4,actions=drop\n"));
    EXPECT_EQ(dump().size(), before.size() + 1);
    ASSERT_TRUE(overlay_->apply(nets_, vms_, sites_));  // an entry of ours that is not wanted goes, whatever its words
    EXPECT_EQ(dump().size(), before.size());
    const auto refused = change("flow add cookie=0xb1a7000000000000,table=0,priority=7,ip,actions=drop\nflow add table=9,priority=1,ip,actions=set_field:0x1->tun_id,output:99999999\n");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kIo) << refused.error().what;
    EXPECT_EQ(dump().size(), before.size());
    ::setenv("OVS_RUNDIR", "/nowhere", 1);
    EXPECT_EQ(change("flow add table=0,priority=1,ip,actions=drop\n").error().kind, Kind::kUnavailable);
    EXPECT_EQ(SystemRunner().run(commands::switch_read()).error().kind, Kind::kUnavailable);
    ::setenv("OVS_RUNDIR", folder_.c_str(), 1);
}

}  // namespace
}  // namespace blanket::net::test
