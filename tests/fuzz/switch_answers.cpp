// SPDX-License-Identifier: GPL-2.0-or-later
// What Open vSwitch, `ip` and `wg` answer, read: OVSDB tables and OpenFlow messages through the real sockets, dumps and lists as text.
#include <algorithm>
#include <array>
#include <filesystem>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

#include "net/host.hpp"
#include "net/openflow.hpp"
#include "net/ovs.hpp"
#include "net/switch_socket.hpp"
#include "net/wireguard.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::fuzz {

using namespace net;

const std::size_t target::kHeap = 8u << 20;

namespace {

constexpr const char* kLines = "flow add cookie=0xb1a7000000000001,table=0,priority=100,in_port=5,actions=set_field:0x65->metadata,goto_table:1\n"
                               "flow delete_strict table=9,priority=100,ip,metadata=0x65,dl_dst=02:00:00:00:00:01\n";

// A switch that says the same to everybody, whatever it is asked, in two pieces.
class Switch final {
public:
    explicit Switch(const std::string& path) : path_(path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        ::unlink(path.c_str());
        socket_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        require(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && ::listen(socket_.get(), 4) == 0, "no switch");
    }
    template <typename Ask>
    auto answers(std::span<const std::byte> said, Ask ask) {
        std::jthread serving([&] {
            const UniqueFd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            (void)write_all(client.get(), said.first(said.size() / 2));
            (void)write_all(client.get(), said.subspan(said.size() / 2));
            ::shutdown(client.get(), SHUT_WR);
            std::array<std::byte, 4096> heard;
            while (true)
                if (const auto got = read_some(client.get(), heard); !got || *got == 0) break;
        });
        return ask();
    }

private:
    std::string path_;
    UniqueFd socket_;
};

std::string frame(OpenFlowType type, std::uint32_t xid, std::string_view body = {}) {
    const auto length = 8 + body.size();
    std::string out{5, static_cast<char>(type), static_cast<char>(length >> 8), static_cast<char>(length)};
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(xid >> shift);
    return out.append(body);
}

void tables(std::string_view text) {
    const auto state = parse_switch(text);
    require_refusal(state, "parse_switch");
    if (!state) return;
    const LocalPorts ports = local_ports(*state);
    for (const auto& vm : ports.vms) require(vm.port > 0 && vm.port < 0xff00 && vm.uuid.size() == 36, "a port that is none");
    for (const auto& argv : plan_switch(*state, {}, 0, "system", {}))
        for (const auto& word : argv) require(word.find('\0') == std::string::npos, "a word with an end in it");
    (void)check_switch(*state);
}

void dump(const std::string& text) {
    const auto flows = parse_flow_dump(text);
    require_refusal(flows, "parse_flow_dump");
    if (!flows) return;
    for (const auto& flow : *flows) {
        std::string line = std::format("cookie={:#x}, table={}, priority={}", flow.cookie, flow.table, flow.priority);
        for (const auto& word : flow.match) line += "," + word;
        const auto again = parse_flow_line(line + " actions=" + flow.actions);
        require_value(again, "an entry that was printed");
        require(again->key() == flow.key() && again->actions == flow.actions && again->cookie == flow.cookie, "another entry after printing: " + line);
    }
    (void)plan_bundle({}, *flows);
}

}  // namespace

