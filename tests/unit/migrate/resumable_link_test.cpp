// SPDX-License-Identifier: GPL-2.0-or-later
// The link that outlives its connections, over real sockets and TLS through a relay that cuts them; and hostile ends, spoken to frame by frame.
#include "toolstack/migrate/resumable_link.hpp"

#include <gtest/gtest.h>

#include <future>
#include <random>

#include "tests/unit/fakes/fake_link.hpp"
#include "tests/unit/fakes/relay.hpp"
#include "tests/unit/peer/identity.hpp"
#include "toolstack/migrate/link_session.hpp"
#include "toolstack/migrate/protocol.hpp"
#include "toolstack/peer/channel_link.hpp"

namespace blanket::migrate {
namespace {

using namespace std::chrono_literals;

constexpr LinkTimes kQuick{.patience = 20s, .urgent = 300ms, .silence = 2s, .ping = 300ms, .retry = 20ms, .linger = 3s};

// Two sites; what the target serves a session with is the test's.
struct Sites {
    test::TempDir dir;
    test::Authority authority{dir.path()};
    TlsContext east = authority.identity("east"), west = authority.identity("west"), north = authority.identity("north");
    LinkSessions sessions;
    std::function<void(ResumableLink&)> serve = [](ResumableLink&) {};
    std::function<void()> accepted = [] {};  // at each connection to the target
    ResumableLink::Options target_options{.times = kQuick};
    std::atomic<bool> unwanted = false;
    std::atomic<int> refused = 0;
    std::unique_ptr<ChannelListener> listener;
    std::unique_ptr<fakes::Relay> relay;

    Sites() {
        listener = ChannelListener::create(west, "127.0.0.1", 0, [this](std::unique_ptr<Channel> channel) { handle(std::make_unique<ChannelLink>(std::move(channel))); }, 48).value();
        relay = std::make_unique<fakes::Relay>(listener->port());
    }
    ~Sites() {
        sessions.end_all();
        listener->stop();
    }
    // The target's ends of all connections: a small buffer for what comes.
    void small_buffers() const {
        for (int fd = 3; fd < 1024; ++fd) {
            sockaddr_in at{};
            socklen_t size = sizeof at;
            if (::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0 || at.sin_family != AF_INET || ntohs(at.sin_port) != listener->port()) continue;
            ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &fakes::Relay::kBuffer, sizeof fakes::Relay::kBuffer);
        }
    }
    void handle(std::unique_ptr<PeerLink> link) {
        accepted();
        const auto first = link->receive(30s);
        if (!first) return;
        if (LinkSessions::asks(*first)) {
            const auto session = sessions.open(std::move(link), *first, target_options, [this] { return unwanted.load(); });
            if (!session) return;
            serve(*(*session)->link);
            (*session)->link->close();
            sessions.close(**session);
        } else if (static_cast<Type>(first->type) == Type::kResumeLink) {
            if (!sessions.resume(std::move(link), *first)) ++refused;
        }
    }
    Result<std::unique_ptr<PeerLink>> dial(const TlsContext& as, std::uint16_t port) {
        auto channel = Channel::connect(as, "127.0.0.1", port, "west", 30s);
        if (!channel) return std::unexpected(channel.error());
        return std::make_unique<ChannelLink>(std::move(*channel));
    }
    Dial through() {
        return [this] { return dial(east, relay->port()); };
    }
    Result<std::unique_ptr<ResumableLink>> open(ResumableLink::Options options = {.times = kQuick}) {
        Result<std::unique_ptr<ResumableLink>> link = fail(Kind::kInternal, "not tried");
        for (int tries = 0; tries < 20 && !link; ++tries) link = open_session(through(), through(), options);  // a relay may cut the agreement: that is not resumed
        return link;
    }
};

template <typename Condition>
bool eventually(const Condition& holds) {
    for (const auto until = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(5ms))
        if (holds()) return true;
    return holds();
}

std::vector<std::byte> text_of(std::uint64_t seed, std::size_t size) {
    std::vector<std::byte> data(size);
    std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (auto& byte : data) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        byte = static_cast<std::byte>(state);
    }
    return data;
}

constexpr std::uint32_t kData = 7, kEnd = 8, kDone = 9;

struct Heard {
    std::mutex mutex;  // for what ThreadSanitizer cannot see: that an answer over TLS comes after what it answers
    std::vector<std::size_t> sizes;
    StreamDigest digest;
    std::string error;
};

void hear_all(ResumableLink& link, Heard& heard) {
    for (;;) {
        const auto message = link.receive(60s);
        if (!message) {
            const std::scoped_lock lock(heard.mutex);
            heard.error = message.error().what;
            return;
        }
        if (message->type == kEnd) break;
        const std::scoped_lock lock(heard.mutex);
        heard.sizes.push_back(message->payload.size());
        heard.digest.add(message->payload);
    }
    (void)link.send(kDone, {});
}

