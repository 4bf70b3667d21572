// SPDX-License-Identifier: GPL-2.0-or-later
// Moves between sites that have content stores.
#include "tests/unit/migrate/move_rig.hpp"

namespace blanket::migrate {
namespace {

// A VM's first move from a site with the one store to a site with the other, which both have what came by then.
Result<Stats> first_move(SiteStore& first, SiteStore& second) {
    ImageRig away;
    away.give_west(away.image);
    away.east_store = first.store.get();
    away.west_store = second.store.get();
    auto left = away.move();
    if (left) away.check("west");
    first.store->settle();
    second.store->settle();
    return left;
}

// The VM leaves a site that has a store, and comes back to it: what it took along is there still. Then the next VM of the same kind, whose like has been there.
TEST(StoreMoves, WhatASiteHasSeenNeedNotComeAgain) {
    SiteStore first, second;
    const auto left = first_move(first, second);
    ASSERT_TRUE(left) << left.error().what;
    EXPECT_EQ(left->pages.store.pages, 0u);
    EXPECT_GT(first.store->facts().written, 200u);
    for (const auto& [store, wanted] : {std::pair(&first, true), std::pair(&second, true), std::pair(&first, false)}) {
        SCOPED_TRACE(wanted);
        ImageRig again;  // the same memory
        again.give_west(again.image);
        again.west_store = store->store.get();
        again.features.store = wanted;
        const auto taken = store->store->facts().taken;
        std::uint64_t said = 0, asked = 0;
        again.wire->answer_fault = [&](Message& message, bool&) { said += static_cast<Type>(message.type) == Type::kPages ? message.payload.size() : 0; };
        again.wire->fault = [&](Message& message, bool&) { asked += static_cast<Type>(message.type) == Type::kAskPages ? 1 : 0; };
        const auto back = again.move();
        ASSERT_TRUE(back) << back.error().what;
        again.check("west");
        EXPECT_TRUE(again.west.memory[kUuid] == again.memory);
        EXPECT_EQ(asked, wanted ? 1u : 0u);
        if (!wanted) {
            EXPECT_EQ(back->pages.store.pages, 0u);
            continue;
        }
        EXPECT_GT(back->pages.store.pages, 200u);
        EXPECT_LT((back->memory_wire_bytes + said) * 5, left->memory_wire_bytes);
        EXPECT_EQ(store->store->facts().taken - taken, back->pages.store.pages);
    }
}

// A VM that was written to since it came goes back: the pages that both sites have of its last move are told by what was written.
TEST(StoreMoves, WhoComesBackBringsWhatItHasWritten) {
    std::uint64_t wire[2] = {};
    for (const bool wanted : {true, false}) {
        SCOPED_TRACE(wanted);
        SiteStore first, second;
        const auto left = first_move(first, second);
        ASSERT_TRUE(left) << left.error().what;
        EXPECT_EQ(left->pages.store_delta.pages, 0u);
        ImageRig home;  // this time its "east" is where the VM has come
        home.give_west(home.image);
        home.east_store = second.store.get();
        home.west_store = first.store.get();
        home.features.store_deltas = wanted;
        fakes::SeededGuest guest(1, 640, home.image);
        (void)guest.save(3);
        guest.write();
        const auto stream = guest.save(3).bytes;
        home.memory.assign(reinterpret_cast<const char*>(stream.data()), stream.size());
        home.east.memory[kUuid] = home.memory += "END";
        const auto back = home.move();
        ASSERT_TRUE(back) << back.error().what;
        home.check("west");
        EXPECT_TRUE(home.west.memory[kUuid] == home.memory);
        wire[wanted ? 1 : 0] = back->memory_wire_bytes;
        ASSERT_EQ(home.observer.traces.size(), 1u);
        EXPECT_EQ(home.observer.traces[0].memory->pages.store_delta, back->pages.store_delta.pages);
        if (!wanted) EXPECT_EQ(back->pages.store_delta.pages, 0u);
        else EXPECT_GT(back->pages.store_delta.pages, 25u);  // of about 80: the fake asks its guest to stop in the midst of the first round
    }
    EXPECT_LT(wire[1] * 3, wire[0] * 2);
}

// Another tenant's VM is offered nothing, though its memory is the same.
TEST(StoreMoves, AnotherTenantIsOfferedNothing) {
    SiteStore site;
    for (const auto& [net, known] : {std::pair("red", false), std::pair("blue", false), std::pair("red", true)}) {
        ImageRig rig;
        rig.give_west(rig.image);
        auto vm = *rig.registry.vm(kUuid).value();
        vm.value.nics.push_back({net, "02:00:00:00:00:01", "10.1.0.2"});
        ASSERT_TRUE(rig.registry.update_vm(vm.value, vm.revision));
        rig.west_store = site.store.get();
        const auto moved = rig.move();
        ASSERT_TRUE(moved) << moved.error().what;
        site.store->settle();
        EXPECT_EQ(moved->pages.store.pages > 0, known) << net;
    }
}

// What a hostile or broken source may do about the store.
TEST(StoreMoves, PagesThatWereNotOfferedAreRefused) {
    SiteStore site;
    for (const int kind : {0, 1, 2}) {
        SCOPED_TRACE(kind);
        ImageRig rig;
        rig.give_west(rig.image);
        if (kind == 1) rig.west_store = site.store.get();
        rig.wire->fault = [&](Message& message, bool&) {
            const auto replace = [&](Type type, const std::string& text) {
                message.type = static_cast<std::uint32_t>(type);
                message.payload.assign(as_bytes(text).begin(), as_bytes(text).end());
            };
            if (static_cast<Type>(message.type) != Type::kMemoryBegin) return;
            if (kind == 2) replace(Type::kAskPages, "{}");
            else replace(Type::kMemoryBegin, std::format(R"({{"stream":{},"images":[],"pages":true}})", stream::kVersion));
        };
        ASSERT_FALSE(rig.move());
        rig.check("east");
        ASSERT_FALSE(rig.served);
        EXPECT_NE(rig.served.error().what.find("not offered"), std::string::npos) << rig.served.error().what;
    }
}

}  // namespace
}  // namespace blanket::migrate
