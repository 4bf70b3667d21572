// SPDX-License-Identifier: GPL-2.0-or-later
// Which slot runs, is started next, takes an update, is kept.
#include "toolstack/update/status.hpp"

#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"

namespace blanket::update {
namespace {

struct SlotMachine {
    FakeRoot root;
    SlotMachine(const std::string& cmdline, const BootEnv& env, bool both = true) {
        root.file("/proc/cmdline", "root=UUID=x " + cmdline + "\n");
        root.file("/boot/grub/grubenv", format_boot_env(env));
        for (const std::string slot : {"a", "b"}) {
            if (slot == "b" && !both) continue;
            root.file("/run/blanket-disk/slots/" + slot + ".json", R"({"version": ")" + std::string(slot == "a" ? "0.1.0" : "0.2.0") + R"(", "id": "1"})");
            root.file("/run/blanket-disk/slots/" + slot + "/boot/args.cfg", "x");
        }
    }
    [[nodiscard]] Status status() const { return read_status(root.path()); }
    [[nodiscard]] std::string state(char slot) const {
        const Json json = to_json(status());
        return json["slots"][slot == 'b' ? 1 : 0]["state"];
    }
};

TEST(Slots, AFreshDisk) {
    const SlotMachine machine("blanket.slot=a", {}, false);
    EXPECT_EQ(machine.state('a'), "running");
    EXPECT_EQ(machine.state('b'), "empty");
    EXPECT_EQ(slot_for_update(machine.status()).value(), 'b');
    EXPECT_EQ(confirmed(machine.status()).error().kind, Kind::kConflict);
    EXPECT_EQ(rolled_back(machine.status()).error().kind, Kind::kConflict);
    EXPECT_FALSE(machine.status().failed());
}

TEST(Slots, InstalledAndNotYetStarted) {
    const SlotMachine machine("blanket.slot=a", {.slot = 'a', .trial = 'b', .armed = true});
    EXPECT_EQ(machine.state('b'), "next, on trial");
    EXPECT_EQ(machine.status().next(), 'b');
    EXPECT_EQ(slot_for_update(machine.status()).value(), 'b') << "another one may take its place";
    const BootEnv back = rolled_back(machine.status()).value();
    EXPECT_EQ(back.slot, 'a');
    EXPECT_EQ(back.trial, 0);
}

TEST(Slots, OnTrialNothingTouchesTheWayBack) {
    const SlotMachine machine("blanket.slot=b blanket.trial", {.slot = 'a', .trial = 'b', .armed = false});
    EXPECT_TRUE(machine.status().on_trial);
    EXPECT_FALSE(machine.status().failed());
    EXPECT_EQ(machine.state('b'), "running, on trial");
    EXPECT_EQ(machine.state('a'), "next");
    EXPECT_EQ(slot_for_update(machine.status()).error().kind, Kind::kConflict);
    const BootEnv keep = confirmed(machine.status()).value();
    EXPECT_EQ(keep.slot, 'b');
    EXPECT_EQ(keep.trial, 0);
    EXPECT_EQ(keep.tries, 0u);
    EXPECT_EQ(rolled_back(machine.status()).value().slot, 'a');
}

TEST(Slots, ATrialThatDidNotComeUp) {
    const SlotMachine machine("blanket.slot=a", {.slot = 'a', .trial = 'b', .armed = false});
    EXPECT_TRUE(machine.status().failed());
    EXPECT_EQ(machine.state('a'), "running");
    EXPECT_EQ(machine.state('b'), "did not come up");
    EXPECT_EQ(slot_for_update(machine.status()).value(), 'b');
    EXPECT_TRUE(rolled_back(machine.status()).error().what.contains("did not come up"));
}

TEST(Slots, ConfirmedTheOldOneIsTheWayBack) {
    const SlotMachine machine("blanket.slot=b", {.slot = 'b'});
    EXPECT_EQ(machine.state('a'), "previous");
    EXPECT_EQ(slot_for_update(machine.status()).value(), 'a');
    EXPECT_EQ(rolled_back(machine.status()).value().slot, 'a');
}

TEST(Slots, TheOtherOneFromTheMenuIsRunThisOnce) {
    const SlotMachine machine("blanket.slot=a", {.slot = 'b'});
    EXPECT_EQ(machine.state('a'), "running, this once");
    EXPECT_EQ(slot_for_update(machine.status()).error().kind, Kind::kConflict);
    EXPECT_EQ(confirmed(machine.status()).value().slot, 'a');
}

TEST(Slots, ALiveSystemHasNone) {
    const SlotMachine machine("boot=blanket-live", {});
    EXPECT_EQ(slot_for_update(machine.status()).error().kind, Kind::kPrecondition);
    EXPECT_FALSE(confirmed(machine.status()));
    EXPECT_FALSE(rolled_back(machine.status()));
    EXPECT_EQ(machine.status().next(), 0);
}

TEST(Slots, AnIncompleteSlotIsNotStarted) {
    const SlotMachine machine("blanket.slot=a", {.slot = 'a', .trial = 'b', .armed = true}, false);
    EXPECT_EQ(machine.status().next(), 'a');
    EXPECT_EQ(machine.state('b'), "empty");
}

}  // namespace
}  // namespace blanket::update
