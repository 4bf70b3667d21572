// SPDX-License-Identifier: GPL-2.0-or-later
// The plaintext search: whole frames, seams of TCP segments, and what must not match.
#include "tests/lab/plaintext_search.hpp"

#include <gtest/gtest.h>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {
namespace {

std::string tcp_frame(std::uint32_t sequence, std::string_view payload, char port = 1) {
    std::string frame(12, '\0');
    frame += "\x08";
    frame += '\0';
    std::string ip(20, '\0');
    const std::size_t total = 40 + payload.size();
    ip[0] = 0x45;
    ip[2] = static_cast<char>(total >> 8);
    ip[3] = static_cast<char>(total & 255);
    ip[9] = 6;
    std::string tcp(20, '\0');
    tcp[1] = port;
    for (int i = 0; i < 4; ++i) tcp[static_cast<std::size_t>(4 + i)] = static_cast<char>(sequence >> (24 - 8 * i) & 255);
    tcp[12] = 0x50;
    return frame + ip + tcp + std::string(payload);
}

PlaintextSearch search_for(const std::vector<std::string>& patterns) { return std::move(*PlaintextSearch::create(patterns)); }

TEST(PlaintextSearch, FindsPatternsInsideOneFrame) {
    auto search = search_for({"SECRET-ONE", "GET /ping"});
    search.add(as_bytes("noise noise"));
    search.add(as_bytes("xxSECRET-ONExxSECRET-ONE"));
    EXPECT_EQ(search.found(), 2u);
    EXPECT_EQ(search.hits()[0].count, 2u);
    EXPECT_EQ(search.hits()[0].first_frame, 2u);
    EXPECT_EQ(search.hits()[1].count, 0u);
    EXPECT_EQ(search.frames(), 2u);
}

TEST(PlaintextSearch, FindsAPatternSplitBetweenTwoSegments) {
    auto search = search_for({"SECRET-ONE"});
    search.add(as_bytes(tcp_frame(1000, "abcSECR")));
    search.add(as_bytes(tcp_frame(1007, "ET-ONE and more")));
    EXPECT_EQ(search.found(), 1u);
}

TEST(PlaintextSearch, FindsAPatternSplitIntoManySegments) {
    auto search = search_for({"SECRET-ONE"});
    std::uint32_t sequence = 0xfffffffd;  // wraps
    for (const char c : std::string("..SECRET-ONE..")) search.add(as_bytes(tcp_frame(sequence++, std::string_view(&c, 1))));
    EXPECT_EQ(search.found(), 1u);
}

TEST(PlaintextSearch, JoinsOnlyNeighboursOfOneStream) {
    auto search = search_for({"SECRET-ONE"});
    search.add(as_bytes(tcp_frame(1000, "SECR", 1)));
    search.add(as_bytes(tcp_frame(1004, "ET-ONE", 2)));
    search.add(as_bytes(tcp_frame(2000, "ET-ONE", 1)));
    EXPECT_EQ(search.found(), 0u);
}

TEST(PlaintextSearch, CountsAMatchOnceWhenAFrameHoldsAllOfIt) {
    auto search = search_for({"SECRET-ONE"});
    search.add(as_bytes(tcp_frame(1000, "xSECRET-ONE")));
    search.add(as_bytes(tcp_frame(1011, "y")));
    EXPECT_EQ(search.found(), 1u);
}

TEST(PlaintextSearch, RefusesPatternsThatProveNothing) {
    EXPECT_FALSE(PlaintextSearch::create({"abc"}));
    EXPECT_FALSE(PlaintextSearch::create({std::string(257, 'a')}));
    EXPECT_FALSE(PlaintextSearch::create(std::vector<std::string>(65, "pattern")));
}

TEST(PlaintextSearch, SurvivesFramesThatLieAboutTheirLengths) {
    auto search = search_for({"SECRET-ONE"});
    for (std::size_t cut = 0; cut < 54; ++cut) search.add(as_bytes(tcp_frame(1, "abc").substr(0, cut)));
    std::string frame = tcp_frame(1, "abc");
    for (std::size_t at = 14; at < 54; ++at) {
        std::string bent = frame;
        bent[at] = '\xff';
        search.add(as_bytes(bent));
    }
    EXPECT_EQ(search.found(), 0u);
}

}  // namespace
}  // namespace blanket::lab
