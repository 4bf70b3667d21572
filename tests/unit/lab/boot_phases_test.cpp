// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "tests/bench/boot_phases.hpp"

namespace blanket::bench {
namespace {

constexpr const char* kTold =
    "init 6.250000\n"
    "userspace 9500000\n"
    "unit cloud-init-local.service 15000000 21000000\n"
    "unit dev-vda3.device 9600000 9700000\n"
    "unit blanketd.service 30000000 35500000\n"
    "unit ssh.service 24000000 26000000\n";

TEST(BootPhases, FollowOneAnotherFromPowerOnToGreen) {
    const auto guest = parse_guest_times(kTold);
    ASSERT_TRUE(guest) << guest.error().what;
    const Boot boot = phases_of({.grub = 2, .xen = 5, .linux_began = 8, .green = 50}, *guest, 2);
    double at = 0;
    for (const auto& phase : boot.phases) {
        EXPECT_DOUBLE_EQ(phase.begin_s, at) << phase.name;
        EXPECT_GE(phase.end_s, phase.begin_s);
        at = phase.end_s;
    }
    EXPECT_DOUBLE_EQ(boot.total_s(), 50);
    ASSERT_GE(boot.phases.size(), 5u);
    EXPECT_EQ(boot.phases[4].name, "initramfs");
    EXPECT_DOUBLE_EQ(boot.phases[4].length(), 3.25);
    ASSERT_EQ(boot.units.size(), 2u);  // the longest, in the order of their beginnings
    EXPECT_EQ(boot.units[0].name, "cloud-init-local.service");
    EXPECT_DOUBLE_EQ(boot.units[1].begin_s, 38);
}

TEST(BootPhases, AMilestoneThatCameEarlierTakesNoTime) {
    const auto guest = parse_guest_times("init 1\nuserspace 2000000\nunit ssh.service 8000000 9000000\nunit blanketd.service 3000000 4000000\n");
    ASSERT_TRUE(guest);
    const Boot boot = phases_of({.grub = 1, .xen = 2, .linux_began = 3, .green = 20}, *guest);
    for (const auto& phase : boot.phases) EXPECT_GE(phase.length(), 0) << phase.name;
    EXPECT_DOUBLE_EQ(boot.total_s(), 20);
}

TEST(BootPhases, NonsenseIsRefused) {
    for (const char* text : {"", "init 5\n", "init 5\nuserspace x\n", "userspace 4000000\ninit 5\n", "init 5\nuserspace 9000000\nunit a.service 1\n"}) EXPECT_FALSE(parse_guest_times(text)) << text;
}

TEST(BootPhases, ThePlotNamesWhatItShows) {
    const auto guest = parse_guest_times(kTold);
    ASSERT_TRUE(guest);
    const std::string page = boot_plot({{"first <start>", phases_of({.grub = 2, .xen = 5, .linux_began = 8, .green = 50}, *guest)}});
    EXPECT_TRUE(page.contains("first &lt;start&gt;"));
    EXPECT_TRUE(page.contains("blanketd.service"));
    EXPECT_TRUE(page.contains("50.0 s"));
}

}  // namespace
}  // namespace blanket::bench
