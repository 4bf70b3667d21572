// SPDX-License-Identifier: GPL-2.0-or-later
// The shaper live: two datagram sockets play the machines; switching, delay, rate, cuts, recorder and the control socket.
#include "tests/lab/shaper.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lab/shaper_control.hpp"

namespace blanket::lab {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class Machine {  // what QEMU's dgram netdev does
public:
    Machine(const std::string& ours, const std::string& shaper) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, ours.c_str());
        ::unlink(ours.c_str());
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        std::strcpy(address.sun_path, shaper.c_str());
        EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    void send(char to, char from, std::string_view text) const {
        std::string frame{2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x12, 0x34};
        if (to == 0) std::memset(frame.data(), 0xff, 6);
        frame += text;
        EXPECT_EQ(::send(fd_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    }
    [[nodiscard]] std::string receive(milliseconds deadline = milliseconds(2000)) const {
        pollfd item{fd_.get(), POLLIN, 0};
        if (::poll(&item, 1, static_cast<int>(deadline.count())) != 1) return {};
        char buffer[4096];
        const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
        return got <= 14 ? std::string() : std::string(buffer + 14, static_cast<std::size_t>(got - 14));
    }

private:
    UniqueFd fd_;
};

struct ShaperTest : ::testing::Test {
    ShaperTest() : dir(::testing::TempDir() + "blanket-shaper-" + std::to_string(::getpid()) + "-"), shaper(std::move(*Shaper::create(false))) {
        for (const char* node : {"east", "west"}) EXPECT_TRUE(shaper->add_machine(node, dir + node + ".sw", dir + node + ".vm"));
        east.emplace(dir + "east.vm", dir + "east.sw");
        west.emplace(dir + "west.vm", dir + "west.sw");
    }
    ~ShaperTest() override {
        for (const char* end : {"east.sw", "east.vm", "west.sw", "west.vm", "control"}) ::unlink((dir + end).c_str());
    }
    void both(const Json& change) const {
        ASSERT_TRUE(shaper->set_link("east", "west", change));
        ASSERT_TRUE(shaper->set_link("west", "east", change));
    }
    std::string dir;
    std::unique_ptr<Shaper> shaper;
    std::optional<Machine> east, west;
};

TEST_F(ShaperTest, EchoTakesTwiceTheDelay) {
    both({{"delay_ms", 25}});
    west->send(0, 'w', "hello");  // learned
    ASSERT_EQ(east->receive(), "hello");
    const auto begin = Clock::now();
    for (int i = 0; i < 5; ++i) {
        east->send('w', 'e', "ping");
        ASSERT_EQ(west->receive(), "ping");
        west->send('e', 'w', "pong");
        ASSERT_EQ(east->receive(), "pong");
    }
    const auto rtt = (Clock::now() - begin) / 5;
    EXPECT_GE(rtt, milliseconds(50));
    EXPECT_LE(rtt, milliseconds(1000));  // build machines are busy; how exact it is, bench-shaper measures
    const Json link = shaper->stats()["links"]["east>west"];
    EXPECT_GE(link["min_delay_ms"].get<double>(), 25.0);
    EXPECT_EQ(link["frames"], 5);
    EXPECT_EQ(link["bytes"], 5 * 18);
}

TEST_F(ShaperTest, HoldsTheRate) {
    both({{"delay_ms", 1}, {"rate_bps", 20'000'000}, {"burst_bytes", 3000}});
    constexpr int kFrames = 500;  // 500 * 1014 bytes at 20 Mbit/s = 203 ms
    const auto begin = Clock::now();
    std::jthread sender([&] {
        for (int i = 0; i < kFrames; ++i) east->send('w', 'e', std::string(1000, 'x'));
    });
    for (int i = 0; i < kFrames; ++i) ASSERT_EQ(west->receive().size(), 1000u) << i;
    const auto took = std::chrono::duration<double>(Clock::now() - begin).count();
    EXPECT_GE(took, 0.199);
    EXPECT_LE(took, 3.0);
}

TEST_F(ShaperTest, OneWayCutStopsOneDirection) {
    both({{"delay_ms", 1}});
    ASSERT_TRUE(shaper->set_link("east", "west", {{"up", false}}));
    east->send('w', 'e', "lost");
    EXPECT_EQ(west->receive(milliseconds(60)), "");
    west->send('e', 'w', "arrives");
    EXPECT_EQ(east->receive(), "arrives");
    ASSERT_TRUE(shaper->set_link("east", "west", {{"up", true}}));
    east->send('w', 'e', "back");
    EXPECT_EQ(west->receive(), "back");
    EXPECT_EQ(shaper->stats()["links"]["east>west"]["cut"], 1);
}

TEST_F(ShaperTest, RecordsAndSearchesTheWatchedLink) {
    both({{"delay_ms", 0}});
    ASSERT_TRUE(shaper->watch("east", "west"));
    ASSERT_TRUE(shaper->recorder().capture(dir + "capture.pcap", 1u << 20));
    ASSERT_TRUE(shaper->recorder().search({"PLAINTEXT"}));
    east->send('w', 'e', "some PLAINTEXT here");
    ASSERT_NE(west->receive(), "");
    const Json report = shaper->stats()["recorder"];
    EXPECT_EQ(report["search"]["found"], 1);
    EXPECT_EQ(report["capture"]["frames"], 1);
    EXPECT_EQ(report["missed_frames"], 0);
    ::unlink((dir + "capture.pcap").c_str());
}

TEST_F(ShaperTest, AnswersOverTheControlSocket) {
    const auto control = ControlServer::create(dir + "control", [this](const Json& request) { return shaper->command(request); });
    ASSERT_TRUE(control) << control.error().what;
    const auto ask = [&](const Json& request) { return control_request(dir + "control", request); };
    ASSERT_TRUE(ask({{"cmd", "link"}, {"from", "east"}, {"to", "west"}, {"both", true}, {"delay_ms", 3}}));
    ASSERT_TRUE(ask({{"cmd", "mark"}, {"name", "begin"}}));
    const auto stats = ask({{"cmd", "stats"}});
    ASSERT_TRUE(stats) << stats.error().what;
    EXPECT_EQ((*stats)["links"]["west>east"]["settings"]["delay_ms"], 3.0);
    EXPECT_EQ((*stats)["marks"][0]["name"], "begin");
    const auto unknown = ask({{"cmd", "dance"}});
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().kind, Kind::kInvalid);
    const auto nobody = ask({{"cmd", "link"}, {"from", "east"}, {"to", "moon"}});
    ASSERT_FALSE(nobody);
    EXPECT_EQ(nobody.error().kind, Kind::kNotFound);
    EXPECT_EQ(control_request(dir + "no-such", {}).error().kind, Kind::kUnavailable);
}

}  // namespace
}  // namespace blanket::lab
