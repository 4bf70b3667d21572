// SPDX-License-Identifier: GPL-2.0-or-later
// The plans, word by word: what would be run, as --dry-run prints it.
#include <gtest/gtest.h>

#include "toolstack/storage/drbd_plan.hpp"
#include "toolstack/storage/thin_plan.hpp"

namespace blanket::storage {
namespace {

const PoolName kPool{"blanket", "pool"};

std::string lines(const Plan& plan) {
    std::string text;
    for (const auto& argv : plan) text += to_string(argv) + "\n";
    return text;
}

TEST(PoolPlan, EmptyGroupGetsBothVolumes) {
    const auto plan = plan_pool_lvs(kPool, {.size = 100ull << 30, .free = 100ull << 30});
    ASSERT_TRUE(plan);
    EXPECT_EQ(lines(*plan), "lvcreate --yes --wipesignatures y --zero y --size 209715200b --name pool-meta blanket\n"
                            "lvcreate --yes --wipesignatures y --zero y --extents 95%FREE --name pool-data blanket\n");
}

TEST(PoolPlan, SmallGroupStillHas64MiBOfMetadata) {
    const auto plan = plan_pool_lvs(kPool, {.size = 2ull << 30, .free = 2ull << 30});
    ASSERT_TRUE(plan);
    EXPECT_NE(lines(*plan).find("--size 67108864b"), std::string::npos);
}

TEST(PoolPlan, ExistingVolumesAreActivated) {
    const auto plan = plan_pool_lvs(kPool, {.size = 2ull << 30, .free = 0, .data = true, .meta = true});
    ASSERT_TRUE(plan);
    EXPECT_EQ(lines(*plan), "lvchange --activate y blanket/pool-meta blanket/pool-data\n");
}

TEST(PoolPlan, AFirstBootThatWasCutOffStartsAgain) {
    const auto plan = plan_pool_lvs(kPool, {.size = 8ull << 30, .free = 7ull << 30, .meta = true});
    ASSERT_TRUE(plan);
    EXPECT_EQ((*plan)[0], (Argv{"lvremove", "--yes", "blanket/pool-meta"}));
    EXPECT_EQ(plan->size(), 3u);
}

TEST(PoolPlan, AnEmptyLvmPoolIsReplacedAFilledOneIsNot) {
    const auto plan = plan_pool_lvs(kPool, {.size = 8ull << 30, .free = 1u << 20, .lvm_pool = true});
    ASSERT_TRUE(plan);
    EXPECT_EQ((*plan)[0], (Argv{"lvremove", "--yes", "blanket/pool"}));
    EXPECT_EQ(plan_pool_lvs(kPool, {.size = 8ull << 30, .lvm_pool = true, .lvm_pool_volumes = 1}).error().kind, Kind::kConflict);
}

TEST(PoolPlan, Refusals) {
    EXPECT_EQ(plan_pool_lvs(kPool, {.size = 100u << 20, .free = 100u << 20}).error().kind, Kind::kPrecondition);
    EXPECT_EQ(plan_pool_lvs(kPool, {.size = 8ull << 30, .free = 8ull << 30, .data = true, .meta = false}).error().kind, Kind::kConflict);
}

TEST(PoolPlan, GroupState) {
    const auto state = parse_group("  10737418240;10733223936\n", "  pool;thin-pool;0\n  other;linear;\n", kPool);
    ASSERT_TRUE(state) << state.error().what;
    EXPECT_EQ(state->free, 10733223936u);
    EXPECT_TRUE(state->lvm_pool);
    EXPECT_FALSE(state->data);
    EXPECT_TRUE(parse_group("1;1", "pool-data;linear;\npool-meta;linear;", kPool)->meta);
    for (const auto* bad : {"", "1", "1;x", "1;2;3"}) EXPECT_FALSE(parse_group(bad, "", kPool)) << bad;
    EXPECT_FALSE(parse_group("1;1", "pool;thin-pool;x", kPool));
    EXPECT_FALSE(parse_group("1;1", "pool", kPool));
}

TEST(ThinPlan, Golden) {
    EXPECT_EQ(to_string(plan_create_pool(kPool, (1ull << 30) + 100)),
              "dmsetup create bs-pool --uuid BLANKET-bs-pool --table '0 2097152 thin-pool /dev/mapper/blanket-pool--meta /dev/mapper/blanket-pool--data 128 1638 1 no_discard_passdown'");
    EXPECT_EQ(to_string(plan_thin_device(kPool, image_device(std::string(64, 'a')), 5, 1u << 20, true)),
              "dmsetup create bs-img-aaaaaaaaaaaaaaaaaaaaaaaa --uuid BLANKET-bs-img-aaaaaaaaaaaaaaaaaaaaaaaa --readonly --table '0 2048 thin /dev/mapper/bs-pool 5'");
    EXPECT_EQ(lines(plan_create_top("web", 1u << 20)),
              "dmsetup create bs-web-top --uuid BLANKET-bs-web-top --table '0 2048 linear /dev/mapper/bs-web-vol 0'\ndmsetup suspend --nolockfs bs-web-top\n");
    EXPECT_EQ(to_string(plan_new_thin(kPool, 7, std::nullopt)), "dmsetup message bs-pool 0 'create_thin 7'");
    EXPECT_EQ(to_string(plan_delete_thin(kPool, 7)), "dmsetup message bs-pool 0 'delete 7'");
    EXPECT_EQ(to_string(plan_thin_delta(kPool, 3, 9)), "thin_delta --metadata-snap --thin1 3 --thin2 9 /dev/mapper/blanket-pool--meta");
    EXPECT_EQ(to_string(plan_thin_dump(kPool, 3)), "thin_dump --metadata-snap --dev-id 3 --format xml /dev/mapper/blanket-pool--meta");
}

TEST(ThinPlan, TheSuspendWindowOfARoundIsFiveIoctls) {
    EXPECT_EQ(lines(plan_snapshot_window(kPool, "web", 3, 9, false)), "dmsetup suspend --nolockfs bs-web-top\n"
                                                                       "dmsetup suspend --nolockfs bs-web-vol\n"
                                                                       "dmsetup message bs-pool 0 'create_snap 9 3'\n"
                                                                       "dmsetup resume bs-web-vol\n"
                                                                       "dmsetup resume bs-web-top\n");
}

TEST(DrbdPlan, Golden) {
    const MirrorFacts facts{2, "10.213.1.1", "10.213.2.1", 7801};
    EXPECT_EQ(lines(plan_mirror_up("web", 1u << 20, facts)),
              "dmsetup create bs-web-under --uuid BLANKET-bs-web-under --table '0 2048 linear /dev/mapper/bs-web-vol 0'\n"
              "drbdmeta --force 2 v08 /dev/mapper/bs-web-meta flex-external create-md\n"
              "/usr/lib/drbd/drbdsetup-84 new-resource bs-web\n"
              "/usr/lib/drbd/drbdsetup-84 new-minor bs-web 2 0\n"
              "/usr/lib/drbd/drbdsetup-84 attach 2 /dev/mapper/bs-web-under /dev/mapper/bs-web-meta flexible --on-io-error=pass_on --disk-barrier=no --disk-flushes=yes --md-flushes=no "
              "--al-updates=no --c-plan-ahead=0 --resync-rate=10240 --c-min-rate=0\n"
              "/usr/lib/drbd/drbdsetup-84 connect bs-web ipv4:10.213.1.1:7801 ipv4:10.213.2.1:7801 --protocol=A --timeout=40 --connect-int=5 --ping-int=5 --ping-timeout=20 "
              "--socket-check-timeout=3 --ko-count=2 --sndbuf-size=4194304 --rcvbuf-size=4194304 --max-buffers=8000 --max-epoch-size=8000 --after-sb-0pri=disconnect --verify-alg=crc32c\n");
    EXPECT_EQ(lines(plan_mirror_primary(facts)), "/usr/lib/drbd/drbdsetup-84 new-current-uuid 2 --clear-bitmap\n/usr/lib/drbd/drbdsetup-84 primary 2\n");
    EXPECT_EQ(to_string(plan_mirror_protocol(facts, 'C')), "/usr/lib/drbd/drbdsetup-84 net-options ipv4:10.213.1.1:7801 ipv4:10.213.2.1:7801 --protocol=C");
    EXPECT_EQ(to_string(plan_mirror_cut(facts)), "/usr/lib/drbd/drbdsetup-84 disconnect ipv4:10.213.1.1:7801 ipv4:10.213.2.1:7801 --force");
    EXPECT_EQ(lines(plan_mirror_down("web", facts)), "/usr/lib/drbd/drbdsetup-84 secondary 2\n/usr/lib/drbd/drbdsetup-84 down bs-web\n");
}

TEST(DrbdPlan, MetadataHasRoomForTheBitmap) {
    EXPECT_EQ(mirror_meta_size(1ull << 30), 1088u << 10);  // 32 KiB of bitmap for each GiB, and 1 MiB for the rest, in whole blocks
    EXPECT_EQ(mirror_meta_size(16ull << 40) % kBlock, 0u);
    EXPECT_GT(mirror_meta_size(16ull << 40), 512ull << 20);
}

TEST(DrbdPlan, Addresses) {
    EXPECT_TRUE(check_mirror({0, "10.213.1.1", "10.213.2.1", 7800}));
    EXPECT_FALSE(check_mirror({0, "10.213.1.1", "10.213.1.1", 7800}));
    EXPECT_FALSE(check_mirror({0, "10.213.1.1", "10.213.2.1 --force", 7800}));
    EXPECT_FALSE(check_mirror({0, "east", "10.213.2.1", 7800}));
    EXPECT_FALSE(check_mirror({0, "10.213.1.1", "10.213.2.1", 22}));
}

}  // namespace
}  // namespace blanket::storage
