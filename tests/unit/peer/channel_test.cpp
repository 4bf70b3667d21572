// SPDX-License-Identifier: GPL-2.0-or-later
// Channels over loopback: both directions at once, strangers, broken and cut frames, shutdown.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <future>
#include <sys/socket.h>
#include <thread>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/channel.hpp"
#include "toolstack/peer/ssl_ptr.hpp"
#include "toolstack/peer/wire.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

struct ChannelTest : testing::Test {
    test::TempDir dir;
    test::Authority authority{dir.path()};
    TlsContext east = authority.identity("east"), west = authority.identity("west");

    Result<std::unique_ptr<ChannelListener>> listen(ChannelListener::Handler handler, std::size_t limit = 16) {
        return ChannelListener::create(west, "127.0.0.1", 0, std::move(handler), limit);
    }
    Result<std::unique_ptr<Channel>> dial(const ChannelListener& listener, const std::string& site = "west") {
        return Channel::connect(east, "127.0.0.1", listener.port(), site, 5s);
    }
};

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>((i * 31 + seed + (i >> 12)) & 0xff);
    return data;
}

void pump_out(Channel& channel, unsigned seed) {
    for (unsigned i = 0; i < 50; ++i) ASSERT_TRUE(channel.send(i, pattern(1 << 20, seed + i)));
}
void pump_in(Channel& channel, unsigned seed) {
    for (unsigned i = 0; i < 50; ++i) {
        auto frame = channel.receive(20s);
        ASSERT_TRUE(frame) << frame.error().what;
        ASSERT_EQ(frame->type, i);
        ASSERT_TRUE(frame->payload == pattern(1 << 20, seed + i)) << i;
    }
}

TEST_F(ChannelTest, FiftyMebibytesEachWayAtOnce) {
    std::promise<void> done;
    auto listener = listen([&](std::unique_ptr<Channel> channel) {
        EXPECT_EQ(channel->peer(), "east");
        {
            std::jthread sender([&] { pump_out(*channel, 7); });
            pump_in(*channel, 1);
        }
        EXPECT_GT(channel->bytes_received(), 50u << 20);
        done.set_value();
        static_cast<void>(channel->receive(5s));  // holds it until the other end is done
    });
    ASSERT_TRUE(listener) << listener.error().what;
    auto channel = dial(**listener);
    ASSERT_TRUE(channel) << channel.error().what;
    EXPECT_EQ((*channel)->peer(), "west");
    {
        std::jthread sender([&] { pump_out(**channel, 1); });
        pump_in(**channel, 7);
    }
    done.get_future().wait();
    EXPECT_GT((*channel)->bytes_sent(), 50u << 20);
    EXPECT_LT((*channel)->bytes_sent(), 51u << 20);
}

TEST_F(ChannelTest, StrangersAndWrongSitesAreRefused) {
    std::atomic<int> handled = 0;
    auto listener = listen([&](std::unique_ptr<Channel>) { ++handled; });
    ASSERT_TRUE(listener);
    const test::Authority other(dir.path() + "/other");
    const auto stranger = Channel::connect(other.identity("east"), "127.0.0.1", (*listener)->port(), "west", 5s);
    ASSERT_FALSE(stranger);
    EXPECT_EQ(stranger.error().kind, Kind::kDenied) << stranger.error().what;
    const auto wrong = dial(**listener, "north");
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().kind, Kind::kDenied);
    EXPECT_EQ(Channel::connect(east, "127.0.0.1", 1, "west", 2s).error().kind, Kind::kUnavailable);
    (*listener)->stop();
    EXPECT_LE(handled, 1);  // the wrong site's handshake was in order at the server
}

