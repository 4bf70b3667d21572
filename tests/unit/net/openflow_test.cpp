// SPDX-License-Identifier: GPL-2.0-or-later
// OpenFlow messages byte by byte, and what must be refused. That a true Open vSwitch understands every message is in ovs_real_test.cpp.
#include "net/openflow.hpp"

#include <filesystem>
#include <gtest/gtest.h>
#include <random>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

#include "net/switch_socket.hpp"
#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

std::string hex(std::span<const std::byte> bytes) {
    std::string out;
    for (const auto byte : bytes) out += std::format("{:02x}", std::to_integer<unsigned>(byte));
    return out;
}

TEST(OpenFlow, ABundleByteByByte) {
    const auto bundle = encode_bundle("flow add cookie=0xb1a7000000000003,table=6,priority=200,ip,metadata=0x65,dl_dst=02:00:00:00:00:11,hard_timeout=120,"
                                      "actions=set_field:0->in_port,set_field:10.213.2.1->tun_dst,output:7\n", 16);
    ASSERT_TRUE(bundle) << bundle.error().what;
    EXPECT_EQ(bundle->barrier_xid, 18u);
    EXPECT_EQ(bundle->commit_xid, 19u);
    EXPECT_EQ(hex(bundle->commit), "0521001000000013" "00000001" "0004" "0003");
    EXPECT_EQ(hex(bundle->lines),
              "0521001000000010" "00000001" "0000" "0003"                  // open: bundle 1, atomic and ordered
              "0522009800000011" "00000001" "0000" "0003"                  // add
              "050e008800000011" "b1a7000000000003" "0000000000000000"     // flow mod, cookie, mask
              "06" "00" "0000" "0078" "00c8" "ffffffff" "ffffffff" "ffffffff" "0000" "0000"
              "0001" "0020" "80000a020800" "8000040800000000000000" "65" "80000606020000000011"  // match: 4 + 6 + 12 + 10 bytes
              "0004" "0038" "00000000"                                      // apply actions
              "0019" "0010" "00000002" "0000" "000000000000"                // in_port
              "0019" "0010" "00014004" "0ad50201" "00000000"                // tun_dst
              "0000" "0010" "00000007" "ffff" "000000000000"                // output
              "0514000800000012");                                            // barrier
}

TEST(OpenFlow, WordsOfOthersAreLeftToOvsOfctl) {
    for (const char* line : {"flow add table=0,priority=1,ip,nw_tos=4,actions=drop", "flow add table=0,priority=1,ip,actions=mod_vlan_vid:3", "flow modify table=0,actions=drop",
                             "flow add table=0,ip,actions=goto_table:1,output:3", "flow add table=0,tcp,tcp_flags=+syn,actions=drop", "packet-out in_port=3,packet=00,actions=output:1",
                             "flow add table=0,tp_dst=80,actions=drop", "flow add table=0,actions=move:NXM_NX_REG0[]->NXM_NX_REG1[]", "flow add table=0,actions=set_field:3->reg2"}) {
        const auto refused = encode_bundle(line, 1);
        ASSERT_FALSE(refused) << line;
        EXPECT_EQ(refused.error().kind, Kind::kPrecondition) << line;
    }
}

TEST(OpenFlow, MalformedLines) {
    for (const char* line : {"flow add table=0,priority=1", "flow add table=999,actions=drop", "flow add priority=70000,actions=drop", "flow add cookie=0xzz,actions=drop",
                             "flow add metadata=,actions=drop", "flow add dl_dst=02:00,actions=drop", "flow add ip,nw_dst=10.0.0.0/33,actions=drop", "flow add ip,nw_src=10.0.0.300,actions=drop",
                             "flow add in_port=-1,actions=drop", "flow add actions=output:", "packet-out in_port=controller,packet=0,actions=output:1",
                             "packet-out in_port=controller,packet=zz,actions=output:1"}) {
        const auto refused = encode_bundle(line, 1);
        ASSERT_FALSE(refused) << line;
        EXPECT_EQ(refused.error().kind, Kind::kInvalid) << line << ": " << refused.error().what;
    }
    std::string deep = "flow add table=0,actions=";
    for (int i = 0; i < 6000; ++i) deep += "output:1,";
    EXPECT_FALSE(encode_bundle(deep + "output:1", 1)) << "a message is at most 65535 bytes long";
}

