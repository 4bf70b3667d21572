// SPDX-License-Identifier: GPL-2.0-or-later
// What the paths carry, found by made-up pings; and where it is written.
#include "toolstack/daemon/path_probe.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "net/path_mtu.hpp"
#include "tests/unit/fakes/fake_registry.hpp"

namespace blanket {
namespace {

Site probe_site(const std::string& name, std::uint32_t index) {
    Site site;
    site.name = name;
    site.index = index;
    site.address = std::format("203.0.113.{}", index);
    return site;
}

struct ProbeRig {
    std::map<std::string, std::uint32_t> carries;  // by address; for a tunnel's: inside of it
    std::vector<std::string> asked;                // addresses
    std::function<bool()> give_way = [] { return false; };
    std::vector<Site> sites{probe_site("east", 1), probe_site("west", 2)};
    PathProbe probe{"east",
                    [this](const Argv& argv) -> Result<Output> {
                        EXPECT_EQ(argv[0], "ping");
                        const bool tunnel = std::ranges::find(argv, "wg-blanket") != argv.end();
                        EXPECT_EQ(tunnel, argv.back().starts_with("10.213."));
                        EXPECT_EQ(*(std::ranges::find(argv, "-M") + 1), "probe");
                        asked.push_back(argv.back());
                        const auto size = static_cast<std::uint32_t>(std::stoul(*(std::ranges::find(argv, "-s") + 1))) + 28;
                        return Output{size <= carries[argv.back()] ? 0 : 1, "", ""};
                    },
                    [this] { return give_way(); }};
    std::int64_t now_ms = 1000;

