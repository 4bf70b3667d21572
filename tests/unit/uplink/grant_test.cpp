// SPDX-License-Identifier: GPL-2.0-or-later
// The module's grant table (blanket-drivers/gnttab.c) against a provider that keeps grants, and one that writes what it likes into the table: no grant is
// handed out twice, none that a backend still has, and no page is used again before its grant ended.
#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <random>
#include <set>

#include "tests/unit/uplink/modules.h"

namespace {

std::map<std::uint32_t, std::uint64_t> frame_of;  // as the hypervisor keeps them: over the module's loads

grant_entry_v1& entry(grant_ref_t ref) { return reinterpret_cast<grant_entry_v1*>(frame_of.at(ref / 512) << 12)[ref % 512]; }

}  // namespace

extern "C" {
xblanket_query uplink_provider{};

long uplink_op(unsigned int cmd, void* arg) {
    auto* map = static_cast<xblanket_gnttab_map*>(arg);
    if (cmd != XBLANKET_GNTTAB_MAP || map->count != 1) return -ENOSYS;
    map->frame[0] = frame_of.try_emplace(map->first, map->frame[0]).first->second;
    return 0;
}
}

namespace {

class Grants : public ::testing::Test {
protected:
    void SetUp() override {
        uplink_provider.max_grant_frames = 4;
        load();
    }
    void TearDown() override {
        uplink_gnttab_exit();
        for (const auto& [index, frame] : frame_of) std::free(reinterpret_cast<void*>(frame << 12));
        frame_of.clear();
    }
    static void load() {
        gnttab_as_loaded();
        ASSERT_EQ(uplink_gnttab_init(), 0);
    }
};

std::set<grant_ref_t> take(std::uint16_t count) {
    std::set<grant_ref_t> all;
    grant_ref_t head = 0;
    if (uplink_gnttab_alloc_grant_references(count, &head) != 0) return all;
    for (std::uint16_t i = 0; i < count; ++i) all.insert(static_cast<grant_ref_t>(uplink_gnttab_claim_grant_reference(&head)));
    EXPECT_EQ(uplink_gnttab_claim_grant_reference(&head), -ENOSPC);
    return all;
}

TEST_F(Grants, AllOfThemOnceAndBack) {
    const auto all = take(4 * 512 - 8);
    EXPECT_EQ(all.size(), 4u * 512 - 8);
    EXPECT_EQ(*all.begin(), 8u) << "the first eight are the toolstack's";
    EXPECT_EQ(uplink_gnttab_used(), 4u * 512 - 8);
    grant_ref_t head = 0;
    EXPECT_EQ(uplink_gnttab_alloc_grant_references(1, &head), -ENOSPC);
    EXPECT_EQ(uplink_gnttab_alloc_grant_references(0, &head), -EINVAL);
    for (const auto ref : all) uplink_gnttab_free_grant_reference(ref);
    EXPECT_EQ(uplink_gnttab_used(), 0u);
    EXPECT_EQ(gnttab_free(), 4u * 512 - 8);
}

TEST_F(Grants, GuestsPagesAreCountedApart) {
    const unsigned long own = uplink_gnttab_granted(false), guests = uplink_gnttab_granted(true);
    const auto refs = take(3);
    for (const auto ref : refs) uplink_gnttab_grant_foreign_access_ref(ref, 0, ref == *refs.begin() ? 77 : 1ul << 31, 0);
    EXPECT_EQ(uplink_gnttab_granted(false) - own, 1u);
    EXPECT_EQ(uplink_gnttab_granted(true) - guests, 2u);
}

TEST_F(Grants, WhatABackendKeepsIsNotUsedAgain) {
    const grant_ref_t ref = *take(1).begin();
    page* const memory = alloc_page(0);
    uplink_gnttab_grant_foreign_access_ref(ref, 3, 77, 1);
    EXPECT_EQ(entry(ref).flags, GTF_permit_access | GTF_readonly);
    EXPECT_EQ(entry(ref).domid, 3);
    entry(ref).flags |= GTF_reading;
    EXPECT_EQ(uplink_gnttab_try_end_foreign_access(ref), 0);
    uplink_gnttab_end_foreign_access(ref, memory);
    EXPECT_EQ(uplink_gnttab_used(), 1u);
    EXPECT_TRUE(sim_run_timer());
    EXPECT_EQ(uplink_gnttab_used(), 1u);
    EXPECT_NE(entry(ref).flags & GTF_permit_access, 0);
    // All the others can be had, this one not.
    const auto others = take(4 * 512 - 9);
    EXPECT_EQ(others.size(), 4u * 512 - 9);
    EXPECT_FALSE(others.contains(ref));
    for (const auto other : others) uplink_gnttab_free_grant_reference(other);
    entry(ref).flags &= static_cast<std::uint16_t>(~GTF_reading);
    EXPECT_TRUE(sim_run_timer());
    EXPECT_EQ(uplink_gnttab_used(), 0u);
    EXPECT_EQ(entry(ref).flags, 0);
    EXPECT_FALSE(sim_run_timer()) << "nothing is waited for any more";
}

// A module that goes while a backend still has a grant, and comes back.
TEST_F(Grants, ANewLoadLeavesOutWhatIsStillHeld) {
    const grant_ref_t ref = *take(1).begin();
    uplink_gnttab_grant_foreign_access_ref(ref, 0, 5, 0);
    entry(ref).flags |= GTF_writing;
    const auto frames = frame_of;
    uplink_gnttab_exit();
    load();
    EXPECT_EQ(frame_of, frames);
    EXPECT_EQ(gnttab_free(), 512u - 8 - 1);
    const auto rest = take(512 - 8 - 1);
    EXPECT_FALSE(rest.contains(ref));
    for (const auto other : rest) uplink_gnttab_free_grant_reference(other);
}

TEST_F(Grants, CallbacksRunWhenThereIsRoomAgain) {
    const auto all = take(4 * 512 - 8);
    int called = 0;
    gnttab_free_callback one{}, other{};
    const auto count = [](void* arg) { ++*static_cast<int*>(arg); };
    uplink_gnttab_request_free_callback(&one, count, &called, 2);
    uplink_gnttab_request_free_callback(&one, count, &called, 2);  // once is enough
    uplink_gnttab_request_free_callback(&other, count, &called, 1);
    uplink_gnttab_cancel_free_callback(&other);
    auto at = all.begin();
    uplink_gnttab_free_grant_reference(*at++);
    EXPECT_EQ(called, 0);
    uplink_gnttab_free_grant_reference(*at++);
    EXPECT_EQ(called, 1);
    for (; at != all.end(); ++at) uplink_gnttab_free_grant_reference(*at);
    EXPECT_EQ(called, 1);
}

// A disk asks with its ring's lock held: the table cannot grow there, but it does for who left word.
TEST_F(Grants, WhoMayNotSleepGetsWhatTheTableCanStillGive) {
    const auto first = take(512 - 8);
    int called = 0;
    const auto count = [](void* arg) { ++*static_cast<int*>(arg); };
    gnttab_free_callback some{}, more{}, most{};
    grant_ref_t head = 0;
    sim_atomic = true;
    EXPECT_EQ(uplink_gnttab_alloc_grant_references(1, &head), -ENOSPC);
    uplink_gnttab_request_free_callback(&some, count, &called, 1);
    uplink_gnttab_request_free_callback(&more, count, &called, 600);
    sim_atomic = false;
    EXPECT_EQ(called, 0);
    EXPECT_TRUE(sim_run_work());
    EXPECT_EQ(called, 2);
    EXPECT_EQ(gnttab_free(), 2u * 512);  // two frames more, not all
    uplink_gnttab_request_free_callback(&most, count, &called, 2000);
    EXPECT_TRUE(sim_run_work());  // more than there can be: it ends, and the word stays
    EXPECT_EQ(called, 2);
    EXPECT_EQ(gnttab_free(), 3u * 512);
    for (const auto ref : first) uplink_gnttab_free_grant_reference(ref);
    EXPECT_EQ(called, 3);
    EXPECT_FALSE(sim_run_work());
}

// The table is the provider's memory: it can say anything in there. What the module knows, it knows from its own lists.
TEST_F(Grants, ATableFullOfNonsense) {
    std::mt19937 random(3);
    std::set<grant_ref_t> owned;
    std::size_t kept = 0;
    for (int i = 0; i < 200'000; ++i) {
        if (random() % 2 == 0) {
            const auto count = static_cast<std::uint16_t>(1 + random() % 40);
            for (const auto ref : take(count)) {
                EXPECT_GE(ref, 8u);
                EXPECT_LT(ref, 4u * 512);
                ASSERT_TRUE(owned.insert(ref).second) << ref << " was handed out twice";
                uplink_gnttab_grant_foreign_access_ref(ref, 0, random(), 0);
            }
        } else if (!owned.empty()) {
            const grant_ref_t ref = *owned.begin();
            if (random() % 3 == 0) entry(ref).flags = static_cast<std::uint16_t>(random());
            if (random() % 2 == 0) {
                if (uplink_gnttab_try_end_foreign_access(ref) == 0) continue;
            } else {
                if ((entry(ref).flags & (GTF_reading | GTF_writing)) != 0) ++kept;
                uplink_gnttab_end_foreign_access(ref, alloc_page(0));
            }
            owned.erase(ref);
        }
        auto& anything = entry(static_cast<grant_ref_t>(random() % (512 * frame_of.size())));
        if (random() % 4 == 0) anything = {.flags = static_cast<std::uint16_t>(random()), .domid = static_cast<domid_t>(random()), .frame = static_cast<std::uint32_t>(random())};
        if (random() % 16 == 0) (void)sim_run_timer();
        ASSERT_LE(owned.size(), uplink_gnttab_used());
        ASSERT_LE(uplink_gnttab_used() + gnttab_free(), 4u * 512 - 8);
    }
    EXPECT_GT(kept, 100u);
    for (const auto& [index, frame] : frame_of)
        for (unsigned at = 0; at < 512; ++at) entry(index * 512 + at).flags = 0;
    while (sim_run_timer()) {
    }
    for (const auto ref : owned) uplink_gnttab_end_foreign_access(ref, nullptr);
    EXPECT_EQ(uplink_gnttab_used(), 0u);
}

}  // namespace
