// SPDX-License-Identifier: GPL-2.0-or-later
// The ways that several sites find and keep, each with the real WayKeeper, over simulated NATs and WireGuards (ways_world.hpp).
#include "ways_world.hpp"

namespace blanket::ways_test {
namespace {

constexpr std::int64_t kMinute = 60, kHour = 3600;

TEST(WaysWorld, SitesThatAreReachedAreLeftAlone) {
    Internet internet;
    for (const char* name : {"east", "north", "west"}) internet.add(name);
    internet.begin();
    internet.run(kHour);
    EXPECT_EQ(internet.sets(), 0u);
    EXPECT_EQ(internet.way("east", "west"), "direct");
    EXPECT_EQ(internet["east"].record.heard, (std::map<std::string, Heard>{{"north", {"", 32}}, {"west", {"", 32}}}));
    EXPECT_TRUE(internet["east"].kept.empty());
    EXPECT_EQ(internet["east"].ways->address_of(internet["west"].record), "203.0.113.3");
}

TEST(WaysWorld, BehindNatOneIsHeardWhereverItComesFrom) {
    for (const Nat nat : {Nat::kCone, Nat::kSymmetric}) {
        Internet internet;
        internet.add("home", nat);
        internet.add("hub");
        internet.add("west");
        internet.begin();
        internet.run(10 * kMinute);
        EXPECT_EQ(internet.way("home", "hub"), "direct");
        EXPECT_EQ(internet.way("hub", "home"), "punched") << internet.why("hub", "home");
        EXPECT_EQ(internet.way("west", "home"), "punched");
        EXPECT_TRUE(internet["hub"].record.heard["home"].from.starts_with("203.0.113.1:"));
        EXPECT_TRUE(internet["hub"].kept.contains("home")) << "nobody takes WireGuard back to the record's address";
        EXPECT_EQ(internet["hub"].ways->address_of(internet["home"].record), "10.213.1.1") << "TCP goes by the tunnel";
        EXPECT_EQ(internet["home"].ways->address_of(internet["hub"].record), "203.0.113.2");
        internet.outage_s("home", "hub");
        const auto sets = internet.sets();
        internet.run(kHour);
        EXPECT_EQ(internet.sets(), sets);
        EXPECT_LE(internet.outage_s("home", "hub"), 0);
        EXPECT_TRUE(internet.forwarded.empty());
    }
}

TEST(WaysWorld, TwoConesAreJoinedByARelayAtOnceAndPunchedThen) {
    Internet internet;
    internet.add("cabin", Nat::kCone);
    internet.add("home", Nat::kCone);
    internet.add("hub");
    internet.begin();
    internet.run(3 * kMinute);
    EXPECT_TRUE(internet.answers("cabin", "home")) << internet.why("cabin", "home");
    internet.run(5 * kMinute);
    EXPECT_EQ(internet.way("cabin", "home"), "punched") << internet.why("cabin", "home");
    EXPECT_EQ(internet.way("home", "cabin"), "punched");
    internet.outage_s("cabin", "home");
    internet.forwarded.clear();
    const auto sets = internet.sets();
    internet.run(2 * kHour);
    EXPECT_EQ(internet.sets(), sets) << "no flapping";
    EXPECT_LE(internet.outage_s("cabin", "home"), 0);
    EXPECT_TRUE(internet.forwarded.empty()) << "the relay has nothing to do any more";
}

TEST(WaysWorld, SymmetricNatsStayAtTheRelay) {
    Internet internet;
    internet.add("cabin", Nat::kCone);
    internet.add("home", Nat::kSymmetric);
    internet.add("hub");
    internet.add("north");
    internet.begin();
    internet.run(5 * kMinute);
    EXPECT_TRUE(internet.way("cabin", "home").starts_with("via ")) << internet.way("cabin", "home") << ' ' << internet.why("cabin", "home");
    EXPECT_EQ(internet.way("cabin", "home"), internet.way("home", "cabin"));
    EXPECT_TRUE(internet.why("cabin", "home").contains("another port")) << internet.why("cabin", "home");
    internet.outage_s("cabin", "home");
    internet.run(6 * kHour);
    EXPECT_TRUE(internet.way("cabin", "home").starts_with("via "));
    EXPECT_LE(internet.outage_s("cabin", "home"), 1) << "what is tried meanwhile costs a packet";
    EXPECT_LE(internet.sets(), 200u) << "and is tried ever more seldom";
}

TEST(WaysWorld, AnotherRelayTakesOver) {
    Internet internet;
    internet.add("cabin", Nat::kSymmetric);
    internet.add("home", Nat::kSymmetric);
    internet.add("hub");
    internet.add("north");
    internet.begin();
    internet.run(10 * kMinute);
    const std::string first = internet.way("cabin", "home");
    ASSERT_TRUE(first == "via hub" || first == "via north") << first << internet.why("cabin", "home");
    internet.outage_s("cabin", "home");
    internet[first.substr(4)].up = false;
    internet.run(5 * kMinute);
    EXPECT_EQ(internet.way("cabin", "home"), first == "via hub" ? "via north" : "via hub");
    EXPECT_LE(internet.outage_s("cabin", "home"), 100) << "40 s until it is missed, 15 s a turn";
    internet[first.substr(4)].up = true;
    internet.run(kHour);
    EXPECT_TRUE(internet.answers("cabin", "home"));
    internet.outage_s("cabin", "home");
    internet.run(kHour);
    EXPECT_LE(internet.outage_s("cabin", "home"), 1);
}

TEST(WaysWorld, WhoSharesNoNetworkIsNotRelayed) {
    Internet internet;
    internet.add("cabin", Nat::kSymmetric);
    internet.add("home", Nat::kSymmetric);
    internet.add("hub");
    internet.begin();
    std::erase_if(internet.vms, [](const VmRecord& vm) { return vm.owner == "home"; });
    internet.run(10 * kMinute);
    EXPECT_EQ(internet.way("cabin", "home"), "-");
    EXPECT_TRUE(internet.why("cabin", "home").contains("share no network"));
    EXPECT_TRUE(internet.forwarded.empty());
    internet.vms.push_back(internet.vms.front());
    internet.vms.back().owner = "home";
    internet.run(3 * kMinute);
    EXPECT_EQ(internet.way("cabin", "home"), "via hub");
    internet["home"].record.state = kRevoked;
    internet.forwarded.clear();
    internet.run(kMinute);
    EXPECT_TRUE(internet.forwarded.empty()) << "nothing is passed on for a site that is cut off";
}

TEST(WaysWorld, ACutIsGoneRoundAndTheStraightWayComesBack) {
    Internet internet;
    internet.add("east");
    internet.add("hub");
    internet.add("west");
    internet.begin();
    internet.run(10 * kMinute);
    internet.outage_s("east", "west");
    internet.cut("east", "west");
    internet.run(10 * kMinute);
    EXPECT_EQ(internet.way("east", "west"), "via hub") << internet.why("east", "west");
    EXPECT_LE(internet.outage_s("east", "west"), 90);
    internet.run(50 * kMinute);
    EXPECT_LE(internet.outage_s("east", "west"), 1);
    internet.cut("east", "west", 0);
    internet.run(70 * kMinute);  // it is tried after 1, 2, 4, ... minutes
    EXPECT_EQ(internet.way("east", "west"), "direct");
    EXPECT_EQ(internet.way("west", "east"), "direct");
    EXPECT_LE(internet.outage_s("east", "west"), 30);
    const auto sets = internet.sets();
    internet.run(kHour);
    EXPECT_EQ(internet.sets(), sets);
}

TEST(WaysWorld, AWayThatLosesTooMuchIsLeftAndNotTakenAgainAtOnce) {
    Internet internet;
    internet.add("east");
    internet.add("hub");
    internet.add("west");
    internet.begin();
    internet.run(5 * kMinute);
    internet.cut("east", "west", 40);
    internet.run(10 * kMinute);
    EXPECT_EQ(internet.way("east", "west"), "via hub") << internet.why("east", "west");
    EXPECT_TRUE(internet.why("east", "west").contains("lost too much")) << internet.why("east", "west");
    const auto sets = internet.sets();
    internet.run(24 * kHour);
    EXPECT_LE(internet.sets() - sets, 200u) << "a day: it is tried, found as bad, and left for longer each time";
    internet.cut("east", "west", 0);
    internet.run(12 * kHour);
    EXPECT_EQ(internet.way("east", "west"), "direct");
}

// Whatever NATs and cuts there are: a pair that some site hears both of is joined, nothing goes round (Internet says so), and it stays as it is.
TEST(WaysWorld, WhoeverCanBeJoinedIs) {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        SCOPED_TRACE(seed);
        Internet internet(seed);
        std::mt19937 random(seed);
        for (const char* name : {"a", "b", "c", "d", "e"}) internet.add(name, static_cast<Nat>(random() % 3));
        internet.begin();
        const auto names = internet.names();
        for (const auto& a : names)
            for (const auto& b : names)
                if (a < b && random() % 6 == 0) internet.cut(a, b);
        internet.run(30 * kMinute);
        for (const auto& a : names)
            for (const auto& b : names) {
                if (a >= b) continue;
                bool joined = false;
                for (const auto& g : names) {
                    const auto hears = [&](const std::string& x, const std::string& y) { return internet[x].record.heard.contains(y) && internet[y].record.heard.contains(x); };
                    joined = joined || hears(a, b) || (g != a && g != b && hears(g, a) && hears(g, b));
                }
                EXPECT_TRUE(!joined || internet.answers(a, b)) << a << ' ' << b << ": " << internet.way(a, b) << ", " << internet.why(a, b);
                internet.outage_s(a, b);
            }
        internet.run(kHour);
        for (const auto& a : names)
            for (const auto& b : names)
                if (a < b && internet.answers(a, b)) EXPECT_LE(internet.outage_s(a, b), 60) << a << ' ' << b << ": " << internet.way(a, b);
    }
}

}  // namespace
}  // namespace blanket::ways_test
