// SPDX-License-Identifier: GPL-2.0-or-later
// The uplink modules inside a real Xen, what takes longer or concerns few providers (label nightly).
#include "tests/vm/uplink_rig/fixture.hpp"

namespace blanket::rig {
namespace {

using UplinkLong = RigTest;

TEST_F(UplinkLong, FiftyReloadsLeaveNothing) {
    const auto console = rig_->run({.words = "selftest=1 reloads=50 ports=1 twoway=60"});
    expect_good(console);
    EXPECT_TRUE(console && console->contains("PROBE ports ok") && console->contains("PROBE both-ways ok")) << *console;
}

// Two processors, one of them dom0's, and the disk's persistent grants, which the appliance does without.
TEST_F(UplinkLong, TwoProcessors) {
    const auto console = rig_->run({.vcpus = 2, .words = "persistent=1 reloads=3 ports=1 twoway=15"});
    expect_good(console);
    EXPECT_TRUE(console && console->contains("PROBE ports ok") && console->contains("PROBE both-ways ok")) << *console;
}

// Without a provider's Xen, or with the option that says so, every call is -ENOSYS and the module stays out; the hypervisor boots and ends as usual.
TEST_F(UplinkLong, WithoutAProvider) {
    const auto console = rig_->run({.words = "none=1", .xen_words = "blanket=no"});
    ASSERT_TRUE(console) << console.error().what;
    EXPECT_TRUE(console->contains("PROBE none ok")) << *console;
    expect_no_alarm(*console);
}

// Events by the platform device's interrupt line: a PVH guest has no such device, so the module says so and leaves; Xen goes on without a vector. Garbage from dom0 meets
// the two commands that are for such a provider only.
TEST_F(UplinkLong, EventsByALineThatIsNotThere) {
    const auto console = rig_->run({.words = "none=2 garbage=20000", .xen_words = "blanket=intx"});
    ASSERT_TRUE(console) << console.error().what;
    EXPECT_TRUE(console->contains("PROBE no-line ok") && console->contains("PROBE line-garbage ok")) << *console;
    expect_no_alarm(*console);
}

}  // namespace
}  // namespace blanket::rig