TEST_F(ChannelTest, PlainTcpClientIsDroppedAndOthersAreServed) {
    auto listener = listen([](std::unique_ptr<Channel> channel) {
        if (auto frame = channel->receive(5s)) static_cast<void>(channel->send(frame->type + 1, frame->payload));
    });
    ASSERT_TRUE(listener);
    auto plain = connect_tcp("127.0.0.1", (*listener)->port(), 2s);
    ASSERT_TRUE(plain);
    ASSERT_EQ(::send(plain->get(), "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    auto channel = dial(**listener);
    ASSERT_TRUE(channel);
    ASSERT_TRUE((*channel)->send_json(1, {{"hello", 1}}));
    auto frame = (*channel)->receive(5s);
    ASSERT_TRUE(frame) << frame.error().what;
    EXPECT_EQ(frame->type, 2u);
    EXPECT_EQ(frame->json().value()["hello"], 1);
    EXPECT_EQ((*channel)->receive(5s).error().kind, Kind::kIo);  // the handler has ended
}

TEST_F(ChannelTest, OneOfSeveralTakesSmallFramesAndTellsItsPath) {
    std::promise<Error> seen;
    auto listener = listen([&](std::unique_ptr<Channel> channel) {
        channel->one_of(4, 1000);
        EXPECT_TRUE(channel->receive(5s));
        seen.set_value(channel->receive(5s).error());
    });
    ASSERT_TRUE(listener);
    auto channel = dial(**listener);
    ASSERT_TRUE(channel);
    ASSERT_TRUE((*channel)->send(1, pattern(1000, 0)));
    ASSERT_TRUE((*channel)->send(1, pattern(1001, 0)));
    EXPECT_EQ(seen.get_future().get().kind, Kind::kInvalid);
    EXPECT_GT((*channel)->rtt_us(), 0);
    EXPECT_FALSE((*channel)->congestion().empty());
    EXPECT_LT((*channel)->backlog(), 8192u);
}

TEST_F(ChannelTest, OversizeFramesAreRefusedAtBothEnds) {
    std::promise<Error> seen;
    auto listener = listen([&](std::unique_ptr<Channel> channel) { seen.set_value(channel->receive(5s).error()); });
    ASSERT_TRUE(listener);
    auto channel = dial(**listener);
    ASSERT_TRUE(channel);
    EXPECT_EQ((*channel)->send(1, pattern(Channel::kMaxPayload + 1, 0)).error().kind, Kind::kInvalid);
    (*channel)->shutdown();
    EXPECT_EQ(seen.get_future().get().kind, Kind::kIo);

    std::promise<Error> refused;
    auto second = listen([&](std::unique_ptr<Channel> in) { refused.set_value(in->receive(5s).error()); });
    auto raw = connect_tcp("127.0.0.1", (*second)->port(), 2s);
    auto wire = Channel::Wire::handshake(east, std::move(*raw), false, Channel::Wire::Clock::now() + 5s);
    ASSERT_TRUE(wire) << wire.error().what;
    const std::array<std::byte, 8> header{std::byte{1}, {}, {}, {}, std::byte{1}, {}, std::byte{0x80}, {}};
    ASSERT_TRUE((*wire)->write(header));
    EXPECT_EQ(refused.get_future().get().kind, Kind::kInvalid);
}

TEST_F(ChannelTest, EveryTruncatedPrefixIsAnError) {
    const auto payload = pattern(24, 3);
    std::vector<std::byte> whole{std::byte{5}, {}, {}, {}, std::byte{24}, {}, {}, {}};
    whole.insert(whole.end(), payload.begin(), payload.end());
    std::promise<Result<Frame>>* next = nullptr;
    auto listener = listen([&](std::unique_ptr<Channel> channel) { next->set_value(channel->receive(5s)); });
    ASSERT_TRUE(listener);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        std::promise<Result<Frame>> result;
        next = &result;
        {
            auto socket = connect_tcp("127.0.0.1", (*listener)->port(), 2s);
            ASSERT_TRUE(socket);
            auto wire = Channel::Wire::handshake(east, std::move(*socket), false, Channel::Wire::Clock::now() + 5s);
            ASSERT_TRUE(wire);
            ASSERT_TRUE((*wire)->write(std::span(whole).first(size)));
        }
        const auto frame = result.get_future().get();
        EXPECT_EQ(frame.has_value(), size == whole.size()) << size;
        if (!frame) EXPECT_EQ(frame.error().kind, Kind::kIo) << size << ": " << frame.error().what;
        else EXPECT_EQ(frame->payload, payload);
    }
}

TEST_F(ChannelTest, TimeoutLosesNothingAndShutdownWakes) {
    std::atomic<Channel*> at_server = nullptr;
    std::atomic<bool> sent = false;
    auto listener = listen([&](std::unique_ptr<Channel> channel) {
        at_server = channel.get();
        EXPECT_FALSE(channel->receive(30s));
        while (!sent) std::this_thread::sleep_for(1ms);  // the other thread is through with it
    });
    ASSERT_TRUE(listener);
    auto channel = dial(**listener);
    ASSERT_TRUE(channel);
    EXPECT_EQ((*channel)->receive(50ms).error().kind, Kind::kTimeout);
    while (at_server == nullptr) std::this_thread::sleep_for(1ms);
    const auto put = at_server.load()->send(9, pattern(100, 1));
    sent = true;
    ASSERT_TRUE(put);
    EXPECT_EQ((*channel)->receive(5s).value().type, 9u);
    std::jthread waker([&] {
        std::this_thread::sleep_for(50ms);
        (*channel)->shutdown();
    });
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ((*channel)->receive(20s).error().kind, Kind::kCancelled);
    EXPECT_EQ((*channel)->send(1, {}).error().kind, Kind::kCancelled);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ChannelTest, StopEndsRunningHandlersAndTheLimitHolds) {
    std::atomic<int> running = 0;
    auto listener = listen(
        [&](std::unique_ptr<Channel> channel) {
            ++running;
            static_cast<void>(channel->receive(60s));
        },
        2);
    ASSERT_TRUE(listener);
    auto first = dial(**listener), second = dial(**listener);
    ASSERT_TRUE(first && second);
    while (running < 2) std::this_thread::sleep_for(1ms);
    EXPECT_FALSE(dial(**listener));
    const auto began = std::chrono::steady_clock::now();
    (*listener)->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 3s);
    EXPECT_EQ((*first)->receive(5s).error().kind, Kind::kIo);
}

}  // namespace
}  // namespace blanket
