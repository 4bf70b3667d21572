// SPDX-License-Identifier: GPL-2.0-or-later
// The exits of a trace made here, word by word.
#include "tests/vm/uplink_rig/exits.hpp"

#include <gtest/gtest.h>
#include <string>

namespace blanket::rig {
namespace {

void add(std::string& trace, std::uint32_t event, const std::vector<std::uint32_t>& words, std::uint64_t cycles = 0) {
    const auto put = [&trace](std::uint32_t word) { trace.append(reinterpret_cast<const char*>(&word), 4); };
    put(event | static_cast<std::uint32_t>(words.size()) << 28 | (cycles != 0 ? 1u << 31 : 0));
    if (cycles != 0) {
        put(static_cast<std::uint32_t>(cycles));
        put(static_cast<std::uint32_t>(cycles >> 32));
    }
    for (const auto word : words) put(word);
}

void mark(std::string& trace, std::uint64_t cycles) { add(trace, 0x81103, {0x72, 0x4120a1, 0}, cycles); }

TEST(Exits, AreCountedBetweenMarksOnly) {
    std::string trace;
    add(trace, 0x81103, {0x60, 0, 0}, 5);  // before the first mark
    add(trace, 0x8200d, {0x80b, 0});
    add(trace, 0x1f001, {7});              // lost, where nobody counts
    mark(trace, 100);
    add(trace, 0x81103, {0x7c, 0, 0}, 110);
    add(trace, 0x8200d, {0x838, 1});
    add(trace, 0x81001, {});
    add(trace, 0x81002, {0x81, 0}, 120);
    add(trace, 0x81103, {0x7c, 0, 0}, 130);
    add(trace, 0x81103, {0x72, 0, 0xffff82d0}, 140);  // of a kernel: no mark
    mark(trace, 200);
    add(trace, 0x81103, {0x60, 0, 0}, 210);
    mark(trace, 300);
    mark(trace, 450);
    const auto all = parse_exits(trace);
    ASSERT_TRUE(all) << all.error().what;
    ASSERT_EQ(all->size(), 2U);
    EXPECT_EQ((*all)[0].exits, 4U);
    EXPECT_EQ((*all)[0].cycles, 100U);
    EXPECT_EQ((*all)[0].reasons, (std::map<std::uint32_t, std::uint64_t>{{0x72, 1}, {0x7c, 2}, {0x81, 1}}));
    EXPECT_EQ((*all)[0].writes, (std::map<std::uint32_t, std::uint64_t>{{0x838, 1}}));
    EXPECT_EQ((*all)[1].exits, 0U);
    EXPECT_TRUE((*all)[1].writes.empty());
    EXPECT_EQ((*all)[1].cycles, 150U);
}

TEST(Exits, ATraceThatIsNotWholeIsRefused) {
    std::string good;
    mark(good, 1);
    std::string lost = good;
    add(lost, 0x1f001, {7});
    mark(lost, 2);
    for (const std::string& trace : {std::string(), good, lost, good.substr(0, good.size() - 1), std::string("abc")}) EXPECT_FALSE(parse_exits(trace)) << trace.size();
}

}  // namespace
}  // namespace blanket::rig
