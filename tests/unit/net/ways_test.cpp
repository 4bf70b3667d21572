// SPDX-License-Identifier: GPL-2.0-or-later
// The choice of a way, step by step; what is told of it; and what `wg show dump` says. Whole worlds of them: tests/unit/daemon/ways_world_test.cpp.
#include "net/ways.hpp"

#include <gtest/gtest.h>

#include <random>

namespace blanket::net::test {
namespace {

constexpr const char* kDirect = "192.0.2.2:51820";
constexpr const char* kSeen = "203.0.113.7:40123";
constexpr std::int64_t kUnix = 1'800'000'000;  // a full minute, and a slot that is divisible by 256 is not near

const Candidate kByAddress{Way::kDirect, kDirect, {}, 0}, kByNat{Way::kPunched, kSeen, {}, 0}, kByHub{Way::kRelay, "10.213.3.1:61002", "hub", 60}, kByFar{Way::kRelay, "10.213.4.1:61002", "far", 90};

Site way_site(const std::string& name, std::uint32_t index, const std::string& address = "192.0.2.9") {
    Site site;
    site.name = name;
    site.index = index;
    site.address = address;
    return site;
}

// One pair; each step is 5 s later.
struct Pair {
    std::vector<Candidate> list{kByAddress, kByNat, kByHub, kByFar};
    std::vector<Site> sites{way_site("east", 1), way_site("west", 2, "192.0.2.2"), way_site("hub", 3), way_site("far", 4)};
    PeerCount count{kDirect, 0, 0, 0};
    PairState state;
    std::int64_t now_ms = 1'000'000;
    bool leads = true;
    std::vector<Candidate> nudges;
    bool set = false;

