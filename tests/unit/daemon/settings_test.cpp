// SPDX-License-Identifier: GPL-2.0-or-later
// blanket.toml and the choice of the uplink.
#include "toolstack/daemon/settings.hpp"

#include <gtest/gtest.h>

namespace blanket {
namespace {

TEST(Settings, DefaultsComeFromTheHost) {
    const auto settings = parse_settings("", "East.example.org");
    ASSERT_TRUE(settings);
    EXPECT_EQ(settings->site, "east");
    EXPECT_EQ(settings->volume_group, "blanket");
    EXPECT_EQ(settings->content_store_mib, 1024u);
    EXPECT_EQ(parse_settings("[storage]\ncontent_store_mib='0'", "east")->content_store_mib, 0u);
    EXPECT_EQ(parse_settings("[storage]\ncontent_store_mib='4096'", "east")->content_store_mib, 4096u);
}

TEST(Settings, RefusesTypingErrorsByName) {
    for (const auto& [text, word] : std::vector<std::pair<std::string, std::string>>{{"[sites]\nname='a'", "sites"},
                                                                                   {"[site]\nnam='a'", "nam"},
                                                                                   {"[site]\nname=3", "name"},
                                                                                   {"[site]\nname='A B'", "A B"},
                                                                                   {"[site]\naddress='1.2.3'", "1.2.3"},
                                                                                   {"[storage]\ncontent_store_mib='63'", "at least 64"},
                                                                                   {"[storage]\ncontent_store_mib='1 GiB'", "content_store_mib"},
                                                                                   {"[storage]\ncontent_store_mib=64", "content_store_mib"},
                                                                                   {"[site\n", "line 1"},
                                                                                   {"[=site]\nname='a'", "line 1"},
                                                                                   {"[site]\nname=[}]", "line 2"},
                                                                                   {"[" + std::string(5000, 'k') + "]", "unknown section"},
                                                                                   {"[site]\n" + std::string(5000, 'k') + "='a'", "unknown key"}}) {
        const auto settings = parse_settings(text, "host");
        ASSERT_FALSE(settings) << text;
        EXPECT_LT(settings.error().what.size(), 700u);
        EXPECT_NE(settings.error().what.find(word), std::string::npos) << settings.error().what;
    }
}

constexpr const char* kAddresses = R"([{"ifname":"lo","addr_info":[{"scope":"host","local":"127.0.0.1"}]},
  {"ifname":"ens3","addr_info":[{"scope":"global","local":"192.0.2.7"}]},{"ifname":"wg-blanket","addr_info":[{"scope":"global","local":"10.213.1.1"}]}])";

TEST(Uplink, IsTheOnlyOneWithAnAddressOrTheDefaultRoute) {
    auto uplink = choose_uplink(kAddresses, "[]", "");
    ASSERT_TRUE(uplink);
    EXPECT_EQ(uplink->interface, "ens3");
    EXPECT_EQ(uplink->address, "192.0.2.7");
    EXPECT_FALSE(choose_uplink(kAddresses, "[]", "ens9"));
    EXPECT_FALSE(choose_uplink("[]", "[]", ""));
    EXPECT_FALSE(choose_uplink("{", "[]", ""));
    const std::string two = R"([{"ifname":"a","addr_info":[{"scope":"global","local":"192.0.2.7"}]},{"ifname":"b","addr_info":[{"scope":"global","local":"192.0.2.8"}]}])";
    EXPECT_FALSE(choose_uplink(two, "[]", ""));
    uplink = choose_uplink(two, R"([{"dst":"default","dev":"b"}])", "");
    ASSERT_TRUE(uplink);
    EXPECT_EQ(uplink->address, "192.0.2.8");
}

TEST(Uplink, AnAddressOfAnotherInterfaceIsStillThisHosts) {
    const std::string two = R"([{"ifname":"a","addr_info":[{"scope":"global","local":"192.0.2.7"},{"scope":"global","local":"192.0.2.9"}]},{"ifname":"b","addr_info":[{"scope":"global","local":"192.0.2.8"}]}])";
    for (const char* own : {"192.0.2.7", "192.0.2.8", "192.0.2.9"}) EXPECT_TRUE(has_address(two, own)) << own;
    EXPECT_FALSE(has_address(two, "203.0.113.9")) << "the NAT's: etcd cannot listen there";
    for (const char* bad : {"{", "[]", "{}", R"([{"addr_info":3},{"ifname":"a"}])"}) EXPECT_FALSE(has_address(bad, "192.0.2.7")) << bad;
}

}  // namespace
}  // namespace blanket
