// SPDX-License-Identifier: GPL-2.0-or-later
// Names and the text forms of device-mapper answers.
#include <gtest/gtest.h>

#include "toolstack/storage/dm_ioctl.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

TEST(Names, VolumeIds) {
    for (const auto* good : {"a", "web-xvda", "0", "a--b"}) EXPECT_TRUE(check_volume_id(good)) << good;
    for (const auto* bad : {"", "-a", "a-", "A", "a/b", "a.b", "../x", "a b", "a\n"}) EXPECT_FALSE(check_volume_id(bad)) << bad;
    EXPECT_FALSE(check_volume_id(std::string(64, 'a')));
    EXPECT_TRUE(check_volume_id(std::string(63, 'a')));
}

TEST(Names, PoolName) {
    const auto pool = parse_pool_name("blanket/pool");
    ASSERT_TRUE(pool);
    EXPECT_EQ(pool->lv_path(pool->data_lv()), "/dev/mapper/blanket-pool--data");
    EXPECT_EQ(pool->device(), "bs-pool");
    for (const auto* bad : {"", "blanket", "a/b/c", "/pool", "a/", "A/b", "a/../b"}) EXPECT_FALSE(parse_pool_name(bad)) << bad;
}

TEST(Names, DeviceNamesFitDeviceMapper) {
    const std::string longest(63, 'a');
    for (const auto& name : {top_device(longest), under_device(longest), snapshot_device(longest), image_device(std::string(64, 'f'))}) EXPECT_LT(device_uuid(name).size(), 128u);
}

TEST(DmText, Table) {
    const auto target = parse_dm_table("0 2048 linear 253:4 0\n");
    ASSERT_TRUE(target);
    EXPECT_EQ(*target, (DmTarget{0, 2048, "linear", "253:4 0"}));
    for (const auto* bad : {"", "0", "0 2048", "1 2048 linear a", "0 0 linear a", "0 -1 linear a", "0 5 aaaaaaaaaaaaaaaaaaaaa b", "0 8 linear a\n0 8 linear b"})
        EXPECT_FALSE(parse_dm_table(bad)) << bad;
}

TEST(DmText, InfoRoundTrip) {
    const DmInfo info{.major = 253, .minor = 7, .suspended = true, .live = true, .open_count = 2, .uuid = "BLANKET-bs-x-top"};
    const auto back = parse_dm_info(format_dm_info(info));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, info);
    for (const auto* bad : {"", "253 LIVE 0 x", "253:x LIVE 0 x", "253:1 AWAKE 0 x", "253:1 LIVE -1 x", "253:1 LIVE 0 x y"}) EXPECT_FALSE(parse_dm_info(bad)) << bad;
}

TEST(DmText, UnknownWordsAreRefused) {
    EXPECT_EQ(dmsetup({"dmsetup", "wipe_table", "x"}).error().kind, Kind::kInvalid);
    EXPECT_EQ(dmsetup({"dmsetup", "remove"}).error().kind, Kind::kInvalid);
    EXPECT_EQ(dmsetup({"dmsetup", "remove", "a", "b"}).error().kind, Kind::kInvalid);
}

}  // namespace
}  // namespace blanket::storage
