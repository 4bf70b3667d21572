// SPDX-License-Identifier: GPL-2.0-or-later
// Moves whose connection is cut: they go on where they were, or end as any other that fails.
#include "tests/unit/migrate/move_rig.hpp"

namespace blanket::migrate {
namespace {

// Both halves over a session: its connections are cut, its messages are not lost.
struct CutRig : MoveRig {
    LinkSessions sessions;
    LinkTimes times{.patience = std::chrono::seconds(20), .urgent = std::chrono::seconds(10), .silence = std::chrono::seconds(5), .ping = std::chrono::milliseconds(200),
                    .retry = std::chrono::milliseconds(20), .linger = std::chrono::seconds(5)};
    unsigned streams = 1;
    std::function<void(Message&, bool& cut)> fault, answer_fault;  // of every connection
    std::atomic<bool> refuse = false;
    std::mutex mutex;
    std::vector<std::jthread> servers;
    const Target* target = nullptr;
    std::chrono::steady_clock::duration served_for{};

    ~CutRig() {
        sessions.end_all();
        servers.clear();
    }
    bool taken_back() {
        const std::scoped_lock lock(mutex);
        return target != nullptr && target->taken_back();
    }
    void is(const Target* now) {
        const std::scoped_lock lock(mutex);
        target = now;
    }
    void serve(std::unique_ptr<PeerLink> link) {
        const auto first = link->receive(std::chrono::seconds(5));
        if (!first) return;
        if (!LinkSessions::asks(*first)) {
            (void)sessions.resume(std::move(link), *first);
            return;
        }
        ResumableLink::Options options{.times = times, .streams = streams};
        options.ended = [this] { return taken_back(); };
        const auto session = sessions.open(std::move(link), *first, std::move(options), [this] { return taken_back(); });
        ASSERT_TRUE(session) << session.error().what;
        const auto begin = std::chrono::steady_clock::now();
        {
            Target half({registry, west, west, west, west, west_net, clock}, *(*session)->link, "west", [] { return true; });
            is(&half);
            served = half.serve();
            is(nullptr);
        }
        served_for = std::chrono::steady_clock::now() - begin;
        (*session)->link->close();
        sessions.close(**session);
    }
    Result<std::unique_ptr<PeerLink>> dial() {
        if (refuse) return fail(Kind::kUnavailable, "no way");
        auto line = std::make_shared<fakes::FakeLink::Wire>();
        line->fault = fault;
        line->answer_fault = answer_fault;
        auto [near, far] = fakes::FakeLink::pair("east", "west", line);
        servers.emplace_back([this, end = std::move(far)]() mutable { serve(std::move(end)); });
        return std::move(near);
    }
    Result<Stats> move_over_session() {
        const auto vm = registry.vm(kUuid);
        east_net.running = [&] { return east.runs(kUuid); };
        SourcePlan plan{"job-1", **vm, Site{.name = "east", .index = 1, .address = "10.0.0.1"}, Site{.name = "west", .index = 2, .address = "10.0.0.2"}, 7800};
        ResumableLink::Options options{.times = times, .streams = streams};
        options.ended = [this] { return observer.cancelled(); };
        auto link = open_session([this] { return dial(); }, [this] { return dial(); }, std::move(options));
        if (!link) return std::unexpected(link.error());
        auto stats = Source({registry, east, east, east, east, east_net, clock}, **link, std::move(plan), observer).run();
        link->reset();
        servers.clear();
        return stats;
    }
};

// The connection breaks at the first message of each type, in which direction ever: the move goes on, nothing of it begins anew.
TEST(MigrationCuts, ACutAnywhereIsGotOver) {
    for (const bool answers : {false, true}) {
        const std::vector<Type> types = answers ? std::vector<Type>{Type::kReady, Type::kAck, Type::kCommitted, Type::kResumed, Type::kTrace}
                                                : std::vector<Type>{Type::kPrepare, Type::kBegin, Type::kBlock, Type::kRoundEnd, Type::kMirror, Type::kMemoryBegin, Type::kMemory, Type::kMemoryEnd, Type::kDrained};
        for (const Type type : types) {
            SCOPED_TRACE(to_string(type));
            CutRig rig;
            rig.streams = type == Type::kMemory || type == Type::kDrained || type == Type::kCommitted ? 3 : 1;
            const std::string memory = rig.east.memory[kUuid];
            std::atomic<int> seen = 0;
            (answers ? rig.answer_fault : rig.fault) = [&](Message& message, bool& cut) {
                if (static_cast<Type>(message.type) == type && seen++ == 0) cut = true;
            };
            const auto stats = rig.move_over_session();
            ASSERT_TRUE(stats) << stats.error().what;
            EXPECT_TRUE(rig.served) << rig.served.error().what;
            rig.check("west");
            EXPECT_EQ(rig.west.memory[kUuid], memory);
            EXPECT_EQ(stats->epoch, 2u);
            EXPECT_GE(seen, 2);
            EXPECT_EQ(std::ranges::count(rig.observer.phases, "prepare"), 1);
            EXPECT_EQ(std::ranges::count(rig.observer.phases, "memory"), 1);
            ASSERT_EQ(rig.observer.traces.size(), 1u);
            const auto& link = rig.observer.traces[0].link;
            ASSERT_TRUE(link);
            EXPECT_EQ(link->cuts, 1u);
            if (type == Type::kBlock) EXPECT_GE(rig.east.mirror_waits, 1);  // before the guest is stopped they are in step again
        }
    }
}

TEST(MigrationCuts, CutAgainAndAgain) {
    for (const unsigned streams : {1u, 3u}) {
        SCOPED_TRACE(streams);
        CutRig rig;
        rig.streams = streams;
        std::atomic<int> seen = 0;
        rig.fault = [&](Message&, bool& cut) { cut = ++seen % 7 == 0; };
        const auto stats = rig.move_over_session();
        ASSERT_TRUE(stats) << stats.error().what;
        rig.check("west");
        EXPECT_GE(rig.observer.traces.at(0).link->cuts, 2u);
        EXPECT_EQ(rig.observer.traces.at(0).link->streams, streams);
    }
}

// For good: while the guest runs for as long as the patience lasts, and not so long once it has stopped. The target notices by the record that it is over.
TEST(MigrationCuts, ACutForGoodLeavesTheVmWhereItWas) {
    for (const Type type : {Type::kBlock, Type::kMemory, Type::kMemoryEnd, Type::kDrained}) {
        SCOPED_TRACE(to_string(type));
        CutRig rig;
        const bool stopped = type == Type::kMemoryEnd || type == Type::kDrained;
        rig.times.urgent = std::chrono::milliseconds(stopped ? 400 : 20'000);
        rig.times.patience = std::chrono::milliseconds(stopped ? 20'000 : 400);
        rig.fault = [&](Message& message, bool& cut) {
            if (static_cast<Type>(message.type) != type) return;
            cut = true;
            rig.refuse = true;
        };
        const auto begin = std::chrono::steady_clock::now();
        const auto stats = rig.move_over_session();
        ASSERT_FALSE(stats);
        EXPECT_NE(stats.error().what.find("runs on at 'east'"), std::string::npos) << stats.error().what;
        EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(12));
        EXPECT_LT(rig.served_for, std::chrono::seconds(10));  // its own patience is 15 s and more
        EXPECT_FALSE(rig.served);
        rig.check("east");
    }
}

TEST(MigrationCuts, CancellingDoesNotWaitForTheLink) {
    CutRig rig;
    rig.fault = [&](Message& message, bool& cut) {
        if (static_cast<Type>(message.type) != Type::kBlock) return;  // the fake memory is so small that its guest would have stopped
        cut = rig.refuse = true;
        rig.observer.stop = true;
    };
    const auto begin = std::chrono::steady_clock::now();
    const auto stats = rig.move_over_session();
    ASSERT_FALSE(stats);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    rig.check("east");
}

}  // namespace
}  // namespace blanket::migrate
