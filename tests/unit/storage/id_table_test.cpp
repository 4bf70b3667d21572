// SPDX-License-Identifier: GPL-2.0-or-later
// The journal of thin ids: what it gives out, what it calls garbage, and that a damaged one is refused.
#include <gtest/gtest.h>

#include "toolstack/storage/id_table.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

ThinEntry volume(ThinState state = ThinState::kReady) {
    return {.kind = ThinKind::kVolume, .state = state, .size = 4 * kBlock, .sha256 = std::string(64, 'a'), .raw_size = 0, .epoch = 3, .mirror = {}};
}

TEST(IdTable, NeverGivesAnIdTwice) {
    IdTable table;
    const auto a = table.allocate("vol-a", volume());
    ASSERT_TRUE(a);
    EXPECT_EQ(a->state, ThinState::kMaking);
    table.entries.clear();
    const auto b = table.allocate("vol-a", volume());
    ASSERT_TRUE(b);
    EXPECT_NE(a->id, b->id);
    EXPECT_EQ(table.allocate("vol-a", volume()).error().kind, Kind::kConflict);
    table.next_id = 1u << 24;
    EXPECT_FALSE(table.allocate("vol-c", volume()));
}

TEST(IdTable, RoundTrip) {
    IdTable table;
    ASSERT_TRUE(table.allocate("vol-a", volume()));
    ASSERT_TRUE(table.allocate("snap-a-0", {.kind = ThinKind::kSnapshot, .size = kBlock, .sha256 = {}, .mirror = {}}));
    table.entries.at("vol-a").mirror = MirrorFacts{4, "10.213.1.1", "10.213.2.1", 7800};
    const auto back = parse_id_table(to_json(table).dump());
    ASSERT_TRUE(back) << back.error().what;
    EXPECT_EQ(*back, table);
}

TEST(IdTable, GarbageIsWhatIsNotReadyAndEverySnapshot) {
    IdTable table;
    for (const auto* key : {"vol-a", "vol-b", "img-c", "snap-a-0"}) ASSERT_TRUE(table.allocate(key, volume()));
    table.entries.at("vol-a").state = ThinState::kReady;
    table.entries.at("vol-b").state = ThinState::kRemoving;
    table.entries.at("snap-a-0").kind = ThinKind::kSnapshot;
    table.entries.at("snap-a-0").state = ThinState::kReady;
    EXPECT_EQ(table.garbage(), (std::vector<std::string>{"img-c", "snap-a-0", "vol-b"}));
}

TEST(IdTable, SnapshotsOfOneVolumeOnly) {
    IdTable table;
    for (const auto* key : {"snap-web-0", "snap-web-1-0", "snap-web-12", "snap-webb-0", "snap-web-"}) {
        ASSERT_TRUE(table.allocate(key, volume()));
        table.entries.at(key).kind = ThinKind::kSnapshot;
    }
    EXPECT_EQ(table.snapshots_of("web"), (std::vector<std::string>{"snap-web-0", "snap-web-12"}));
    EXPECT_EQ(table.snapshots_of("web-1"), (std::vector<std::string>{"snap-web-1-0"}));
}

TEST(IdTable, DamageIsRefused) {
    const std::string good = R"({"version":1,"next_id":3,"devices":{"vol-a":{"id":1,"kind":"volume","state":"ready","size":65536},"vol-b":{"id":2,"kind":"volume","state":"ready","size":65536}}})";
    ASSERT_TRUE(parse_id_table(good));
    const auto with = [&](std::string_view from, std::string_view to) {
        std::string text = good;
        text.replace(text.find(from), from.size(), to);
        return text;
    };
    EXPECT_FALSE(parse_id_table(""));
    EXPECT_FALSE(parse_id_table(good.substr(0, good.size() - 1)));
    EXPECT_FALSE(parse_id_table(with("\"version\":1", "\"version\":2")));
    EXPECT_FALSE(parse_id_table(with("\"id\":2", "\"id\":1")));           // used twice
    EXPECT_FALSE(parse_id_table(with("\"id\":2", "\"id\":3")));           // never given out
    EXPECT_FALSE(parse_id_table(with("\"id\":2", "\"id\":0")));
    EXPECT_FALSE(parse_id_table(with("\"id\":2", "\"id\":-2")));
    EXPECT_FALSE(parse_id_table(with("\"next_id\":3", "\"next_id\":99999999")));
    EXPECT_FALSE(parse_id_table(with("65536", "65537")));
    EXPECT_FALSE(parse_id_table(with("volume", "vol")));
    EXPECT_FALSE(parse_id_table(with("ready", "READY")));
    EXPECT_FALSE(parse_id_table(with("\"size\":65536}", "\"size\":65536,\"mirror\":{\"minor\":256,\"local\":\"a\",\"peer\":\"b\",\"port\":7800}}")));
}

}  // namespace
}  // namespace blanket::storage
