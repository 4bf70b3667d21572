// SPDX-License-Identifier: GPL-2.0-or-later
// The ways that several sites find and keep, each with the real WayKeeper, over simulated NATs and WireGuards (ways_world.hpp).
#include "tests/unit/fakes/fake_registry.hpp"
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

TEST(WaysWorld, EverybodysTurnToBeMeasuredComes) {
    Internet internet;
    for (int i = 0; i < 26; ++i) internet.add(std::format("s{:02}", i));  // more than can be within the minute after which the first are due again
    internet.begin();
    internet.run(3 * kMinute);
    for (const auto& [site, heard] : internet["s00"].record.heard) EXPECT_EQ(heard.rtt_ms, 32u) << site;
    EXPECT_EQ(internet["s00"].record.heard.size(), 25u);
}

TEST(WaysWorld, TcpGoesByTheTunnelWhereThatHelps) {
    Internet internet;
    internet.add("east");
    internet.add("hub");
    internet.add("west");
    internet["hub"].listens = false;
    internet["west"].takes_tcp = false;
    internet.begin();
    internet.run(3 * kMinute);
    EXPECT_EQ(internet["east"].ways->address_of(internet["west"].record), "10.213.3.1");
    EXPECT_EQ(internet["east"].ways->address_of(internet["hub"].record), "203.0.113.2") << "its blanketd is away: no reason to go round";
}

TEST(WaysWorld, AMoveWhoseAddressIsCutGoesOnThroughTheTunnel) {
    Internet internet;
    internet.add("east");
    internet.add("hub");
    internet.add("west");
    internet.begin();
    internet.run(3 * kMinute);
    EXPECT_EQ(internet["east"].ways->address_of(internet["west"].record), "203.0.113.3");
    internet.busy = true;  // nobody measures
    internet.cut("east", "west");
    internet.run(5 * kMinute);
    EXPECT_EQ(internet.way("east", "west"), "via hub") << internet.why("east", "west");
    EXPECT_EQ(internet["east"].ways->address_of(internet["west"].record), "10.213.3.1");
}

// One keeper, "east", and what its WireGuard says of one peer.
struct Lone {
    static constexpr std::int64_t kUnix = 1'800'000'000;
    const std::string key = base64_encode(std::string(32, 'W'));
    std::vector<Site> sites{site("east", 1, base64_encode(std::string(32, 'E'))), site("west", 2, key)};
    std::string endpoint = "203.0.113.2:51820";
    bool speaks = false;
    int looks = -1;  // so many more see the peer; -1: all
    std::vector<std::string> sets;
    std::int64_t now_s = 0;
    WayKeeper ways{"east", world()};

    static Site site(const std::string& name, std::uint32_t index, const std::string& peer_key) {
        Site out;
        out.name = name;
        out.index = index;
        out.address = std::format("203.0.113.{}", index);
        out.wireguard_key = peer_key;
        return out;
    }
    WayKeeper::World world() {
        WayKeeper::World out;
        out.run = [this](const Argv& argv) -> Result<Output> {
            if (argv[1] == "set") sets.push_back(argv.back());
            if (argv[1] != "show") return Output{0, "", ""};
            std::string text = "SECRET\tPUBLIC\t51820\toff\n";
            if (looks != 0) text += std::format("{}\t(none)\t{}\t10.213.2.0/24\t{}\t{}\t0\t25\n", key, endpoint, speaks ? kUnix + now_s : 0, speaks ? 100 + now_s : 0);
            looks -= looks > 0 ? 1 : 0;
            return Output{0, text, ""};
        };
        out.give_way = [] { return true; };
        out.poke = [](const std::string&) {};
        out.opens = [](const std::string&) { return false; };
        out.wait = [](std::chrono::milliseconds) {};
        out.keep_endpoints = [](std::set<std::string>) {};
        return out;
    }
    void rounds(int count) {
        Snapshot records;
        for (const auto& one : sites) records.sites.push_back({one, 1});
        for (int i = 0; i < count; ++i, now_s += 5) EXPECT_TRUE(ways.round(records, {1'000'000 + now_s * 1000, kUnix + now_s}));
    }
    std::string told() { return ways.heard().contains("west") ? ways.heard().at("west").from : "nothing"; }
};

TEST(WayKeeper, WhoComesWithTheKeyOfAnotherHasNoSay) {
    Lone lone;
    lone.sites.push_back(Lone::site("thief", 3, lone.key));
    lone.rounds(30);
    EXPECT_TRUE(lone.sets.empty()) << lone.sets.front();
    EXPECT_FALSE(lone.ways.way("thief"));
    EXPECT_TRUE(lone.ways.way("west"));
}

TEST(WayKeeper, WhomTheOverlayTakesAwayMeanwhileIsNotMadeAnew) {
    Lone lone;
    lone.endpoint = "203.0.113.2:40000";  // silent: its address is to be tried
    lone.looks = 1;
    lone.rounds(1);
    EXPECT_TRUE(lone.sets.empty());
    Lone other;
    other.endpoint = "203.0.113.2:40000";
    other.rounds(1);
    EXPECT_EQ(other.sets, std::vector<std::string>{"203.0.113.2:51820"});
}

TEST(WayKeeper, APortThatChangesAlwaysIsNotToldAlways) {
    Lone lone;
    lone.speaks = true;
    lone.endpoint = "203.0.113.2:40000";
    lone.rounds(1);
    EXPECT_EQ(lone.told(), "nothing") << "not settled";
    lone.rounds(5);
    EXPECT_EQ(lone.told(), "203.0.113.2:40000");
    for (int port = 41'000; port < 41'030; ++port) {
        lone.endpoint = std::format("203.0.113.2:{}", port);
        lone.rounds(1);
        EXPECT_EQ(lone.told(), "203.0.113.2:40000") << port;
    }
    lone.rounds(4);
    EXPECT_EQ(lone.told(), "203.0.113.2:41029");
}

TEST(WayKeeper, ANewLifeGoesOnWithWhatItsRecordSays) {
    Lone lone;
    lone.speaks = true;
    lone.sites[0].heard["west"] = {"", 64};
    lone.rounds(1);
    EXPECT_EQ(lone.ways.heard(), lone.sites[0].heard) << "nothing to write";
}

TEST(WayKeeper, WhatIsHeardIsWrittenOnceAndOverwritesNothing) {
    fakes::FakeRegistry registry;
    const std::map<std::string, Heard> heard{{"west", {"203.0.113.2:40000", 32}}};
    ASSERT_TRUE(publish_heard(registry, "east", heard));
    EXPECT_FALSE(registry.get("sites/east").value()) << "no record, nothing to write into";
    Site east = Lone::site("east", 1, base64_encode(std::string(32, 'E')));
    east.path_mtu = {{"west", 1460}};
    ASSERT_TRUE(registry.put("sites/east", to_json(east), 0));
    ASSERT_TRUE(publish_heard(registry, "east", heard));
    const auto stored = registry.get("sites/east").value();
    east.heard = heard;
    EXPECT_EQ(parse_site(stored->value).value(), east);
    ASSERT_TRUE(publish_heard(registry, "east", heard));
    EXPECT_EQ(registry.get("sites/east").value()->revision, stored->revision);
    registry.down = true;
    EXPECT_FALSE(publish_heard(registry, "east", {}));
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