TEST(OpenFlow, Answers) {
    const auto bytes = [](std::initializer_list<int> list) {
        Bytes out;
        for (const int value : list) out.push_back(static_cast<std::byte>(value));
        return out;
    };
    EXPECT_FALSE(parse_head(bytes({5, 0, 0})));
    EXPECT_FALSE(parse_head(bytes({5, 0, 0, 7, 0, 0, 0, 1})));
    const OpenFlowHead control{.version = 5, .type = OpenFlowType::kBundleControl, .length = 16, .xid = 9};
    const Bundle bundle{.lines = {}, .commit = {}, .barrier_xid = 8, .commit_xid = 9};
    EXPECT_EQ(bundle_news(control, bytes({0, 0, 0, 1, 0, 5, 0, 3}), bundle).value(), BundleNews::kCommitted);
    EXPECT_EQ(bundle_news({.version = 5, .type = OpenFlowType::kBarrierReply, .length = 8, .xid = 8}, {}, bundle).value(), BundleNews::kTaken);
    EXPECT_EQ(bundle_news({.version = 5, .type = OpenFlowType::kBundleControl, .length = 16, .xid = 2}, bytes({0, 0, 0, 1, 0, 1, 0, 3}), bundle).value(), BundleNews::kNone);  // opened
    EXPECT_FALSE(bundle_news(control, bytes({0, 0, 0, 1, 0, 3, 0, 3}), bundle));  // closed instead
    EXPECT_FALSE(bundle_news(control, bytes({0, 0}), bundle));
    const OpenFlowHead error{.version = 5, .type = OpenFlowType::kError, .length = 12, .xid = 3};
    const auto refused = bundle_news(error, bytes({0, 5, 0, 2}), bundle);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().what.contains("type 5 code 2")) << refused.error().what;
    EXPECT_FALSE(bundle_news(error, {}, bundle));
    std::mt19937 random(1);
    for (int i = 0; i < 20'000; ++i) {  // whatever comes: a value or an error
        Bytes noise(random() % 40);
        for (auto& byte : noise) byte = static_cast<std::byte>(random());
        const auto head = parse_head(noise);
        if (head) (void)bundle_news(*head, std::span<const std::byte>(noise).subspan(kOpenFlowHead), {.lines = {}, .commit = {}, .barrier_xid = head->xid, .commit_xid = head->xid});
    }
}

// A switch that hangs: it takes the connection, and reads nothing or only when its own words have been heard.
class SwitchSocket : public ::testing::Test {
protected:
    void SetUp() override {
        folder_ = (std::filesystem::temp_directory_path() / ("bs-" + random_hex(4))).string();
        std::filesystem::create_directories(folder_);
        ::setenv("OVS_RUNDIR", folder_.c_str(), 1);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = folder_ + "/br-int.mgmt";
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        ASSERT_EQ(::listen(listener_.get(), 1), 0);
        for (int i = 0; i < 12'000; ++i) lines_ += std::format("flow delete_strict table=9,priority=100,ip,metadata=0x65,dl_dst=02:00:00:00:{:02x}:{:02x}\n", i / 256, i % 256);
    }
    void TearDown() override {
        ::unsetenv("OVS_RUNDIR");
        std::filesystem::remove_all(folder_);
    }
    std::string folder_, lines_;
    UniqueFd listener_;
};

TEST_F(SwitchSocket, ABundleThatNobodyReadsEndsAtItsDeadline) {
    ASSERT_GT(encode_bundle(lines_, 2)->lines.size(), 1u << 20);
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 4; ++i) {  // in the end its queue of callers is full, too
        const auto sent = send_bundle("br-int", lines_, std::chrono::milliseconds(200));
        ASSERT_FALSE(sent);
        EXPECT_TRUE(sent.error().kind == Kind::kTimeout || sent.error().kind == Kind::kUnavailable) << sent.error().what;
        if (i == 0) {
            EXPECT_EQ(sent.error().kind, Kind::kTimeout);
        }
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST_F(SwitchSocket, ASwitchThatSpeaksBeforeItReadsIsHeard) {
    const auto bundle = encode_bundle(lines_, 2);
    ASSERT_TRUE(bundle);
    std::jthread serving([&] {
        const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        std::string said;
        for (int i = 0; i < 40; ++i) said += std::string{5, 2, '\xea', '\x60', 0, 0, 0, 9} + std::string(60'000 - 8, 'x');  // echo requests: more than a socket keeps
        EXPECT_TRUE(write_all(client.get(), as_bytes(said)));
        std::vector<std::byte> heard(hello(1).size() + bundle->lines.size());
        EXPECT_TRUE(read_all(client.get(), heard));
    });
    const auto sent = send_bundle("br-int", lines_, std::chrono::seconds(20));
    ASSERT_FALSE(sent) << "it closes without an answer";
    EXPECT_EQ(sent.error().kind, Kind::kIo) << sent.error().what;
}

}  // namespace
}  // namespace blanket::net
