// SPDX-License-Identifier: GPL-2.0-or-later
// What a site knows of the registry: read when it has to be, followed otherwise.
#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

TEST(World, FollowsAndReadsWhatItMayHaveMissed) {
    fakes::FakeRegistry registry;
    fakes::FakeOverlay net;
    EventLog events;
    World world(registry, net, events);
    int asked = 0;
    const auto renamed = [&](std::uint64_t revision) {
        return [&asked, revision](Snapshot& snapshot) {
            ++asked;
            snapshot.revision = revision;
            snapshot.federation_name = "followed";
            return true;
        };
    };
    // Nothing was read yet: there is nothing to make newer.
    registry.down = true;
    EXPECT_FALSE(world.follow(renamed(90)));
    EXPECT_EQ(asked, 0);
    registry.down = false;
    ASSERT_TRUE(world.follow(renamed(90)));
    EXPECT_EQ(asked, 0);
    EXPECT_EQ(net.applied, 1);

    registry.down = true;  // and nobody is asked
    ASSERT_TRUE(world.follow(renamed(91)));
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(world.snapshot().federation_name, "followed");
    EXPECT_EQ(net.applied, 2);
    ASSERT_TRUE(world.follow(renamed(91)));  // known
    EXPECT_EQ(net.applied, 2);

    // What cannot be followed is read; while that fails, what comes next is not built on the old.
    EXPECT_FALSE(world.follow([](Snapshot&) { return false; }));
    EXPECT_FALSE(world.follow(renamed(92)));
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(world.snapshot().revision, 91u);
    registry.down = false;
    ASSERT_TRUE(world.follow(renamed(93)));
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(world.snapshot().federation_name, "");

    // What is amended for all to see is not what the next change is made to.
    int amended = 0;
    world.amend([&](Snapshot& snapshot, bool) { snapshot.federation_name += std::format("!{}", ++amended); });
    ASSERT_TRUE(world.follow(renamed(94)));
    ASSERT_TRUE(world.follow([](Snapshot& snapshot) { return snapshot.revision = 95, true; }));
    EXPECT_EQ(world.snapshot().federation_name, "followed!2");
}

}  // namespace
}  // namespace blanket
