// SPDX-License-Identifier: GPL-2.0-or-later
// What ways and relays rest on, in the kernel's own nftables and connection tracking, each host a network namespace. WireGuard is not there (build machines' kernels lack it): plain UDP
// sockets at its port speak for it, and a bridge called wg-blanket stands for a relay's tunnels.
#include <arpa/inet.h>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <thread>

#include "net/host.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net::test {
namespace {

class Namespaces : public ::testing::Test {
protected:
    void SetUp() override {
        for (const char* program : {"/usr/sbin/nft", "/usr/bin/nsenter"})
            if (!std::filesystem::exists(program)) FAIL() << program << " is not there: the build root has it";
        home_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
        quiet_ = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        if (::unshare(CLONE_NEWNET) != 0) FAIL() << "no network namespace can be made here: tests run as root";
    }
    void TearDown() override {
        hosts_.clear();
        if (home_) EXPECT_EQ(::setns(home_.get(), CLONE_NEWNET), 0);
    }
    void make(const std::string& name) {
        auto holder = Child::spawn({"unshare", "--net", "sleep", "600"}, {.in = -1, .out = quiet_.get(), .err = quiet_.get(), .pass = {}});
        ASSERT_TRUE(holder);
        hosts_.insert_or_assign(name, std::move(*holder));
        const auto own = std::filesystem::read_symlink("/proc/self/ns/net");
        std::error_code code;
        for (int i = 0; i < 500 && std::filesystem::read_symlink(ns(name), code) == own; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        ASSERT_NE(std::filesystem::read_symlink(ns(name), code), own);
        batch(name, "link set lo up\n");
    }
    [[nodiscard]] std::string ns(const std::string& name) const { return std::format("/proc/{}/ns/net", hosts_.at(name).pid()); }
    void in(const std::string& name, Argv argv, std::string_view input = {}) {
        argv.insert(argv.begin(), {"nsenter", "--net=" + ns(name)});
        const auto done = blanket::run(argv, {.input = input});
        ASSERT_TRUE(done) << done.error().what;
    }
    void batch(const std::string& name, const std::string& lines) { in(name, {"ip", "-batch", "-"}, lines); }
    void forward(const std::string& name) { in(name, {"sysctl", "-q", "-w", "net.ipv4.ip_forward=1"}); }
    void link(const std::string& a, const std::string& a_name, const std::string& b, const std::string& b_name) {
        ASSERT_TRUE(blanket::run({"ip", "link", "add", "pa", "type", "veth", "peer", "name", "pb"}));
        for (const auto& [device, host, name] : {std::tuple("pa", a, a_name), std::tuple("pb", b, b_name)}) {
            ASSERT_TRUE(blanket::run({"ip", "link", "set", device, "netns", std::to_string(hosts_.at(host).pid()), "name", name}));
            batch(host, std::format("link set {} up\n", name));
        }
    }
    // A UDP socket there, at that port.
    UniqueFd socket_at(const std::string& name, std::uint16_t port) {
        UniqueFd out;
        std::thread([&] {
            const UniqueFd there(::open(ns(name).c_str(), O_RDONLY | O_CLOEXEC));
            if (::setns(there.get(), CLONE_NEWNET) == 0) out = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        }).join();
        const sockaddr_in address = to_address(format_ipv4_port({0, port}));
        EXPECT_EQ(::bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        return out;
    }
    static sockaddr_in to_address(const std::string& endpoint) {
        const auto parsed = parse_ipv4_port(endpoint).value();
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(parsed.port);
        address.sin_addr.s_addr = htonl(parsed.ip);
        return address;
    }
    static void say(const UniqueFd& from, const std::string& to, std::string_view words) {
        const sockaddr_in address = to_address(to);
        EXPECT_EQ(::sendto(from.get(), words.data(), words.size(), 0, reinterpret_cast<const sockaddr*>(&address), sizeof address), static_cast<ssize_t>(words.size()));
    }
    // "words from 192.0.2.1:51820"; empty: nothing came within the time.
    static std::string hear(const UniqueFd& at, int ms = 3000) {
        pollfd wait{at.get(), POLLIN, 0};
        if (::poll(&wait, 1, ms) != 1) return {};
        char words[4096];
        sockaddr_in from{};
        socklen_t size = sizeof from;
        const auto got = ::recvfrom(at.get(), words, sizeof words, 0, reinterpret_cast<sockaddr*>(&from), &size);
        if (got < 0) return {};
        return std::format("{} from {}", got > 100 ? std::format("{} bytes", got) : std::string(words, static_cast<std::size_t>(got)), format_ipv4_port({ntohl(from.sin_addr.s_addr), ntohs(from.sin_port)}));
    }
    static std::string source(const std::string& heard) { return heard.substr(heard.find(" from ") + 6); }

    UniqueFd home_, quiet_;
    std::map<std::string, Child> hosts_;
};

// west (2) and home (4) by way of hub (1), with other (5) beside them.
class RelayReal : public Namespaces {
protected:
    void SetUp() override {
        Namespaces::SetUp();
        for (const char* name : {"hub", "west", "home", "other"}) ASSERT_NO_FATAL_FAILURE(make(name));
        batch("hub", "link add wg-blanket type bridge\nlink set wg-blanket up\naddress add 10.213.1.1/16 dev wg-blanket\n");
        for (const auto& [name, index] : {std::pair("west", 2), {"home", 4}, {"other", 5}}) {
            link("hub", std::format("to{}", index), name, "wg-blanket");
            // As in a tunnel, what is for another site goes to the relay only.
            batch("hub", std::format("link set to{} master wg-blanket\n", index));
            batch(name, std::format("address add 10.213.{}.1/16 dev wg-blanket\n", index));
        }
        in("hub", {"sysctl", "-q", "-w", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.wg-blanket.send_redirects=0"});
        forward("hub");
        pass_on({{1, 2, 4}});
        in("west", {"nft", "-f", "-"}, firewall_rules({}, {}, {}, {{1, 4}}));
        west_ = socket_at("west", kWireGuardPort);
        home_socket_ = socket_at("home", kWireGuardPort);
        other_ = socket_at("other", kWireGuardPort);
    }
    void pass_on(const std::vector<RelayedPair>& pairs) { in("hub", {"nft", "-f", "-"}, firewall_rules({}, {}, pairs)); }
    UniqueFd west_, home_socket_, other_;
};

TEST_F(RelayReal, PassesOnBothWaysUnderTheNamesThatTheEndsExpect) {
    say(west_, relay_endpoint(1, 4), "hello");
    EXPECT_EQ(hear(home_socket_), "hello from " + relay_endpoint(1, 2)) << "where home itself sends what is for west";
    say(home_socket_, relay_endpoint(1, 2), "and back");
    EXPECT_EQ(hear(west_), "and back from " + relay_endpoint(1, 4));
    const std::string large(1400, 'x'), cut(3000, 'y');
    say(west_, relay_endpoint(1, 4), large);
    EXPECT_EQ(hear(home_socket_), "1400 bytes from " + relay_endpoint(1, 2));
    say(home_socket_, relay_endpoint(1, 2), cut);  // in pieces
    EXPECT_EQ(hear(west_), "3000 bytes from " + relay_endpoint(1, 4));
}

TEST_F(RelayReal, HomeBeginsAsWell) {
    say(home_socket_, relay_endpoint(1, 2), "hello");
    EXPECT_EQ(hear(west_), "hello from " + relay_endpoint(1, 4));
    say(west_, relay_endpoint(1, 4), "and back");
    EXPECT_EQ(hear(home_socket_), "and back from " + relay_endpoint(1, 2));
}

TEST_F(RelayReal, NobodyElseAndNothingElse) {
    say(other_, relay_endpoint(1, 4), "not of the pair");
    say(other_, relay_endpoint(1, 2), "not of the pair");
    say(west_, relay_endpoint(1, 5), "to one that is not of the pair");
    const UniqueFd another = socket_at("west", 40'000);
    say(another, relay_endpoint(1, 4), "not from WireGuard's port");
    EXPECT_EQ(hear(home_socket_, 500), "");
    EXPECT_EQ(hear(west_, 10), "");
    EXPECT_EQ(hear(other_, 10), "");
    say(other_, "10.213.2.1:51820", "out of its own tunnel");
    EXPECT_EQ(hear(west_, 500), "");
    // Nor does the hub forward what is sent straight to the other's address by way of it.
    batch("west", "route add 10.213.4.1/32 via 10.213.1.1 dev wg-blanket\n");
    say(west_, "10.213.4.1:51820", "straight");
    EXPECT_EQ(hear(home_socket_, 500), "");
}

TEST_F(RelayReal, EndsWithItsPair) {
    say(west_, relay_endpoint(1, 4), "one");
    ASSERT_FALSE(hear(home_socket_).empty());
    say(west_, relay_endpoint(1, 5), "too early");
    EXPECT_EQ(hear(other_, 500), "");
    pass_on({{1, 2, 4}, {1, 2, 5}});
    say(west_, relay_endpoint(1, 4), "two");
    EXPECT_EQ(hear(home_socket_), "two from " + relay_endpoint(1, 2)) << "another pair does not break this one";
    say(west_, relay_endpoint(1, 5), "three");
    EXPECT_EQ(hear(other_), "three from " + relay_endpoint(1, 2)) << "connection tracking has learned nothing of what came too early";
    pass_on({});
    say(west_, relay_endpoint(1, 4), "four");
    say(home_socket_, relay_endpoint(1, 2), "five");
    EXPECT_EQ(hear(home_socket_, 500), "") << "what connection tracking still knows does not help";
    EXPECT_EQ(hear(west_, 10), "");
}

// Two sites behind routers that masquerade, as the simulation of the ways takes them to be (tests/unit/daemon/ways_world.hpp), and a hub outside.
class NatReal : public Namespaces {
protected:
    void build(const std::string& masquerade) {
        for (const char* name : {"hub", "r1", "r2", "h1", "h2"}) ASSERT_NO_FATAL_FAILURE(make(name));
        batch("hub", "link add br0 type bridge\nlink set br0 up\naddress add 203.0.113.9/24 dev br0\n");
        for (const int i : {1, 2}) {
            const std::string router = std::format("r{}", i), host = std::format("h{}", i);
            link("hub", std::format("to{}", i), router, "out");
            batch("hub", std::format("link set to{} master br0\n", i));
            link(router, "in", host, "eth0");
            batch(router, std::format("address add 203.0.113.{0}/24 dev out\naddress add 192.168.{0}.1/24 dev in\n", i));
            batch(host, std::format("address add 192.168.{0}.2/24 dev eth0\nroute add default via 192.168.{0}.1\n", i));
            forward(router);
            in(router, {"nft", "-f", "-"},
               std::format("table ip nat {{\n chain out {{ type nat hook postrouting priority srcnat; oifname \"out\" {} ; }}\n chain own {{ type filter hook input priority filter; iifname \"out\" drop; }}\n"
                           " chain pass {{ type filter hook forward priority filter; iifname \"out\" ct state new drop; }}\n}}\n",
                           masquerade));
        }
        hub_ = socket_at("hub", kWireGuardPort);
        one_ = socket_at("h1", kWireGuardPort);
        two_ = socket_at("h2", kWireGuardPort);
        say(one_, "203.0.113.9:51820", "one");
        first_ = source(hear(hub_));
        say(two_, "203.0.113.9:51820", "two");
        second_ = source(hear(hub_));
    }
    UniqueFd hub_, one_, two_;
    std::string first_, second_;  // where the hub sees them
};

TEST_F(NatReal, WhatTheHubSeesIsThePlaceToPunch) {
    build("masquerade");
    EXPECT_TRUE(first_.starts_with("203.0.113.1:") && second_.starts_with("203.0.113.2:")) << first_ << ' ' << second_;
    say(one_, second_, "too early");
    EXPECT_EQ(hear(two_, 500), "") << "nothing was sent from there to here yet";
    say(two_, first_, "hello");
    EXPECT_EQ(hear(one_), "hello from " + second_) << "the first packet had opened the way";
    say(one_, second_, "and back");
    EXPECT_EQ(hear(two_), "and back from " + first_);
    say(hub_, first_, "still");
    EXPECT_EQ(hear(one_), "still from 203.0.113.9:51820");
}

TEST_F(NatReal, ASymmetricOneCannotBePunched) {
    build("masquerade fully-random");
    say(one_, second_, "a");
    say(two_, first_, "b");
    say(one_, second_, "c");
    EXPECT_EQ(hear(one_, 500), "");
    EXPECT_EQ(hear(two_, 10), "");
    say(hub_, first_, "still");
    EXPECT_EQ(hear(one_), "still from 203.0.113.9:51820") << "a relay outside reaches it";
}

}  // namespace
}  // namespace blanket::net::test
