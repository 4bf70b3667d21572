// SPDX-License-Identifier: GPL-2.0-or-later
// The module's store client (blanket-drivers/xs.c) against a store that is honest, and against ones that are not: bad indices, indices of the module moved,
// answers without bounds, to nobody, of another kind, without an end, events of watches that are gone, a page that changes under its hands.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/unit/uplink/fake_store.hpp"

namespace blanket::uplink {
namespace {

constexpr xenbus_transaction kNone{0};

struct Text {
    void* at;
    explicit Text(void* text) : at(text) {}
    Text(const Text&) = delete;
    ~Text() {
        if (good()) std::free(at);
    }
    [[nodiscard]] bool good() const { return reinterpret_cast<std::uintptr_t>(at) < static_cast<std::uintptr_t>(-4095); }
    [[nodiscard]] long error() const { return good() ? 0 : static_cast<long>(reinterpret_cast<std::intptr_t>(at)); }
    [[nodiscard]] std::string text() const { return good() ? static_cast<const char*>(at) : "error " + std::to_string(error()); }
};

std::string read(const char* dir, const char* node) { return Text(uplink_xs_read(kNone, dir, node, nullptr)).text(); }

std::uint32_t u32(std::size_t value) { return static_cast<std::uint32_t>(value); }

class Store : public ::testing::Test {
protected:
    void TearDown() override {
        sim_hz = 1000;
        EXPECT_EQ(xs_left(), 0u) << "watches or events are left";
    }
};

TEST_F(Store, AnHonestOne) {
    FakeStore store({{"device/vbd/1/backend-id", "5"}, {"device/vbd/2/x", ""}, {"device/vif/0/x", ""}, {"big", std::string(4000, 'b')}});
    ASSERT_EQ(uplink_xs_init(), 0);
    EXPECT_EQ(uplink_xs_write(kNone, "a", "b", "hello"), 0);
    EXPECT_EQ(read("a", "b"), "hello");
    EXPECT_EQ(read("a/b", ""), "hello");
    EXPECT_EQ(Text(uplink_xs_read(kNone, "a", "none", nullptr)).error(), -ENOENT);
    EXPECT_EQ(uplink_xs_exists(kNone, "a", "b"), 1);
    EXPECT_EQ(uplink_xs_exists(kNone, "a", "c"), 0);
    EXPECT_EQ(uplink_xs_read_unsigned("device/vbd/1", "backend-id", 9), 5u);
    EXPECT_EQ(uplink_xs_read_unsigned("a", "b", 9), 9u);
    EXPECT_EQ(read("big", ""), std::string(4000, 'b'));
    EXPECT_EQ(uplink_xs_write(kNone, "a", "b", std::string(4000, 'w').c_str()), 0);
    EXPECT_EQ(read("a", "b"), std::string(4000, 'w'));
    EXPECT_EQ(uplink_xs_write(kNone, "a", "b", std::string(5000, 'w').c_str()), -E2BIG);
    unsigned count = 0;
    char** const list = uplink_xs_directory(kNone, "device", "vbd", &count);
    ASSERT_EQ(count, 2u);
    EXPECT_STREQ(list[1], "2");
    std::free(static_cast<void*>(list));
    int id = 0;
    EXPECT_EQ(uplink_xs_gather(kNone, "device/vbd/1", "backend-id", "%i", &id, nullptr), 0);
    EXPECT_EQ(id, 5);
    xenbus_transaction t{};
    EXPECT_EQ(uplink_xs_start(&t), 0);
    EXPECT_EQ(t.id, 7u);
    EXPECT_EQ(uplink_xs_end(t, 0), 0);
    for (int i = 0; i < 300; ++i) ASSERT_EQ(read("device/vbd/1", "backend-id"), "5");
    EXPECT_FALSE(xs_is_dead());
    uplink_xs_exit();
}

struct Watch {
    xenbus_watch watch{};
    std::atomic<int> seen = 0;
    std::function<void()> also;
    explicit Watch(const char* node) {
        watch.node = node;
        watch.callback = [](xenbus_watch* w, const char*, const char*) {
            auto* self = reinterpret_cast<Watch*>(w);  // its first member
            ++self->seen;
            if (self->also) self->also();
        };
    }
};

bool soon(const std::function<bool()>& there) {
    for (int i = 0; i < 60'000 && !there(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return there();
}

TEST_F(Store, WatchesFireAndCanAskAndGo) {
    FakeStore store({{"w", "1"}});
    ASSERT_EQ(uplink_xs_init(), 0);
    Watch first("w"), second("w");
    first.also = [] { EXPECT_EQ(read("w", ""), "1"); };
    second.also = [&] { uplink_xs_unwatch(&second.watch); };  // from the callback itself
    ASSERT_EQ(uplink_xs_watch(&first.watch), 0);
    ASSERT_EQ(uplink_xs_watch(&second.watch), 0);
    EXPECT_TRUE(soon([&] { return first.seen == 1 && second.seen == 1; }));
    store.change("w", "1");
    EXPECT_TRUE(soon([&] { return first.seen == 2; }));
    uplink_xs_unwatch(&first.watch);
    store.change("w", "1");
    EXPECT_EQ(read("w", ""), "1");
    EXPECT_EQ(first.seen, 2);
    EXPECT_EQ(second.seen, 1);
    uplink_xs_exit();
}

// The page's copy of the module's own indices is never read back.
TEST_F(Store, OurIndicesMovedByTheOtherSideMoveNothing) {
    FakeStore store({{"a", "value"}, {"big", std::string(3000, 'b')}});
    store.spoils_their_indices = true;
    ASSERT_EQ(uplink_xs_init(), 0);
    for (int i = 0; i < 200; ++i) {
        ASSERT_EQ(read("a", ""), "value") << i;
        ASSERT_EQ(read("big", "").size(), 3000u) << i;
    }
    EXPECT_FALSE(xs_is_dead());
    uplink_xs_exit();
}

// What cannot be gone on with: every call says so at once, and the next load starts afresh.
TEST_F(Store, BadIndicesAndAnswersWithoutBoundsEndIt) {
    const std::vector<std::function<void(FakeStore&)>> ways{
        [](FakeStore& store) { std::atomic_ref(store.page().rsp_prod).store(0x7fffffff); },
        [](FakeStore& store) { std::atomic_ref(store.page().req_cons).store(0x7fffffff); },
        [](FakeStore& store) { store.say({{.type = XS_READ, .req_id = 0, .tx_id = 0, .len = XENSTORE_PAYLOAD_MAX + 1}, "x"}); },
        [](FakeStore& store) { store.say({{.type = XS_WATCH_EVENT, .req_id = 0, .tx_id = 0, .len = ~0u}, "x"}); },
    };
    for (std::size_t i = 0; i < ways.size(); ++i) {
        FakeStore store({{"a", "1"}});
        ASSERT_EQ(uplink_xs_init(), 0);
        ASSERT_EQ(read("a", ""), "1");
        Watch watch("a");
        ASSERT_EQ(uplink_xs_watch(&watch.watch), 0);
        ASSERT_TRUE(soon([&] { return watch.seen == 1; })) << i;  // the store has no more to say by itself
        ways[i](store);
        store.interrupt();
        if (i == 1) (void)read("a", "");  // the module looks at that one when it asks
        EXPECT_TRUE(soon(xs_is_dead)) << i;
        EXPECT_EQ(Text(uplink_xs_read(kNone, "a", "", nullptr)).error(), -EIO);
        uplink_xs_unwatch(&watch.watch);
        uplink_xs_exit();
    }
}

// The store refuses a watch, but has sent events of it before: the watch's memory is free by then.
TEST_F(Store, EventsOfAWatchThatWasRefused) {
    FakeStore store({{"a", "1"}}, [](std::vector<Message>& answers, const Message& request) {
        if (request.header.type != XS_WATCH) return;
        Message refused = answers.front();
        refused.header.type = XS_ERROR;
        refused.body = std::string("ENOMEM") + '\0';
        refused.header.len = u32(refused.body.size());
        std::vector<Message> changed(20, answers.back());
        changed.push_back(refused);
        answers = changed;
    });
    ASSERT_EQ(uplink_xs_init(), 0);
    for (int i = 0; i < 50; ++i) {
        auto watch = std::make_unique<Watch>("a");
        EXPECT_EQ(uplink_xs_watch(&watch->watch), -ENOMEM);
        watch.reset();
        EXPECT_EQ(read("a", ""), "1");
    }
    uplink_xs_exit();
}

TEST_F(Store, MoreEventsThanAnybodyTakes) {
    FakeStore store({{"w", "1"}});
    ASSERT_EQ(uplink_xs_init(), 0);
    std::atomic<bool> go = false;
    Watch watch("w");
    watch.also = [&] {
        while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    ASSERT_EQ(uplink_xs_watch(&watch.watch), 0);
    for (int i = 0; i < 5000; ++i) store.change("w", "1");
    EXPECT_EQ(read("w", ""), "1");
    EXPECT_EQ(read("w", ""), "1");  // all of them have come before this answer
    EXPECT_LE(xs_left(), 1024u + 1);
    go = true;
    EXPECT_TRUE(soon([] { return xs_left() == 1; }));
    EXPECT_LE(watch.seen, 1026);
    uplink_xs_unwatch(&watch.watch);
    uplink_xs_exit();
}

// Whole messages, each of them nonsense in some way: the client lives, what it gives is a value or an error, and the next honest answer is right.
TEST_F(Store, MessagesOfNonsense) {
    std::mt19937 random(11);
    std::string token;
    FakeStore store({{"a", "value"}, {"d/x", "1"}, {"d/y", "2"}}, [&](std::vector<Message>& answers, const Message& request) {
        if (request.header.type == XS_WATCH) token = std::string(request.body.c_str() + std::strlen(request.body.c_str()) + 1);
        if (request.header.tx_id == 0) return;  // the test marks what may be spoilt
        const Message honest = answers.front();
        Message& answer = answers.front();
        std::string noise(random() % 600, '\0');
        for (auto& c : noise) c = static_cast<char>(random() % 4 == 0 ? 0 : random());
        switch (random() % 8) {
            case 0: answer.header.type = static_cast<std::uint32_t>(random() % 3 == 0 ? random() : random() % 24); break;
            case 1: answer.body = noise; break;
            case 2: answer.body.clear(); break;
            case 3: answer.header.type = XS_ERROR, answer.body = noise; break;
            case 4: answers.insert(answers.begin(), {{.type = XS_READ, .req_id = static_cast<std::uint32_t>(random()), .tx_id = 0, .len = 0}, noise}); break;
            case 5: answers.insert(answers.begin(), {{.type = XS_WATCH_EVENT, .req_id = 0, .tx_id = 0, .len = 0}, noise}); break;
            case 6: answers.insert(answers.begin(), {{.type = XS_WATCH_EVENT, .req_id = 0, .tx_id = 0, .len = 0}, "path" + std::string(1, '\0') + token}); break;  // no end
            case 7: answers.push_back(answer); break;  // twice
        }
        if (random() % 4 == 0) answers.back().header.req_id += 1'000'000;  // nobody's
        answers.push_back(honest);                              // too late, where the client believed one before
        for (auto& message : answers) message.header.len = u32(message.body.size());
    });
    ASSERT_EQ(uplink_xs_init(), 0);
    Watch watch("w");
    ASSERT_EQ(uplink_xs_watch(&watch.watch), 0);
    for (std::uint32_t i = 0; i < 1500; ++i) {
        const xenbus_transaction spoilt{1};
        unsigned length = 0, count = 0;
        const Text text(uplink_xs_read(spoilt, "a", "", &length));
        EXPECT_TRUE(!text.good() || text.text().size() <= length);
        if (const Text list(static_cast<void*>(uplink_xs_directory(spoilt, "d", "", &count))); list.good()) {
            for (unsigned entry = 0; entry < count; ++entry) EXPECT_LE(std::strlen(static_cast<char**>(list.at)[entry]), 600u);
        }
        xenbus_transaction t = spoilt;
        (void)uplink_xs_end(t, 1);
        ASSERT_EQ(read("a", ""), "value") << i;
    }
    EXPECT_FALSE(xs_is_dead());
    uplink_xs_unwatch(&watch.watch);
    uplink_xs_exit();
}

// Somebody writes anything anywhere in the page, all the time. Nothing can be right then; it only must end, and touch nothing else (the address sanitizer looks).
TEST_F(Store, APageThatChangesUnderItsHands) {
    sim_hz = 1;  // an answer that never comes is waited for a minute of the kernel's
    for (std::uint32_t round = 0; round < 60; ++round) {
        FakeStore store({{"a", "value"}});
        std::atomic<bool> stop = false;
        if (uplink_xs_init() != 0) continue;
        std::thread chaos([&] {
            std::mt19937 random(round);
            auto* const words = reinterpret_cast<std::uint32_t*>(&store.page());
            const std::size_t indices = offsetof(xenstore_domain_interface, req_cons) / 4;
            while (!stop) {
                const bool index = random() % (round % 2 == 0 ? 2 : 200) == 0;
                const std::size_t at = index ? indices + random() % 4 : random() % indices;
                const std::uint32_t now = std::atomic_ref(words[indices + random() % 4]).load();
                std::atomic_ref(words[at]).store(index ? now + static_cast<std::uint32_t>(random() % 1100) : static_cast<std::uint32_t>(random() % 64));
                store.interrupt();
            }
        });
        Watch watch("a");
        const bool watched = uplink_xs_watch(&watch.watch) == 0;
        for (int i = 0; i < 5; ++i) (void)read("a", "");
        if (watched) uplink_xs_unwatch(&watch.watch);
        stop = true;
        chaos.join();
        uplink_xs_exit();
    }
}

}  // namespace
}  // namespace blanket::uplink