    [[nodiscard]] Moment now() const { return {now_ms, kUnix + (now_ms - 1'000'000) / 1000}; }
    void step(std::uint64_t received = 0, std::uint64_t sent = 0, std::optional<Sample> sample = {}) {
        count.received += received;
        count.sent += sent;
        if (received != 0) count.handshake_s = now().unix_s;
        state = look(std::move(state), count, sample, kDirect, sites, now());
        auto choice = choose(std::move(state), list, leads, now());
        state = std::move(choice.state);
        set = choice.set;
        if (set) count.endpoint = state.now.endpoint;
        nudges = std::move(choice.nudges);
        now_ms += 5000;
    }
    void alive(int steps) {
        for (int i = 0; i < steps; ++i) step(100, 100);
    }
    void roam(const std::string& endpoint) { count.endpoint = endpoint; }
};

TEST(Ways, CandidatesInTheirOrder) {
    auto sites = Pair().sites;
    sites[2].heard["west"] = {kSeen, 0};
    sites[3].heard["west"] = {"203.0.113.7:40999", 0};
    EXPECT_TRUE(looks_symmetric("east", sites[1], sites));
    sites.push_back(way_site("north", 5));
    sites[4].heard["west"] = {kSeen, 0};
    sites.push_back(way_site("south", 6));
    sites[5].heard["west"] = {kDirect, 0};
    const auto list = candidates("east", sites[1], sites, {{"hub", 3, 60}});
    ASSERT_EQ(list.size(), 4u);
    EXPECT_EQ(list[0], kByAddress);
    EXPECT_EQ(list[1], kByNat) << "two sites see it there";
    EXPECT_EQ(list[2].endpoint, "203.0.113.7:40999");
    EXPECT_EQ(list[3], kByHub);
    for (auto& site : sites) site.state = kRevoked;
    EXPECT_EQ(candidates("east", sites[1], sites, {}).size(), 1u) << "nobody believes a site that is cut off";
    sites = Pair().sites;
    for (std::uint32_t i = 0; i < 50; ++i) {
        sites.push_back(way_site(std::format("s{}", i), 10 + i));
        sites.back().heard["west"] = {std::format("203.0.113.7:{}", 1000 + i), 0};
    }
    EXPECT_EQ(candidates("east", sites[1], sites, {}).size(), 1 + kMostPunched);
}

TEST(Ways, WhatIsSilentIsTriedInTurnByTheWallClock) {
    Pair pair;
    std::vector<std::string> tried;
    for (int i = 0; i < 24; ++i) {
        pair.step(0, 148);
        if (tried.empty() || tried.back() != pair.count.endpoint) tried.push_back(pair.count.endpoint);
    }
    ASSERT_GE(tried.size(), 8u);
    for (std::size_t i = 4; i < tried.size(); ++i) EXPECT_EQ(tried[i], tried[i - 4]);
    EXPECT_EQ(std::set<std::string>(tried.begin(), tried.end()).size(), 4u);
    Pair alone;
    alone.list = {kByAddress};
    for (int i = 0; i < 30; ++i) {
        alone.step(0, 148);
        EXPECT_FALSE(alone.set) << "there is nothing else to try";
    }
    alone.list.clear();
    alone.step();
    EXPECT_FALSE(alone.set);
}

TEST(Ways, LifeAndDeath) {
    Pair pair;
    pair.alive(3);
    EXPECT_TRUE(pair.state.alive);
    for (int i = 0; i < 7; ++i) pair.step(0, i == 3 ? 32 : 0);  // 35 s in which only a keepalive of ours went out
    EXPECT_TRUE(pair.state.alive);
    pair.step();
    EXPECT_FALSE(pair.state.alive) << "40 s";
    pair.alive(1);
    EXPECT_TRUE(pair.state.alive);
    for (int i = 0; i < 4; ++i) pair.step(0, 100);
    EXPECT_TRUE(pair.state.alive);
    pair.step(0, 100);
    EXPECT_FALSE(pair.state.alive) << "20 s without an answer";
    // Its questions arrive, and no answer of ours: no session comes of them.
    Pair deaf;
    deaf.alive(3);
    for (int i = 0; i < 35; ++i) {
        deaf.count.received += 148;
        deaf.step(0, 92);
    }
    EXPECT_TRUE(deaf.state.alive) << "there may still be one";
    deaf.count.received += 148;
    deaf.step(0, 92);
    EXPECT_FALSE(deaf.state.alive) << "180 s";
    EXPECT_FALSE(heard_of(deaf.state, kDirect, false, Heard{}, deaf.now())) << "or there would never be a relay";
    // A process that has just begun takes WireGuard's word.
    Pair anew;
    anew.count = {kSeen, kUnix - 100, 500, 500};
    anew.step();
    EXPECT_TRUE(anew.state.alive);
    EXPECT_EQ(anew.state.now.way, Way::kPunched);
    EXPECT_FALSE(anew.set);
    Pair old;
    old.count = {kDirect, kUnix - 1000, 500, 500};
    old.step();
    EXPECT_FALSE(old.state.alive);
    // The interface was made anew: its counts begin at nothing.
    anew.count = {"", 0, 0, 0};
    anew.step();
    EXPECT_TRUE(anew.set);
}

TEST(Ways, WireGuardIsFollowed) {
    Pair pair;
    pair.alive(5);
    pair.roam("198.51.100.1:1024");
    pair.alive(1);
    EXPECT_FALSE(pair.set);
    EXPECT_EQ(pair.state.now.way, Way::kPunched);
    pair.roam(kByFar.endpoint);
    pair.alive(1);
    EXPECT_EQ(pair.state.now.via, "far");
    EXPECT_EQ(describe(pair.state, pair.list, false, pair.now()).way, "via far");
    pair.roam("10.213.2.1:51820");  // into its own tunnel, and that again
    pair.alive(1);
    EXPECT_TRUE(pair.set);
    EXPECT_EQ(pair.state.now, kByHub);
}

TEST(Ways, ARelayIsNudgedEverMoreSeldom) {
    Pair pair;
    pair.roam(kByHub.endpoint);
    std::vector<std::int64_t> at;
    for (int i = 0; i < 24 * 720; ++i) {  // a day
        pair.alive(1);
        EXPECT_FALSE(pair.set);
        if (pair.nudges.empty()) continue;
        EXPECT_EQ(pair.nudges, (std::vector<Candidate>{kByAddress, kByNat}));
        at.push_back(pair.now_ms);
    }
    EXPECT_GE(at.size(), 9u);
    EXPECT_LE(at.size(), 16u);
    // New endpoints are news.
    pair.list[1].endpoint = "203.0.113.7:50000";
    pair.alive(13);
    EXPECT_EQ(pair.state.nudged, 1u);
    pair.roam(kDirect);
    pair.alive(1);
    EXPECT_EQ(pair.state.now.way, Way::kDirect);
    EXPECT_EQ(pair.state.nudged, 0u);
}

TEST(Ways, WhatHasAnsweredIsInsistedOn) {
    Pair pair;
    pair.roam(kByHub.endpoint);
    pair.alive(20);
    EXPECT_FALSE(heard_of(pair.state, kDirect, false, {}, pair.now()));
    pair.state = prove(std::move(pair.state), kByNat, pair.now());
    EXPECT_EQ(heard_of(pair.state, kDirect, false, {}, pair.now())->from, kSeen) << "at once: the relay is to stop";
    for (int i = 0; i < 5; ++i) {
        pair.roam(kByHub.endpoint);  // by what was on its way
        pair.alive(1);
        EXPECT_TRUE(pair.set);
        EXPECT_EQ(pair.count.endpoint, kSeen);
    }
    pair.alive(1);
    EXPECT_FALSE(pair.set);
    pair.roam(kByHub.endpoint);
    pair.alive(1);
    EXPECT_EQ(pair.state.now.via, "hub") << "the other end means it";
    EXPECT_FALSE(heard_of(pair.state, kDirect, false, Heard{}, pair.now()));
    // One that has answered once and is silent then is like any other.
    pair.state = prove(std::move(pair.state), kByNat, pair.now());
    pair.roam(kSeen);
    for (int i = 0; i < 9; ++i) pair.step(0, 100);
    EXPECT_FALSE(pair.state.alive);
}

TEST(Ways, ABetterRelayHasToBeMuchBetterForSomeTime) {
    Pair pair;
    pair.roam(kByFar.endpoint);
    pair.list = {kByAddress, kByHub, kByFar};
    pair.list[1].cost_ms = 70;  // of 90: not 30 % better
    pair.alive(100);
    EXPECT_EQ(pair.state.now.via, "far");
    pair.list[1].cost_ms = 60;
    pair.alive(2);
    EXPECT_EQ(pair.state.now.via, "far") << "three looks in a row";
    pair.list[1].cost_ms = 80;
    pair.alive(1);
    pair.list[1].cost_ms = 60;
    pair.alive(2);
    EXPECT_EQ(pair.state.now.via, "far");
    pair.leads = false;
    pair.alive(20);
    EXPECT_EQ(pair.state.now.via, "far") << "the other end's to choose";
    pair.leads = true;
    pair.alive(3);
    EXPECT_EQ(pair.state.now.via, "hub");
    pair.list = {kByAddress, kByFar, kByHub};  // and back
    pair.list[1].cost_ms = 10;
    pair.alive(11);
    EXPECT_EQ(pair.state.now.via, "hub") << "a minute at least";
    pair.alive(2);
    EXPECT_EQ(pair.state.now.via, "far");
    // Small ones do not matter.
    pair.list[1].cost_ms = 12;
    pair.list[2].cost_ms = 4;
    pair.alive(100);
    EXPECT_EQ(pair.state.now.via, "far");
    // One that must not be used any more is left at once, for the other.
    pair.list = {kByAddress, kByHub};
    pair.alive(1);
    EXPECT_EQ(pair.state.now.via, "hub");
    EXPECT_TRUE(pair.set);
    pair.list = {kByAddress};
    pair.alive(1);
    EXPECT_EQ(pair.state.now.way, Way::kDirect);
}

TEST(Ways, ALossyWayIsLeftForLongerEachTime) {
    Pair pair;
    pair.list = {kByAddress};
    const auto lossy = [&](double percent) { pair.step(100, 100, Sample{percent, 20.0}); };
    for (int i = 0; i < 5; ++i) lossy(40);
    EXPECT_EQ(pair.state.now.way, Way::kDirect) << "there is nothing better";
    EXPECT_FALSE(heard_of(pair.state, kDirect, false, Heard{}, pair.now())) << "but others may help";
    EXPECT_TRUE(describe(pair.state, pair.list, false, pair.now()).why.contains("loses 40 %"));
    pair.list = {kByAddress, kByHub};
    std::vector<std::int64_t> returns;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 4 && pair.state.now.way != Way::kRelay; ++i) lossy(i % 2 == 0 || round == 0 ? 40 : 25);
        ASSERT_EQ(pair.state.now.via, "hub");
        const auto begun = pair.now_ms;
        while (pair.nudges.empty()) pair.alive(1);
        returns.push_back((pair.now_ms - begun) / 60'000);
        pair.roam(kDirect);
        pair.alive(1);
    }
    EXPECT_GE(returns[0], 10);
    EXPECT_GE(returns[1], 20);
    EXPECT_GE(returns[2], 40);
    pair.now_ms += kForgottenMs;
    for (int i = 0; i < 4 && pair.state.now.way != Way::kRelay; ++i) lossy(40);
    ASSERT_EQ(pair.state.now.via, "hub");
    const auto begun_anew = pair.now_ms;
    while (pair.nudges.empty()) pair.alive(1);
    EXPECT_LE((pair.now_ms - begun_anew) / 60'000, 15) << "a day without trouble";
    Pair some;
    for (int i = 0; i < 50; ++i) some.step(100, 100, Sample{i % 3 == 0 ? 0.0 : 60.0, 20.0});
    EXPECT_EQ(some.state.now.way, Way::kDirect) << "never three in a row";
    Pair follows;
    follows.leads = false;
    for (int i = 0; i < 10; ++i) follows.step(100, 100, Sample{60, 20.0});
    EXPECT_EQ(follows.state.now.way, Way::kDirect);
    follows.roam(kByHub.endpoint);
    follows.alive(60);
    EXPECT_TRUE(follows.nudges.empty() && follows.state.nudged == 0) << "nor does it go back at once";
}

TEST(Ways, WhatIsTold) {
    Pair pair;
    pair.alive(2);
    EXPECT_FALSE(heard_of(pair.state, kDirect, false, {}, {pair.state.since_ms + 1000, kUnix})) << "not settled";
    pair.alive(3);
    EXPECT_EQ(heard_of(pair.state, kDirect, false, {}, pair.now()), Heard{});
    pair.step(100, 100, Sample{0, 19.0});
    EXPECT_EQ(heard_of(pair.state, kDirect, false, {}, pair.now())->rtt_ms, 32u);
    for (const std::uint32_t kept : {16u, 32u, 64u}) EXPECT_EQ(heard_of(pair.state, kDirect, false, Heard{"", kept}, pair.now())->rtt_ms, kept) << "little changes are none";
    for (const std::uint32_t changed : {1u, 8u, 128u}) EXPECT_EQ(heard_of(pair.state, kDirect, false, Heard{"", changed}, pair.now())->rtt_ms, 32u);
    pair.roam(kSeen);
    pair.alive(5);
    EXPECT_EQ(heard_of(pair.state, kDirect, false, {}, pair.now())->from, kSeen);
    for (const char* inside : {"192.168.1.5:51820", "10.1.2.3:4", "172.16.0.1:5", "100.64.0.1:6"}) {
        pair.roam(inside);
        pair.alive(5);
        EXPECT_EQ(heard_of(pair.state, kDirect, false, {}, pair.now())->from, "") << inside;
        EXPECT_EQ(heard_of(pair.state, kDirect, true, {}, pair.now())->from, inside) << "in a federation on private addresses nothing else is known";
    }
    pair.roam(kByHub.endpoint);
    pair.alive(5);
    EXPECT_FALSE(heard_of(pair.state, kDirect, true, Heard{}, pair.now())) << "through a relay is not heard";
}

TEST(Ways, EachReasonIsSaid) {
    Pair pair;
    pair.roam(kByHub.endpoint);
    pair.alive(1);
    EXPECT_EQ(describe(pair.state, pair.list, true, pair.now()).why, "not reached at 192.0.2.2:51820, and its NAT gives each destination another port; tried 1 time since");
    EXPECT_EQ(describe(pair.state, pair.list, false, pair.now()).why, "not reached at 192.0.2.2:51820, nor at where other sites see it come from (1 endpoint); tried 1 time since");
    Pair silent;
    silent.list = {kByAddress};
    silent.step();
    EXPECT_EQ(describe(silent.state, silent.list, false, silent.now()).way, "-");
    EXPECT_TRUE(describe(silent.state, silent.list, false, silent.now()).why.contains("there is no relay"));
}

// Whatever WireGuard counts and the records say: it is never set to what is no candidate, never more often than every 5 s, and a way that answers is never left for a better one within a minute.
TEST(Ways, NoInputMakesItFlap) {
    std::mt19937 random(3);
    const auto up_to = [&](std::uint32_t most) { return std::uniform_int_distribution<std::uint32_t>(0, most)(random); };
    for (int round = 0; round < 500; ++round) {
        Pair pair;
        pair.leads = up_to(1) == 0;
        std::int64_t last = 0;
        for (int i = 0; i < 200; ++i) {
            for (auto& one : pair.list)
                if (one.way == Way::kRelay) one.cost_ms = up_to(200);
            std::ranges::sort(pair.list, {}, [](const Candidate& one) { return std::pair(one.way, one.cost_ms); });
            if (up_to(30) == 0) pair.roam(pair.list[up_to(3)].endpoint);
            pair.step(100, 100, up_to(5) == 0 ? std::optional(Sample{static_cast<double>(up_to(100)), up_to(1) == 0 ? std::optional(5.0) : std::nullopt}) : std::nullopt);
            if (!pair.set) continue;
            ASSERT_TRUE(std::ranges::contains(pair.list, pair.state.now.endpoint, &Candidate::endpoint));
            if (last != 0 && pair.state.now.way == Way::kRelay && pair.state.relapses == 0) ASSERT_GE(pair.now_ms - last, kDwellMs);
            last = pair.now_ms;
        }
    }
}

TEST(WireGuardDump, IsReadAndItsSecretPassedOver) {
    const auto peers = parse_wireguard_dump("SECRET=\tPUBLIC=\t51820\toff\nkw=\t(none)\t203.0.113.7:51820\t10.213.2.0/24\t1700000000\t1000\t2000\t25\nkx=\tpsk\t(none)\t(none)\t0\t0\t0\toff\n");
    ASSERT_TRUE(peers) << peers.error().what;
    EXPECT_EQ(*peers, (std::map<std::string, PeerCount>{{"kw=", {"203.0.113.7:51820", 1'700'000'000, 1000, 2000}}, {"kx=", {"", 0, 0, 0}}}));
    EXPECT_TRUE(parse_wireguard_dump("")->empty());
    EXPECT_TRUE(parse_wireguard_dump("SECRET=\tPUBLIC=\t51820\toff")->empty());
    for (const char* bad : {"x\nkw=", "x\na\tb\tc\td\te\tf\tg\th\n", "x\na\tb\tc\td\t-1\t0\t0\t25\n", "x\na\tb\tc\td\t1\t0\t99999999999999999999\t25\n", "x\n\n"}) {
        const auto refused = parse_wireguard_dump(bad);
        ASSERT_FALSE(refused) << bad;
        EXPECT_FALSE(refused.error().what.contains("SECRET"));
    }
    EXPECT_EQ(parse_wireguard_endpoints("kw=\t203.0.113.7:51820\nkx=\t(none)\nnonsense\n"), std::set<std::string>{"kw="});
}

TEST(WireGuardConfig, LeavesWhoIsElsewhere) {
    Underlay underlay{.address = 1, .mtu = 1440, .peers = {{"west", "kw=", kDirect, "10.213.2.0/24", 0}, {"home", "kh=", "192.168.1.2:51820", "10.213.3.0/24", 0}}};
    const auto text = wireguard_config({"s", "p"}, underlay, {"kh="});
    EXPECT_TRUE(text.contains("PublicKey = kw=\nAllowedIPs = 10.213.2.0/24\nEndpoint = 192.0.2.2:51820\nPersistentKeepalive = 25\n"));
    EXPECT_TRUE(text.contains("PublicKey = kh=\nAllowedIPs = 10.213.3.0/24\nPersistentKeepalive = 25\n"));
}

}  // namespace
}  // namespace blanket::net::test