std::vector<std::string> target::seeds() {
    const std::string uuid = R"(["uuid","00000000-0000-4000-8000-000000000001"])", port = R"(["uuid","00000000-0000-4000-8000-000000000002"])", vif = R"(["uuid","00000000-0000-4000-8000-000000000003"])";
    const std::string bridges = R"({"headings":["_uuid","name","ports","datapath_type","fail_mode"],"data":[[)" + uuid + R"(,"br-int",)" + port + R"(,"system","secure"]]})";
    const std::string ports = R"({"headings":["_uuid","name","interfaces"],"data":[[)" + port + R"(,"vif3.0",["set",[)" + vif + R"(]]]]})";
    const std::string interfaces = R"({"headings":["_uuid","name","type","ofport","external_ids","options","mac","mtu_request","error"],"data":[[)" + vif +
                                   R"(,"vif3.0","",7,["map",[["vm-uuid","11111111-2222-4333-8444-555555555555"],["vm-mac","02:00:00:00:00:01"]]],["map",[]],["set",[]],1390,["set",[]]]]})";
    const std::string reply = R"({"id":1,"error":null,"result":[{"rows":[{"_uuid":)" + uuid + R"(,"name":"br-int","ports":)" + port + R"(,"datapath_type":"system","fail_mode":"secure"}]},{"rows":[{"_uuid":)" + port +
                              R"(,"name":"vif3.0","interfaces":)" + vif + R"(}]},{"rows":[{"_uuid":)" + vif +
                              R"(,"name":"vif3.0","type":"","ofport":7,"external_ids":["map",[]],"options":["map",[]],"mac":"","mtu_request":["set",[]],"error":""}]}]})";
    const std::string committed("\0\0\0\1\0\5\0\3", 8), hello = frame(OpenFlowType::kHello, 1);
    return {"t" + bridges + "\n" + ports + "\n" + interfaces + "\n", "t{\"headings\":[\"ports\",\"ports\"],\"data\":[[1]]}\n{\"headings\":[],\"data\":[]}\n{\"headings\":[],\"data\":[]}\n", "o" + reply,
            R"(o{"id":1,"error":null,"result":[{"error":"x","details":"y"},{},7]})", "o[]", "o7}",
            "b" + hello + frame(OpenFlowType::kEchoRequest, 9, "abc") + frame(OpenFlowType::kBarrierReply, 5) + frame(OpenFlowType::kBundleControl, 6, committed),
            "b" + hello + frame(OpenFlowType::kError, 3, std::string("\0\1\0\2", 4)), "b" + hello + frame(OpenFlowType::kError, 3, "x"), "b" + std::string("\5\0\0\7\0\0\0\1", 8),
            "d cookie=0xb1a7000000000001, duration=1.5s, table=10, n_packets=3, n_bytes=4, priority=100,ip,metadata=0x65,dl_dst=02:00:00:00:00:01 actions=output:7\n",
            "dOFPST_FLOW reply (OF1.4) (xid=0x2):\n table=0 actions=drop\n", "l" + std::string(kLines), "lpacket-out in_port=controller,packet=ffff,actions=output:1,output:2\n",
            R"(i[{"ifname":"wg-blanket","flags":["UP"],"mtu":1440,"addr_info":[{"family":"inet","local":"10.213.1.1","prefixlen":16}]},{}])",
            "wSECRET\tPUBLIC\t51820\toff\nkw=\t(none)\t203.0.113.7:51820\t10.213.2.0/24\t1700000000\t1000\t2000\t25\nkx=\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"};
}

void target::run(Input input) {
    static const std::string folder = [] {
        const std::string made = scratch("ovs");
        std::filesystem::create_directories(made);
        ::setenv("OVS_RUNDIR", made.c_str(), 1);
        return made;
    }();
    static Switch database(folder + "/db.sock"), bridge(folder + "/br-int.mgmt");
    constexpr auto kDeadline = std::chrono::seconds(5);
    const char way = static_cast<char>(input.byte());
    const auto said = input.rest();
    const std::string text = input.text(said);
    if (way == 't') tables(text);
    if (way == 'd') dump(text);
    if (way == 'i') {
        const auto links = parse_links(text);
        require_refusal(links, "parse_links");
    }
    if (way == 'w') {
        const auto peers = parse_wireguard_dump(text);
        require_refusal(peers, "parse_wireguard_dump");
        require(!peers || peers->size() <= 4096, "too many peers");
        (void)parse_wireguard_endpoints(text);
    }
    if (way == 'l') {
        const auto bundle = encode_bundle(text, 2);
        require_refusal(bundle, "encode_bundle", Kind::kPrecondition);
        if (!bundle) return;
        // Messages that follow one another to the end, each as long as it says.
        for (std::span<const std::byte> left = bundle->lines; !left.empty();) {
            const auto head = parse_head(left);
            require_value(head, "a message of ours");
            require(head->version == 5 && head->length <= left.size(), "a message that is cut short");
            left = left.subspan(head->length);
        }
    }
    if (way == 'o') {
        const auto answer = database.answers(said, [&] { return read_tables("br-int", kDeadline); });
        require_refusal(answer, "read_tables", Kind::kIo);
        if (answer) tables(*answer);
    }
    if (way == 'b') require_refusal(bridge.answers(said, [&] { return send_bundle("br-int", kLines, kDeadline); }), "send_bundle", Kind::kIo);
}

}  // namespace blanket::fuzz