    std::uint32_t west() {
        const auto found = probe.found();
        return found.contains("west") ? found.at("west") : 0;
    }
    void round(std::uint32_t uplink_mtu = 1500) { probe.round(sites, uplink_mtu, now_ms); }
    void later(std::int64_t ms) {
        now_ms += ms;
        asked.clear();
        round();
    }
};

TEST(PathProbe, FindsConfirmsAndSeesChanges) {
    ProbeRig rig;
    rig.carries["203.0.113.2"] = 1460;
    rig.round();
    EXPECT_EQ(rig.west(), 1460u);
    rig.later(1000);
    EXPECT_TRUE(rig.asked.empty());
    rig.later(PathProbe::kConfirmMs);
    EXPECT_EQ(rig.asked.size(), 1u);
    rig.carries["203.0.113.2"] = 1420;  // a narrower way: seen at the next look
    rig.later(PathProbe::kConfirmMs);
    EXPECT_EQ(rig.west(), 1420u);
    rig.carries["203.0.113.2"] = 1500;  // a wider one: at the next search
    rig.later(PathProbe::kConfirmMs);
    EXPECT_EQ(rig.west(), 1420u);
    rig.later(PathProbe::kSearchMs);
    EXPECT_EQ(rig.west(), 1500u);
    EXPECT_EQ(rig.asked.size(), 1u);
    rig.carries["203.0.113.2"] = 9001;
    rig.now_ms += PathProbe::kSearchMs;
    rig.round(9001);
    EXPECT_EQ(rig.west(), 9001u);
    rig.later(PathProbe::kConfirmMs);  // the uplink's MTU is 1500 again: no larger packet leaves
    EXPECT_EQ(rig.west(), 1500u);
}

TEST(PathProbe, ThroughTheTunnelWhereNothingElseIsAnswered) {
    ProbeRig rig;
    rig.carries["10.213.2.1"] = 1340;
    rig.round();
    EXPECT_EQ(rig.west(), 1400u) << "with the 60 bytes of WireGuard";
    rig.later(PathProbe::kConfirmMs);
    EXPECT_EQ(rig.asked, std::vector<std::string>{"10.213.2.1"});
    rig.carries["203.0.113.2"] = 1380;  // what passes whole is the better answer, at the next search
    rig.later(PathProbe::kSearchMs);
    EXPECT_EQ(rig.west(), 1380u);
}

TEST(PathProbe, ASilentSiteKeepsWhatWasFoundAndIsAskedSeldom) {
    ProbeRig rig;
    rig.round();
    EXPECT_EQ(rig.west(), 0u);
    EXPECT_EQ(rig.asked.size(), 4u);  // the largest and the smallest, either way
    rig.later(1000);
    EXPECT_TRUE(rig.asked.empty());
    rig.carries["203.0.113.2"] = 1440;
    rig.later(PathProbe::kConfirmMs);
    EXPECT_EQ(rig.west(), 1440u);
    rig.carries.clear();
    for (int i = 0; i < 3; ++i) rig.later(PathProbe::kSearchMs);
    EXPECT_EQ(rig.west(), 1440u);
    EXPECT_LE(rig.asked.size(), 5u);
    rig.sites.pop_back();
    rig.later(0);
    EXPECT_TRUE(rig.probe.found().empty()) << "it has left";
}

TEST(PathProbe, GivesWay) {
    ProbeRig rig;
    rig.carries["203.0.113.2"] = 1460;
    rig.give_way = [&] { return rig.asked.size() >= 5; };  // in the middle of a search
    rig.round();
    EXPECT_EQ(rig.asked.size(), 5u);
    EXPECT_EQ(rig.west(), 0u) << "what was not asked has not been answered";
    rig.give_way = [] { return false; };
    rig.later(0);
    EXPECT_EQ(rig.west(), 1460u);
    int looks = 0;
    rig.give_way = [&] { return ++looks == 3; };  // a job that comes and ends during the search
    rig.later(PathProbe::kSearchMs);
    EXPECT_EQ(rig.asked.size(), 1u);
    EXPECT_EQ(rig.west(), 1460u);
}

TEST(PathProbe, AfterARestartWhatTheRecordSaysHoldsUntilItIsMeasured) {
    ProbeRig rig;
    rig.sites[0].path_mtu = {{"west", 1400}, {"ghost", 1300}};
    rig.round();
    EXPECT_EQ(rig.probe.found(), (std::map<std::string, std::uint32_t>{{"west", 1400}}));
    rig.carries["203.0.113.2"] = 1400;
    rig.later(PathProbe::kConfirmMs);
    EXPECT_EQ(rig.asked.size(), 4u);
    rig.sites[1].address = "203.0.113.77";  // it has moved: at once
    rig.carries["203.0.113.77"] = 1500;
    rig.later(1000);
    EXPECT_EQ(rig.west(), 1500u);
}

TEST(PathProbe, ARoundIsBounded) {
    ProbeRig rig;
    for (std::uint32_t i = 3; i < 60; ++i) rig.sites.push_back(probe_site(std::format("s{}", i), i));
    rig.sites[4].role = "witness";
    rig.sites[5].state = "joining";
    rig.sites[6].index = 0;
    std::mt19937 random(3);
    PathProbe probe("east", [&](const Argv& argv) -> Result<Output> {
        rig.asked.push_back(argv.back());
        return Output{static_cast<int>(random() % 2), "", ""};  // answers at will
    }, [] { return false; });
    for (int round = 0; round < 100; ++round) {
        rig.asked.clear();
        probe.round(rig.sites, 1500, rig.now_ms += 5000);
        const std::set<std::string> sites(rig.asked.begin(), rig.asked.end());
        EXPECT_LE(sites.size(), 2 * PathProbe::kSitesPerRound);
        EXPECT_LE(rig.asked.size(), PathProbe::kSitesPerRound * (1 + 2 * net::kMostProbes));
        for (const auto& [site, mtu] : probe.found()) EXPECT_TRUE(mtu >= kSmallestPathMtu && mtu <= 1500) << site << ' ' << mtu;
    }
    EXPECT_EQ(probe.found().size(), 55u);  // everybody's turn comes
}

TEST(PathProbe, WhatIsFoundIsWrittenOnceAndOverwritesNothing) {
    fakes::FakeRegistry registry;
    ASSERT_TRUE(publish_paths(registry, "east", {{"west", 1460}}));
    EXPECT_FALSE(registry.get("sites/east").value()) << "no record, nothing to write into";
    Site east = probe_site("east", 1);
    east.version = "9";
    ASSERT_TRUE(registry.put("sites/east", to_json(east), 0));
    ASSERT_TRUE(publish_paths(registry, "east", {{"west", 1460}}));
    const auto stored = registry.get("sites/east").value();
    east.path_mtu = {{"west", 1460}};
    EXPECT_EQ(parse_site(stored->value).value(), east);
    ASSERT_TRUE(publish_paths(registry, "east", {{"west", 1460}}));
    EXPECT_EQ(registry.get("sites/east").value()->revision, stored->revision);
}

TEST(PathProbe, MeasurementsFromTheStoreAreBounded) {
    Json json = to_json(probe_site("east", 1));
    EXPECT_FALSE(json.contains("path_mtu"));
    for (const Json& bad : {Json(3), Json::array(), Json{{"west", "1500"}}, Json{{"west", 1279u}}, Json{{"west", 65536u}}, Json{{"west", -1}}, Json{{"west", 1500.5}}, Json{{"../x", 1500}}, Json{{"west", nullptr}}}) {
        json["path_mtu"] = bad;
        const auto site = parse_site(json);
        ASSERT_TRUE(site) << bad.dump();
        EXPECT_TRUE(site->path_mtu.empty()) << bad.dump();
    }
    json["path_mtu"] = Json::object();
    for (int i = 0; i < 1000; ++i) json["path_mtu"]["s" + std::to_string(i)] = 1500u;
    EXPECT_EQ(parse_site(json)->path_mtu.size(), 254u);
}

TEST(PathProbe, ASitesWordsAboutItsProviderAreBounded) {
    Site site = probe_site("east", 1);
    EXPECT_FALSE(to_json(site).contains("provider"));
    site.provider = "QEMU or KVM";
    Json json = to_json(site);
    EXPECT_EQ(parse_site(json).value(), site);
    for (const Json& bad : {Json(3), Json::array(), Json(std::string(121, 'x'))}) {
        json["provider"] = bad;
        ASSERT_TRUE(parse_site(json)) << bad.dump();
        EXPECT_EQ(parse_site(json)->provider, "") << bad.dump();
    }
}

}  // namespace
}  // namespace blanket
