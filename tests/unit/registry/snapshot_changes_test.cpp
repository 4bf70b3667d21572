// SPDX-License-Identifier: GPL-2.0-or-later
// A snapshot that follows the watch is the one that a reading of everything would give.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "toolstack/registry/etcd_registry.hpp"
#include "toolstack/registry/snapshot_changes.hpp"

namespace blanket {
namespace {

std::string key(const std::string& name) { return std::string(kRegistryPrefix) + name; }
std::string uuid(unsigned n) { return std::format("00000000-0000-4000-8000-{:012x}", n); }

void expect_equal(const Snapshot& a, const Snapshot& b) {
    const auto same = [](const auto& one, const auto& other) {
        return std::ranges::equal(one, other, [](const auto& x, const auto& y) { return x.value == y.value && x.revision == y.revision; });
    };
    EXPECT_TRUE(same(a.vms, b.vms));
    EXPECT_TRUE(same(a.sites, b.sites));
    EXPECT_TRUE(same(a.nets, b.nets));
    EXPECT_TRUE(same(a.images, b.images));
    EXPECT_TRUE(same(a.revocations, b.revocations));
    EXPECT_EQ(a.gone, b.gone);
}

std::string vm_text(unsigned n, const std::string& owner) {
    VmRecord vm;
    vm.uuid = uuid(n);
    vm.name = std::format("vm{}", n);
    vm.owner = owner;
    vm.phase = Phase::kRunning;
    vm.memory_mib = 256;
    vm.created = "2026-01-01T00:00:00Z";
    return to_json(vm).dump();
}

// What a site may write, as text; of six names each.
EtcdKv random_record(std::mt19937& random) {
    const auto n = static_cast<unsigned>(random() % 6);
    switch (random() % 6) {
        case 0:
        case 1: return {key("vms/" + uuid(n)), vm_text(n, random() % 2 == 0 ? "east" : "west"), 0};
        case 2: return {key(std::format("sites/site{}", n)), to_json(Site{.name = std::format("site{}", n), .index = n + 1, .address = std::format("10.0.0.{}", random() % 200 + 1), .role = "voter"}).dump(), 0};
        case 3: return {key(std::format("nets/net{}", n)), to_json(Net{.name = std::format("net{}", n), .vni = 100 + n, .cidr = "10.1.0.0/24", .gateway = "10.1.0.1"}).dump(), 0};
        case 4: return {key(std::format("gone/{}", uuid(n))), to_json(Gone{uuid(n), std::format("vm{}", n), {}, "2026-01-01T00:00:00Z"}).dump(), 0};
        default: return {key(std::format("names/vm/vm{}", n)), uuid(n), 0};  // no snapshot has these
    }
}

TEST(SnapshotChanges, FollowingIsReading) {
    for (unsigned seed = 1; seed <= 60; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        std::map<std::string, EtcdKv> store;
        Snapshot followed;
        std::uint64_t revision = 0;
        for (int step = 0; step < 120; ++step) {
            std::vector<EtcdEvent> events;
            for (auto count = 1 + random() % 4; count > 0; --count) {
                EtcdKv kv = random_record(random);
                kv.mod_revision = ++revision;
                const bool gone = random() % 4 == 0;
                if (gone) store.erase(kv.key), kv.value.clear();
                else store[kv.key] = kv;
                events.push_back({std::move(kv), gone});
            }
            ASSERT_TRUE(take_events(followed, events));
            if (random() % 4 == 0) ASSERT_TRUE(take_events(followed, events)) << "told twice";
            Snapshot read;
            for (const auto& [name, kv] : store) ASSERT_TRUE(put_into(read, kv)) << name;
            expect_equal(followed, read);
            EXPECT_EQ(followed.revision, revision);
            if (HasFailure()) return;
        }
        EXPECT_FALSE(followed.vms.empty() && followed.sites.empty());
    }
}

// What cannot be followed is read: a record that makes no sense (an earlier version of it counts), its mending, and the federation's own.
TEST(SnapshotChanges, WhatMakesNoSenseIsReadAnew) {
    Snapshot good;
    good.revision = 4;
    ASSERT_TRUE(put_into(good, {key("vms/" + uuid(1)), vm_text(1, "east"), 4}));
    for (const EtcdKv& bad : {EtcdKv{key("vms/" + uuid(1)), "{", 5}, EtcdKv{key("vms/" + uuid(2)), vm_text(1, "east"), 5}, EtcdKv{key("sites/east"), R"({"name":"west"})", 5}, EtcdKv{key("nets/lan"), "[]", 5},
                              EtcdKv{key("federation"), R"({"name":"other"})", 5}}) {
        SCOPED_TRACE(bad.key);
        Snapshot snapshot = good;
        const EtcdEvent event{bad, false};
        EXPECT_FALSE(take_events(snapshot, {&event, 1}));
        snapshot = good;
        snapshot.revision = 5;  // read already
        EXPECT_TRUE(take_events(snapshot, {&event, 1}));
    }
    good.malformed.push_back({"vms/" + uuid(1), "nonsense", true});
    const EtcdEvent mended{{key("vms/" + uuid(1)), vm_text(1, "west"), 5}, false};
    EXPECT_FALSE(take_events(good, {&mended, 1}));
    good.malformed = {{"nets/lan", "nonsense", true}};
    const EtcdEvent removed{{key("nets/lan"), "", 5}, true};
    EXPECT_FALSE(take_events(good, {&removed, 1}));
}

}  // namespace
}  // namespace blanket
