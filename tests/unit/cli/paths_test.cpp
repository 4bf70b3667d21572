// SPDX-License-Identifier: GPL-2.0-or-later
// paths: what WireGuard counts and pings measure, from made-up commands.
#include "toolstack/daemon/paths.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace blanket {
namespace {

constexpr const char* kSummary = "PING 10.213.2.1 (10.213.2.1) 56(84) bytes of data.\n\n--- 10.213.2.1 ping statistics ---\n5 packets transmitted, 4 received, 20% packet loss, time 812ms\n"
                                 "rtt min/avg/max/mdev = 50.123/52.500/55.900/1.200 ms\n";

Site site(const std::string& name, std::uint32_t index, const std::string& key, const std::string& role = "voter") {
    Site out;
    out.name = name;
    out.index = index;
    out.wireguard_key = key;
    out.role = role;
    return out;
}

Result<Output> world(const Argv& argv) {
    if (argv[0] == "wg" && argv[3] == "endpoints") return Output{0, "kw=\t203.0.113.7:51820\nkx=\t(none)\n", ""};
    if (argv[0] == "wg" && argv[3] == "transfer") return Output{0, "kw=\t1000\t2000\nkx=\t0\t0\n", ""};
    if (argv[0] == "wg" && argv[3] == "latest-handshakes") return Output{0, "kw=\t1000000\nkx=\t0\n", ""};
    if (argv[0] != "ping") return fail(Kind::kNotFound, "no {}", argv[0]);
    EXPECT_NE(std::ranges::find(argv, "wg-blanket"), argv.end());
    return argv.back() == "10.213.2.1" ? Output{0, kSummary, ""} : Output{1, "5 packets transmitted, 0 received, 100% packet loss, time 4000ms\n", ""};
}

const std::vector<Site> kSites{site("east", 1, "ke="), site("west", 2, "kw="), site("south", 3, "kx="), site("witness", 0, "", "witness")};

TEST(Paths, EachOtherSiteHasOne) {
    const auto paths = gather_paths(kSites, "east", 1'000'042, world);
    ASSERT_EQ(paths.size(), 2u);
    EXPECT_EQ(paths[0].site, "west");
    EXPECT_EQ(paths[0].endpoint, "203.0.113.7:51820");
    EXPECT_DOUBLE_EQ(paths[0].rtt_ms.value_or(0), 52.5);
    EXPECT_DOUBLE_EQ(paths[0].loss_percent.value_or(0), 20);
    EXPECT_EQ(paths[0].handshake_s, 42);
    EXPECT_EQ(paths[0].received, 1000u);
    EXPECT_EQ(paths[0].sent, 2000u);
    EXPECT_TRUE(paths[1].endpoint.empty());
    EXPECT_FALSE(paths[1].rtt_ms || paths[1].mtu || paths[1].handshake_s);
    EXPECT_DOUBLE_EQ(paths[1].loss_percent.value_or(0), 100);
    const Json json = to_json(paths);
    EXPECT_TRUE(json["paths"][0]["mtu"].is_null());
    EXPECT_TRUE(json["paths"][1]["rtt_ms"].is_null());
}

TEST(Paths, TheMtuIsWhatThisSiteHasFound) {
    auto sites = kSites;
    EXPECT_FALSE(gather_paths(sites, "east", 0, world)[0].mtu);
    sites[1].path_mtu = {{"east", 1280}};  // the other one's own view
    EXPECT_FALSE(gather_paths(sites, "east", 0, world)[0].mtu);
    sites[0].path_mtu = {{"west", 1460}, {"ghost", 1300}};
    const auto paths = gather_paths(sites, "east", 0, world);
    ASSERT_EQ(paths.size(), 2u);
    EXPECT_EQ(paths[0].mtu, 1460u);
    EXPECT_FALSE(paths[1].mtu);
    EXPECT_EQ(to_json(paths)["paths"][0]["mtu"], 1460u);
}

TEST(Paths, WithoutToolsNothingIsKnown) {
    const auto paths = gather_paths(kSites, "east", 0, [](const Argv&) -> Result<Output> { return fail(Kind::kNotFound, "none"); });
    ASSERT_EQ(paths.size(), 2u);
    EXPECT_FALSE(paths[0].rtt_ms || paths[0].loss_percent || paths[0].mtu || paths[0].handshake_s);
}

TEST(Paths, GarbageIsNoMeasurement) {
    for (const char* text : {"", "% packet loss", "x% packet loss", "min/avg/max", "min/avg/max = ", "min/avg/max = 1", "min/avg/max = 1/x"}) {
        EXPECT_FALSE(ping_loss(text)) << text;
        EXPECT_FALSE(ping_average_ms(text)) << text;
    }
}

}  // namespace
}  // namespace blanket