// Wherever the cuts are, handshakes included, every message arrives once and in order. Over one connection, and over several.
TEST(ResumableLink, EveryMessageOnceAndInOrderThroughRandomCuts) {
    for (const unsigned seed : {1u, 2u, 3u, 4u, 5u, 6u}) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        Sites sites;
        ResumableLink::Options options{.times = kQuick};
        options.streams = sites.target_options.streams = seed % 2 == 0 ? 1 : seed + 1;
        std::mutex draws;
        bool first = true;  // the agreement itself is not resumed
        sites.relay->cut_after = [&] {
            const std::scoped_lock lock(draws);
            return (std::exchange(first, false) ? 20'000 : 500) + random() % 600'000;
        };
        Heard heard;
        sites.serve = [&](ResumableLink& link) { hear_all(link, heard); };
        auto link = sites.open(options);
        ASSERT_TRUE(link) << link.error().what;
        std::mt19937_64 shape(seed + 100);
        std::vector<std::size_t> sizes;
        StreamDigest digest;
        constexpr std::size_t kLargest = 300'000;
        for (int i = 0; i < 150; ++i) {
            const std::size_t size = shape() % 3 == 0 ? shape() % kLargest : shape() % 2000;
            const auto data = text_of(shape(), size);
            sizes.push_back(size);
            digest.add(data);
            const auto sent = (*link)->send(kData, data);
            ASSERT_TRUE(sent) << sent.error().what;
        }
        ASSERT_TRUE((*link)->send(kEnd, {}));
        const auto done = (*link)->receive(60s);
        ASSERT_TRUE(done) << done.error().what;
        {
            const std::scoped_lock lock(heard.mutex);
            EXPECT_EQ(heard.error, "");
            EXPECT_EQ(heard.sizes, sizes);
            EXPECT_EQ(heard.digest.value(), digest.value());
        }
        const auto health = *(*link)->health();
        EXPECT_GE(health.cuts, 2u);
        EXPECT_EQ(health.streams, options.streams);
        if (options.streams == 1) EXPECT_EQ(sites.refused, 0);  // the others are dialled as soon as the session is known: the target may not be ready for them
    }
}

// What is sent again is what was on its way: the path's four buffers (the kernel doubles what is asked; the target's own is one of them) and a piece, the
// sender's backlog that TCP has not sent yet (tune_stream: 512 KiB), one message, and half as much again for the acknowledgements' way.
TEST(ResumableLink, OnlyWhatWasOnItsWayIsSentAgain) {
    Sites sites;
    Heard heard;
    sites.serve = [&](ResumableLink& link) { hear_all(link, heard); };
    sites.accepted = [&] { sites.small_buffers(); };  // what the target has not read is lost at a cut: of the usual 4 MiB as much as it is slow
    auto link = sites.open();
    ASSERT_TRUE(link) << link.error().what;
    sites.relay->forward_rate = 20'000'000;
    constexpr std::size_t kMessage = 64u << 10, kMessages = 640;
    constexpr std::uint64_t kFlight = 4 * 2 * fakes::Relay::kBuffer + (16u << 10) + (512u << 10);
    for (std::size_t i = 0; i < kMessages; ++i) {
        if (i % 160 == 120) sites.relay->cut();  // 10 MiB after the last one
        ASSERT_TRUE((*link)->send(kData, text_of(i, kMessage)));
    }
    ASSERT_TRUE((*link)->send(kEnd, {}));
    const auto done = (*link)->receive(60s);
    ASSERT_TRUE(done) << done.error().what;
    const std::scoped_lock lock(heard.mutex);
    EXPECT_EQ(heard.sizes.size(), kMessages);
    const auto health = *(*link)->health();
    EXPECT_GE(health.cuts, 4u);
    EXPECT_LE(health.again_bytes, health.cuts * (kFlight + kMessage) * 3 / 2) << health.cuts;
    std::printf("%llu cuts, %llu bytes sent again\n", static_cast<unsigned long long>(health.cuts), static_cast<unsigned long long>(health.again_bytes));
}

// Frame by frame against a link at the other end of a pair.
struct Hostile {
    std::shared_ptr<fakes::FakeLink::Wire> wire = std::make_shared<fakes::FakeLink::Wire>();
    std::unique_ptr<fakes::FakeLink> peer;
    std::unique_ptr<ResumableLink> link;
    explicit Hostile(LinkSizes sizes = {}, unsigned streams = 1) {
        auto [ours, theirs] = fakes::FakeLink::pair("west", "east", wire);
        peer = std::move(theirs);
        LinkTimes times = kQuick;
        times.silence = 60s;
        times.linger = 100ms;
        link = std::make_unique<ResumableLink>(std::move(ours), ResumableLink::Options{.times = times, .sizes = sizes, .streams = streams});
    }
    ~Hostile() { peer->shutdown(); }  // else the link waits for its end
    static std::vector<std::byte> numbered(std::uint64_t number, std::size_t more = 0) {
        std::vector<std::byte> frame(8 + more);
        for (unsigned i = 0; i < 8; ++i) frame[i] = static_cast<std::byte>(number >> (8 * i));
        return frame;
    }
};

struct OfSeveral : Sites {
    ResumableLink::Options options{.times = kQuick};
    Heard heard;
    std::unique_ptr<ResumableLink> link;
    OfSeveral() {
        options.streams = target_options.streams = 4;
        options.times.silence = target_options.times.silence = 120s;
        serve = [this](ResumableLink& end) { hear_all(end, heard); };
    }
    void stand() {
        link = open(options).value();
        EXPECT_TRUE(eventually([&] { return link->connections() == 4; }));
    }
};

// One of several is lost: the others go on, what it carried comes over them, and it is made anew meanwhile.
TEST(ResumableLink, OneOfSeveralCostsOnlyWhatItCarried) {
    OfSeveral sites;
    sites.stand();
    constexpr std::size_t kMessages = 400;
    for (std::size_t i = 0; i < kMessages; ++i) {
        if (i % 100 == 50) {
            sites.relay->cut_one();
            EXPECT_TRUE(eventually([&] { return sites.link->health()->cuts == i / 100 + 1; }));
        }
        ASSERT_TRUE(sites.link->send(kData, text_of(i, 100'000)));
        if (i % 100 == 99) EXPECT_TRUE(eventually([&] { return sites.link->connections() == 4; }));
    }
    ASSERT_TRUE(sites.link->send(kEnd, {}));
    const auto done = sites.link->receive(60s);
    ASSERT_TRUE(done) << done.error().what;
    const std::scoped_lock lock(sites.heard.mutex);
    EXPECT_EQ(sites.heard.sizes.size(), kMessages);
    EXPECT_EQ(sites.heard.error, "");
    const auto health = *sites.link->health();
    EXPECT_EQ(health.cuts, 4u);
    EXPECT_LT(health.again_bytes, kMessages * 100'000 / 8);  // each time what one of four had on its way, and not what all have that is not acknowledged
    EXPECT_EQ(health.lost_ms, 0);
    EXPECT_FALSE(health.congestion.empty());
}

// One of several lets nothing pass any more, and nobody notices for long: what it holds comes over the others.
TEST(ResumableLink, TheEndDoesNotWaitForAStalledConnection) {
    OfSeveral sites;
    sites.stand();
    sites.link->urgent(true);
    for (std::size_t i = 0; i < 200; ++i) {
        if (i == 100) sites.relay->stall_one();
        ASSERT_TRUE(sites.link->send(kData, text_of(i, 100'000)));
    }
    ASSERT_TRUE(sites.link->send(kEnd, {}));
    const auto begin = std::chrono::steady_clock::now();
    const auto done = sites.link->receive(60s);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 50s);
    const auto health = *sites.link->health();
    EXPECT_EQ(health.cuts, 0u);
    std::printf("%llu bytes sent again\n", static_cast<unsigned long long>(health.again_bytes));
    const std::scoped_lock lock(sites.heard.mutex);
    EXPECT_EQ(sites.heard.sizes.size(), 200u);
}

// The same frame by frame: what the peer has and cannot take yet is not sent to it again.
TEST(ResumableLink, WhatLagsIsSentOverAnotherConnection) {
    for (const bool lacks : {true, false}) {
        SCOPED_TRACE(lacks);
        auto line = std::make_shared<fakes::FakeLink::Wire>(), other = std::make_shared<fakes::FakeLink::Wire>();
        auto [near, far] = fakes::FakeLink::pair("west", "east", line);
        auto [near_too, far_too] = fakes::FakeLink::pair("west", "east", other);
        LinkTimes times = kQuick;
        times.stall = 50ms, times.silence = 60s, times.ping = 60s, times.linger = 100ms;
        ResumableLink link(std::move(near), {.times = times, .streams = 2});
        ASSERT_TRUE(link.send(kData, text_of(1, 100)));
        const auto first = far->receive(30s);
        ASSERT_TRUE(first) << first.error().what;
        line->backlog = 1;
        if (!lacks) {
            auto held = Hostile::numbered(0, 8);
            held[8] = std::byte{1};
            ASSERT_TRUE(far->send(kLinkAck, held));
            ASSERT_TRUE(far->send(kData, Hostile::numbered(1)));
            ASSERT_TRUE(link.receive(30s));  // so it has read both
        }
        std::jthread adopted([&] {
            std::unique_ptr<PeerLink> end = std::move(near_too);
            (void)link.adopt(end, 1, 0, [](PeerLink&, std::uint64_t) -> Result<void> { return {}; });
        });
        const auto second = far_too->receive(lacks ? 30'000ms : 500ms);
        EXPECT_EQ(second.has_value(), lacks);
        if (second) EXPECT_TRUE(second->type == first->type && second->payload == first->payload);
        EXPECT_EQ(link.health()->again_bytes, lacks ? first->payload.size() : 0u);
        far->shutdown();
        far_too->shutdown();
        link.shutdown();
    }
}

TEST(ResumableLink, BothDirectionsAtOnceThroughCuts) {
    Sites sites;
    sites.target_options.streams = 3;
    std::mt19937_64 random(11);
    std::mutex draws;
    sites.relay->cut_after = [&] {
        const std::scoped_lock lock(draws);
        return 20'000 + random() % 600'000;
    };
    const auto shout = [](ResumableLink& link, std::uint64_t seed) {
        for (std::uint64_t i = 0; i < 60; ++i)
            if (!link.send(kData, text_of(seed + i, 20'000))) return;
    };
    const auto check = [](ResumableLink& link, std::uint64_t seed) {
        for (std::uint64_t i = 0; i < 60; ++i) {
            const auto message = link.receive(60s);
            if (!message || message->payload != text_of(seed + i, 20'000)) return false;
        }
        return true;
    };
    std::promise<bool> target;
    sites.serve = [&](ResumableLink& link) {
        std::jthread sender([&] { shout(link, 5000); });
        target.set_value(check(link, 1000));
    };
    ResumableLink::Options options{.times = kQuick};
    options.streams = 3;
    auto link = sites.open(options);
    ASSERT_TRUE(link) << link.error().what;
    std::jthread sender([&] { shout(**link, 1000); });
    EXPECT_TRUE(check(**link, 5000));
    EXPECT_TRUE(target.get_future().get());
    EXPECT_GE((*link)->health()->cuts, 1u);
}

// A path that swallows everything is noticed by its silence, though nothing is sent; a peer that only takes nothing is not.
TEST(ResumableLink, SilenceIsALossASlowReaderIsNone) {
    Sites sites;
    std::promise<void> go;
    Heard heard;
    sites.serve = [&](ResumableLink& link) {
        go.get_future().wait();
        hear_all(link, heard);
    };
    std::mutex mutex;
    std::vector<LinkLoss> told;
    constexpr auto kSilence = 4s;
    ResumableLink::Options options{.times = kQuick};
    options.times.silence = sites.target_options.times.silence = kSilence;
    options.lost = [&](const LinkLoss& loss) {
        const std::scoped_lock lock(mutex);
        told.push_back(loss);
    };
    auto link = sites.open(options);
    ASSERT_TRUE(link) << link.error().what;
    std::jthread sender([&] {
        for (std::uint64_t i = 0; i < 24; ++i) (void)(*link)->send(kData, text_of(i, 1 << 20));
        (void)(*link)->send(kEnd, {});
    });
    std::this_thread::sleep_for(kSilence + 2s);  // longer than the silence that counts
    EXPECT_EQ((*link)->health()->cuts, 0u);
    sites.relay->stall = true;
    EXPECT_TRUE(eventually([&] { return (*link)->health()->cuts >= 1; }));  // and again: now it is one
    EXPECT_GT((*link)->health()->lost_ms, 3500);  // since the last that came
    sites.relay->stall = false;
    go.set_value();
    const auto done = (*link)->receive(60s);
    ASSERT_TRUE(done) << done.error().what;
    const std::scoped_lock quiet(heard.mutex);
    EXPECT_EQ(heard.sizes.size(), 24u);
    const std::scoped_lock lock(mutex);
    ASSERT_GE(told.size(), 2u);
    EXPECT_NE(told.front().why.find("nothing has come"), std::string::npos) << told.front().why;
    EXPECT_EQ(told.front().patience_ms, 20'000);
    EXPECT_LT(told.back().lost_ms, 0);
    EXPECT_GT(told.back().was_ms, 500);
}

TEST(ResumableLink, ThePatienceEndsAndAnUrgentOneSooner) {
    for (const bool urgent : {false, true}) {
        SCOPED_TRACE(urgent);
        Sites sites;
        sites.serve = [](ResumableLink& link) { (void)link.receive(20s); };
        ResumableLink::Options options{.times = kQuick};
        options.times.patience = urgent ? 300s : 1500ms;
        auto link = sites.open(options);
        ASSERT_TRUE(link) << link.error().what;
        (*link)->urgent(urgent);
        sites.relay->refuse = true;
        const auto begin = std::chrono::steady_clock::now();
        sites.relay->cut();
        const auto message = (*link)->receive(60s);
        const auto took = std::chrono::steady_clock::now() - begin;
        ASSERT_FALSE(message);
        EXPECT_EQ(message.error().kind, Kind::kIo);
        EXPECT_NE(message.error().what.find("has been lost for"), std::string::npos) << message.error().what;
        EXPECT_GE(took, urgent ? 200ms : 1200ms);
        EXPECT_LE(took, 60s);  // urgent: not the other one's 300 s
        EXPECT_FALSE((*link)->send(kData, {}));
    }
}

// A deadline stands still while there is no connection. The target's small messages do not wait, as it has to go on after its commit; the source's do.
TEST(ResumableLink, DeadlinesStandStillAndOnlyTheSourceWaits) {
    Sites sites;
    std::promise<std::chrono::steady_clock::duration> told;
    sites.serve = [&](ResumableLink& link) {
        EXPECT_TRUE(eventually([&] { return link.health()->cuts > 0; }));
        const auto begin = std::chrono::steady_clock::now();
        (void)link.send(kData, text_of(3, 1000));
        told.set_value(std::chrono::steady_clock::now() - begin);
        (void)link.receive(20s);
    };
    auto link = sites.open();
    ASSERT_TRUE(link) << link.error().what;
    sites.relay->refuse = true;
    sites.relay->cut();
    EXPECT_LT(told.get_future().get(), 15s);  // it waits for no connection: there is none until it has been told
    ASSERT_TRUE(eventually([&] { return (*link)->health()->cuts > 0; }));
    EXPECT_EQ((*link)->receive(0ms).error().kind, Kind::kTimeout);
    constexpr auto kDeadline = 4s;  // once the connection is back a slow machine needs some of it
    const auto begin = std::chrono::steady_clock::now();
    std::jthread later([&] {
        std::this_thread::sleep_for(kDeadline + 200ms);
        sites.relay->refuse = false;
    });
    const auto message = (*link)->receive(kDeadline);
    ASSERT_TRUE(message) << message.error().what;
    EXPECT_EQ(message->payload, text_of(3, 1000));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, kDeadline);
    sites.relay->refuse = true;
    sites.relay->cut();
    ASSERT_TRUE(eventually([&] { return (*link)->health()->cuts >= 2; }));
    const auto before = std::chrono::steady_clock::now();
    std::jthread again([&] {
        std::this_thread::sleep_for(500ms);
        sites.relay->refuse = false;
    });
    ASSERT_TRUE((*link)->send(kData, text_of(4, 10)));
    EXPECT_GE(std::chrono::steady_clock::now() - before, 300ms);
}

TEST(ResumableLink, WhoeverKnowsBetterEndsTheWait) {
    Sites sites;
    sites.serve = [](ResumableLink& link) { (void)link.receive(20s); };
    std::atomic<bool> cancelled = false;
    ResumableLink::Options options{.times = kQuick};
    options.ended = [&] { return cancelled.load(); };
    auto link = sites.open(options);
    ASSERT_TRUE(link) << link.error().what;
    sites.relay->refuse = true;
    sites.relay->cut();
    std::jthread later([&] {
        std::this_thread::sleep_for(300ms);
        cancelled = true;
    });
    const auto message = (*link)->receive(60s);
    ASSERT_FALSE(message);
    EXPECT_EQ(message.error().kind, Kind::kCancelled) << message.error().what;
}

// The end by intent is none that is waited for.
TEST(ResumableLink, AGoodbyeEndsTheOtherEndAtOnce) {
    Sites sites;
    std::promise<Result<Message>> got;
    sites.serve = [&](ResumableLink& link) { got.set_value(link.receive(20s)); };
    auto link = sites.open();
    ASSERT_TRUE(link) << link.error().what;
    const auto begin = std::chrono::steady_clock::now();
    (*link)->shutdown();
    const auto end = got.get_future().get();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s);  // and not its deadline or patience
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().what, "closed by the peer");
    EXPECT_EQ((*link)->receive(1s).error().kind, Kind::kCancelled);
}

// A target fails while as much comes as the link takes: the source, which sends, hears it at once.
void said_last_through_a_full_stream(unsigned streams) {
    SCOPED_TRACE(streams);
    Sites sites;
    sites.target_options.times.linger = 40s;
    sites.target_options.streams = streams;
    sites.serve = [](ResumableLink& link) {
        for (std::uint64_t before = 0; before < (4u << 20) || before != link.bytes_received();) {  // until nothing more can come
            before = link.bytes_received();
            std::this_thread::sleep_for(500ms);
        }
        (void)link.send(kDone, {});
    };
    auto link = sites.open({.times = kQuick, .streams = streams});
    ASSERT_TRUE(link) << link.error().what;
    const auto piece = text_of(1, 1u << 20);
    const auto begin = std::chrono::steady_clock::now();
    while ((*link)->send(kData, piece)) {}
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
    const auto said = (*link)->receive(0ms);
    ASSERT_TRUE(said) << said.error().what;
    EXPECT_EQ(said->type, kDone);
}

TEST(ResumableLink, WhatIsSaidLastIsHeardThroughAFullStream) {
    for (const unsigned streams : {1u, 3u}) said_last_through_a_full_stream(streams);
}

TEST(LinkSessions, StrangersAndUnwantedOnesAreRefused) {
    Sites sites;
    std::promise<void> over;
    sites.serve = [&](ResumableLink& link) {
        (void)link.receive(20s);
        over.set_value();
    };
    Json session;
    {  // the agreement by hand, to know the secret
        auto bare = sites.dial(sites.east, sites.listener->port()).value();
        ASSERT_TRUE(send_json(*bare, Type::kHello, {{"version", kProtocolVersion}, {"session", {{"patience_ms", 20'000}}}}));
        const auto hello = expect(*bare, Type::kHello, 30s);
        ASSERT_TRUE(hello) << hello.error().what;
        session = (*hello)["session"];
    }
    const auto ask = [&](const TlsContext& as, const std::string& id, const std::string& secret, const Json& taken) {
        auto bare = sites.dial(as, sites.listener->port()).value();
        EXPECT_TRUE(send_json(*bare, Type::kResumeLink, {{"id", id}, {"secret", secret}, {"taken", taken}}));
        return expect(*bare, Type::kLinkResumed, 30s);
    };
    const auto id = session["id"].get<std::string>(), secret = session["secret"].get<std::string>();
    EXPECT_EQ(ask(sites.east, std::string(32, '0'), secret, 0u).error().kind, Kind::kNotFound);
    EXPECT_EQ(ask(sites.east, id, std::string(64, '0'), 0u).error().kind, Kind::kNotFound);
    EXPECT_EQ(ask(sites.east, id, "", 0u).error().kind, Kind::kNotFound);
    EXPECT_EQ(ask(sites.north, id, secret, 0u).error().kind, Kind::kNotFound);  // another site, though it knows all
    EXPECT_EQ(ask(sites.east, id, secret, ~std::uint64_t{0}).error().kind, Kind::kInvalid);
    EXPECT_EQ(ask(sites.east, id, secret, 5u).error().kind, Kind::kInvalid);  // it has sent nothing yet
    EXPECT_FALSE(ask(sites.east, id, secret, "many"));
    sites.unwanted = true;
    EXPECT_EQ(ask(sites.east, id, secret, 0u).error().kind, Kind::kCancelled);
    sites.unwanted = false;
    const auto resumed = ask(sites.east, id, secret, 0u);
    ASSERT_TRUE(resumed) << resumed.error().what;
    EXPECT_EQ((*resumed)["taken"], 0u);
    sites.sessions.end_all();
    over.get_future().wait();
}

// What the wire says of it: nothing where it is one, never more than was wished or is granted, and a stream beyond that is refused.
TEST(LinkSessions, StreamsAreAgreed) {
    Sites sites;
    sites.serve = [](ResumableLink& link) { (void)link.receive(20s); };
    sites.target_options.streams = 5;
    const auto ask = [&](const Json& wish) {
        auto bare = sites.dial(sites.east, sites.listener->port()).value();
        EXPECT_TRUE(send_json(*bare, Type::kHello, {{"version", kProtocolVersion}, {"session", wish}}));
        return expect(*bare, Type::kHello, 30s).value()["session"];
    };
    EXPECT_FALSE(ask({{"patience_ms", 20'000}}).contains("streams"));
    for (const Json& one : {Json(1), Json(0), Json(-3), Json("2")}) EXPECT_FALSE(ask({{"patience_ms", 20'000}, {"streams", one}}).contains("streams")) << one.dump();
    EXPECT_EQ(ask({{"patience_ms", 20'000}, {"streams", ~std::uint64_t{0}}})["streams"], 5u);
    const auto session = ask({{"patience_ms", 20'000}, {"streams", 2}});
    EXPECT_EQ(session["streams"], 2u);
    const auto join = [&](std::uint64_t stream) {
        auto bare = sites.dial(sites.east, sites.listener->port()).value();
        EXPECT_TRUE(send_json(*bare, Type::kResumeLink, {{"id", session["id"]}, {"secret", session["secret"]}, {"taken", 0u}, {"stream", stream}}));
        return expect(*bare, Type::kLinkResumed, 30s);
    };
    EXPECT_TRUE(eventually([&] { return join(1).has_value(); }));
    EXPECT_TRUE(join(1));  // takes the place of the one before
    EXPECT_EQ(join(2).error().kind, Kind::kInvalid);
    EXPECT_EQ(join(~std::uint64_t{0}).error().kind, Kind::kInvalid);
    sites.sessions.end_all();
}

TEST(LinkSessions, TheyAreBounded) {
    Sites sites;
    sites.serve = [](ResumableLink& link) { (void)link.receive(20s); };
    sites.target_options.streams = kMostStreams;
    std::vector<std::unique_ptr<PeerLink>> held;
    const auto ask = [&] {
        held.push_back(sites.dial(sites.east, sites.listener->port()).value());
        EXPECT_TRUE(send_json(*held.back(), Type::kHello, {{"version", kProtocolVersion}, {"session", {{"patience_ms", ~std::uint64_t{0}}, {"streams", kMostStreams}}}}));
        return expect(*held.back(), Type::kHello, 30s);
    };
    std::uint64_t streams = 0;
    for (std::size_t i = 0; i < LinkSessions::kMost; ++i) {
        const auto hello = ask();
        ASSERT_TRUE(hello);
        streams += (*hello)["session"].value("streams", 1u);
    }
    EXPECT_LE(streams, LinkSessions::kMostConnections);
    EXPECT_GT(streams, LinkSessions::kMostConnections / 2);
    EXPECT_EQ(ask().error().kind, Kind::kUnavailable);
    EXPECT_EQ(sites.sessions.count(), LinkSessions::kMost);
    sites.sessions.end_all();
}

// A connection of the target's that does something right after it has said hello.
class AfterHello final : public PeerLink {
public:
    AfterHello(std::unique_ptr<PeerLink> inner, std::function<void(PeerLink& inner, const Json& session)> then) : inner_(std::move(inner)), then_(std::move(then)) {}
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override {
        BLANKET_CHECK(inner_->send(type, payload));
        if (static_cast<Type>(type) == Type::kHello) then_(*inner_, payload_json({type, {payload.begin(), payload.end()}}).value()["session"]);
        return {};
    }
    Result<Message> receive(std::chrono::milliseconds deadline) override { return inner_->receive(deadline); }
    std::uint64_t bytes_sent() const override { return inner_->bytes_sent(); }
    const std::string& peer() const override { return inner_->peer(); }
    void shutdown() override { inner_->shutdown(); }

private:
    std::unique_ptr<PeerLink> inner_;
    std::function<void(PeerLink&, const Json&)> then_;
};

std::pair<std::unique_ptr<fakes::FakeLink>, std::unique_ptr<fakes::FakeLink>> fresh_line() { return fakes::FakeLink::pair("east", "west", std::make_shared<fakes::FakeLink::Wire>()); }

// The source loses its first connection as soon as it knows the session, and is back before the target has its end of it.
TEST(LinkSessions, WhoIsBackBeforeTheSessionStandsTriesAgain) {
    LinkSessions sessions;
    std::atomic<int> put_off = 0, refused = 0;
    std::jthread target;
    std::vector<std::jthread> resumed;  // the link's thread adds to it; that has ended before they are joined
    const Dial again = [&]() -> Result<std::unique_ptr<PeerLink>> {
        auto [near, far] = fresh_line();
        resumed.emplace_back([&, end = std::move(far)]() mutable {
            const auto first = end->receive(30s);
            if (!first) return;
            if (const auto done = sessions.resume(std::move(end), *first); !done) ++(done.error().kind == Kind::kUnavailable ? put_off : refused);
        });
        return std::unique_ptr<PeerLink>(std::move(near));
    };
    const Dial first = [&]() -> Result<std::unique_ptr<PeerLink>> {
        auto [near, far] = fresh_line();
        target = std::jthread([&, end = std::move(far)]() mutable {
            const auto hello = end->receive(30s);
            ASSERT_TRUE(hello);
            auto late = std::make_unique<AfterHello>(std::move(end), [&](PeerLink& inner, const Json&) {
                inner.shutdown();
                EXPECT_TRUE(eventually([&] { return put_off + refused > 0; }));
            });
            const auto session = sessions.open(std::move(late), *hello, {.times = kQuick}, {});
            ASSERT_TRUE(session) << session.error().what;
            const auto message = (*session)->link->receive(30s);
            EXPECT_TRUE(message) << message.error().what;
            if (message) EXPECT_TRUE((*session)->link->send(kDone, message->payload));
            (*session)->link->close();
            sessions.close(**session);
        });
        return std::unique_ptr<PeerLink>(std::move(near));
    };
    {
        auto link = open_session(first, again, {.times = kQuick});
        ASSERT_TRUE(link) << link.error().what;
        ASSERT_TRUE((*link)->send(kData, text_of(1, 1000)));
        const auto answer = (*link)->receive(30s);
        ASSERT_TRUE(answer) << answer.error().what;
        EXPECT_EQ(answer->payload, text_of(1, 1000));
        EXPECT_GE((*link)->health()->cuts, 1u);
    }
    target.join();
    EXPECT_GE(put_off, 1);
    EXPECT_EQ(refused, 0);
    EXPECT_EQ(sessions.count(), 0u);
}

TEST(LinkSessions, TheirEndMayComeBeforeTheyStand) {
    const Message hello{static_cast<std::uint32_t>(Type::kHello), [] {
        const std::string text = Json{{"version", kProtocolVersion}, {"session", {{"patience_ms", 20'000}}}}.dump();
        return std::vector<std::byte>(as_bytes(text).begin(), as_bytes(text).end());
    }()};
    LinkSessions sessions;
    {  // the peer cannot be told: nothing is left of it
        auto [near, far] = fresh_line();
        near->shutdown();
        EXPECT_FALSE(sessions.open(std::move(far), hello, {.times = kQuick}, {}));
        EXPECT_EQ(sessions.count(), 0u);
    }
    auto [near, far] = fresh_line();
    const auto ask = [&](const Json& session, const std::string& secret) {
        auto [asker, end] = fresh_line();
        const Json body{{"id", session["id"]}, {"secret", secret}, {"taken", 0u}};
        const std::string text = body.dump();
        EXPECT_FALSE(sessions.resume(std::move(end), {static_cast<std::uint32_t>(Type::kResumeLink), {as_bytes(text).begin(), as_bytes(text).end()}}));
        return expect(*asker, Type::kLinkResumed, 30s).error().kind;
    };
    const auto session = sessions.open(std::make_unique<AfterHello>(std::move(far), [&](PeerLink&, const Json& told) {
        EXPECT_EQ(sessions.count(), 1u);
        EXPECT_EQ(ask(told, told["secret"].get<std::string>()), Kind::kUnavailable);
        EXPECT_EQ(ask(told, std::string(64, '0')), Kind::kNotFound);  // a stranger does not learn that there is one
        sessions.end_all();
    }), hello, {.times = kQuick}, {});
    ASSERT_TRUE(session) << session.error().what;
    EXPECT_EQ((*session)->link->receive(30s).error().kind, Kind::kCancelled);
    near->shutdown();
}

TEST(ResumableLink, WhatAPeerMayNotSayEndsTheSession) {
    const std::vector<std::pair<std::uint32_t, std::vector<std::byte>>> bad{
        {kData, {}}, {kData, std::vector<std::byte>(7)}, {kData, Hostile::numbered(2)}, {kData, Hostile::numbered(~std::uint64_t{0})},
        {kLinkAck, Hostile::numbered(1)}, {kLinkAck, Hostile::numbered(~std::uint64_t{0})}, {kLinkAck, {}}, {kLinkAck, Hostile::numbered(0, 1)},
        {0xffff0003u, Hostile::numbered(1)}, {0xffffffffu, Hostile::numbered(1)}};
    for (const auto& [type, frame] : bad) {
        SCOPED_TRACE(std::format("{} of {} bytes", type, frame.size()));
        Hostile hostile;
        ASSERT_TRUE(hostile.peer->send(type, frame));
        const auto message = hostile.link->receive(30s);
        ASSERT_FALSE(message);
        EXPECT_EQ(message.error().kind, Kind::kInvalid) << message.error().what;
    }
}

TEST(ResumableLink, WhatAPeerOfSeveralMayNotSayEndsTheSession) {
    using Frames = std::vector<std::pair<std::uint32_t, std::vector<std::byte>>>;
    auto changed = Hostile::numbered(5, 3);
    changed.back() = std::byte{1};
    Frames too_long, too_many;
    for (std::uint64_t number = 1; number <= kMostMessage / kLinkPiece + 2; ++number) too_long.emplace_back(kLinkPart, Hostile::numbered(number, kLinkPiece));
    for (std::uint64_t number = 2; number <= kLinkWindow / kMostFrame + 2; ++number) too_many.emplace_back(kData, Hostile::numbered(number, kLinkPiece));
    const std::vector<Frames> bad{{{kData, {}}}, {{kData, Hostile::numbered(kMostAhead + 1)}}, {{kData, Hostile::numbered(~std::uint64_t{0})}}, {{kData, Hostile::numbered(1, kLinkPiece + 1)}},
                                  {{kData, Hostile::numbered(5, 3)}, {kData, changed}}, {{kData, Hostile::numbered(5, 3)}, {kLinkPart, Hostile::numbered(5, 3)}}, too_long, too_many,
                                  {{kLinkAck, Hostile::numbered(0)}}, {{kLinkAck, Hostile::numbered(1, 8)}}, {{kLinkAck, Hostile::numbered(0, 16)}}, {{0xffff0004u, Hostile::numbered(1)}}};
    for (std::size_t which = 0; which < bad.size(); ++which) {
        SCOPED_TRACE(which);
        Hostile hostile({}, 2);
        for (const auto& [type, frame] : bad[which]) (void)hostile.peer->send(type, frame);
        const auto message = hostile.link->receive(30s);
        ASSERT_FALSE(message);
        EXPECT_EQ(message.error().kind, Kind::kInvalid) << message.error().what;
    }
}

TEST(ResumableLink, SeveralMayComeInAnyOrder) {
    Hostile hostile({}, 2);
    const auto say = [&](std::uint32_t type, std::uint64_t number, std::size_t size) { ASSERT_TRUE(hostile.peer->send(type, Hostile::numbered(number, size))); };
    say(kData, 3, 3);
    say(kData, 3, 3);
    say(kData, 4, 4);
    say(kLinkPart, 1, 10);
    EXPECT_EQ(hostile.link->receive(100ms).error().kind, Kind::kTimeout);
    say(kEnd, 2, 5);
    say(kData, 1, 1);
    for (const auto& [type, size] : {std::pair(kEnd, 15u), std::pair(kData, 3u), std::pair(kData, 4u)}) {
        const auto message = hostile.link->receive(30s);
        ASSERT_TRUE(message) << message.error().what;
        EXPECT_EQ(message->type, type);
        EXPECT_EQ(message->payload.size(), size);
    }
    EXPECT_EQ(hostile.link->receive(100ms).error().kind, Kind::kTimeout);
}

TEST(ResumableLink, ASecondTimeIsDropped) {
    Hostile hostile;
    for (const std::uint64_t number : {1u, 1u, 0u, 2u, 1u, 2u, 3u}) ASSERT_TRUE(hostile.peer->send(kData, Hostile::numbered(number, number)));
    for (const std::size_t size : {1u, 2u, 3u}) {
        const auto message = hostile.link->receive(30s);
        ASSERT_TRUE(message) << message.error().what;
        EXPECT_EQ(message->payload.size(), size);
    }
    EXPECT_EQ(hostile.link->receive(100ms).error().kind, Kind::kTimeout);
}

// Nobody acknowledges: the sender waits. Nobody receives: no more is taken than the inbox holds.
TEST(ResumableLink, BuffersAreBounded) {
    Hostile hostile({.replay = 100'000, .inbox = 10'000, .unsent = 1u << 30});
    std::atomic<int> sent = 0;
    std::jthread sender([&] {
        while (hostile.link->send(kData, text_of(1, 10'000 - 8))) ++sent;
    });
    constexpr auto kMore = 300ms;  // in which what is not bounded would go on
    EXPECT_TRUE(eventually([&] { return sent >= 10; }));
    std::this_thread::sleep_for(kMore);
    EXPECT_EQ(sent, 10);
    for (std::uint64_t number = 0; number < 10;) {  // what has not left may not be acknowledged
        const auto frame = hostile.peer->receive(30s);
        ASSERT_TRUE(frame) << frame.error().what;
        if (frame->type == kData) ++number;
    }
    ASSERT_TRUE(hostile.peer->send(kLinkAck, Hostile::numbered(4)));
    EXPECT_TRUE(eventually([&] { return sent >= 14; }));
    std::this_thread::sleep_for(kMore);
    EXPECT_EQ(sent, 14);
    for (std::uint64_t number = 1; number <= 8; ++number) ASSERT_TRUE(hostile.peer->send(kData, Hostile::numbered(number, 4000)));
    std::uint64_t acknowledged = 0;
    const auto hear = [&] {
        while (const auto frame = hostile.peer->receive(0ms))
            if (frame->type == kLinkAck) acknowledged = std::to_integer<std::uint64_t>(frame->payload[0]);
        return acknowledged >= 2;
    };
    EXPECT_TRUE(eventually(hear));
    std::this_thread::sleep_for(kMore);
    (void)hear();
    EXPECT_EQ(acknowledged, 2u);
    hostile.link->shutdown();
}

// Messages without content take memory as well.
TEST(LinkInbox, EmptyMessagesAreBoundedToo) {
    for (const bool many : {false, true}) {
        LinkInbox inbox(many, 10'000);
        std::uint64_t number = 0;
        while (number < 1000 && !inbox.full()) ASSERT_TRUE(inbox.take({kData, Hostile::numbered(++number)}));
        EXPECT_LT(number, 1000u);
        while (!inbox.empty()) ASSERT_TRUE(inbox.pop());
        EXPECT_EQ(inbox.taken(), number);
    }
}

// At the end what comes is taken and dropped: also what waits for a missing one, and the half of a message.
TEST(LinkInbox, NothingHoldsUpTheEnd) {
    LinkInbox inbox(true, 10'000);
    ASSERT_TRUE(inbox.take({kData, Hostile::numbered(1, 9000)}));
    ASSERT_TRUE(inbox.take({kLinkPart, Hostile::numbered(2, 9000)}));
    ASSERT_TRUE(inbox.take({kData, Hostile::numbered(4, 9000)}));
    inbox.drop();
    EXPECT_TRUE(inbox.empty());
    EXPECT_EQ(inbox.taken(), 2u);
    ASSERT_TRUE(inbox.take({kData, Hostile::numbered(3, 9000)}));
    EXPECT_TRUE(inbox.empty());
    EXPECT_EQ(inbox.taken(), 4u);
}

TEST(ResumableLink, TooManyLossesEndIt) {
    Sites sites;
    sites.serve = [](ResumableLink& link) { (void)link.receive(120s); };
    ResumableLink::Options options{.times = kQuick};
    options.sizes.cuts = 3;
    std::atomic<int> back = 0;
    options.lost = [&](const LinkLoss& loss) { back += loss.lost_ms < 0 ? 1 : 0; };
    auto link = sites.open(options);
    ASSERT_TRUE(link) << link.error().what;
    std::jthread cutter([&](const std::stop_token& stop) {
        for (int cuts = 0; !stop.stop_requested(); std::this_thread::sleep_for(5ms)) {  // each one of a link that stands
            if (back < cuts) continue;
            sites.relay->cut();
            ++cuts;
        }
    });
    const auto message = (*link)->receive(120s);
    ASSERT_FALSE(message);
    EXPECT_NE(message.error().what.find("was lost 4 times"), std::string::npos) << message.error().what;
}

}  // namespace
}  // namespace blanket::migrate
