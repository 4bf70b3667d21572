// SPDX-License-Identifier: GPL-2.0-or-later
// The uplink modules inside a real Xen (rig.hpp). One provider serves all tests of this program. Input: BLANKET_IMAGE (./dev test vm sets it).
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <sched.h>
#include <vector>

#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/rig.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::rig {
namespace {

using std::chrono::minutes;

class Uplink : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
        const char* const image = std::getenv("BLANKET_IMAGE");
        auto made = Rig::create("uplink-test", image == nullptr ? "" : image);
        ASSERT_TRUE(made) << made.error().what << " " << made.error().hint;
        rig_ = std::move(*made);
    }
    static void TearDownTestSuite() {
        if (rig_ && ::testing::UnitTest::GetInstance()->failed_test_count() > 0) std::printf("logs: %s\n", rig_->machine().dir().c_str());
        rig_.reset();
    }
    void SetUp() override { ASSERT_TRUE(rig_) << "the provider did not come up"; }

    static void expect_good(const Result<std::string>& console) {
        ASSERT_TRUE(console) << console.error().what;
        for (const char* step : {"load", "disk", "network", "reload"}) EXPECT_TRUE(console->contains(std::format("PROBE {} ok", step))) << "step '" << step << "'; console:\n" << *console;
        EXPECT_TRUE(console->contains("PROBE provider xen 4.20")) << *console;
        EXPECT_TRUE(console->contains("PROBE end"));
        for (const char* alarm : {"FAILED", "BUG:", "Oops", "Call Trace", "Panic on CPU"}) EXPECT_FALSE(console->contains(alarm)) << alarm << "\n" << *console;
    }

    static inline std::unique_ptr<Rig> rig_;
};

TEST_F(Uplink, DiskNetworkAndReloads) {
    expect_good(rig_->run({.words = "reloads=5"}));
    // What was written inside is on the provider's disk, at its place.
    const std::string copy = rig_->machine().dir() + "/written.img";
    ASSERT_TRUE(rig_->provider().run({"sync"}));
    ASSERT_TRUE(rig_->provider().get_file(kDisk, copy, minutes(2)));
    const auto bytes = read_file(copy, 64u << 20);
    ASSERT_TRUE(bytes);
    ASSERT_EQ(bytes->size(), 2 * kRegionBytes);
    std::vector<std::uint64_t> words(kRegionBytes / 8);
    std::memcpy(words.data(), bytes->data() + kRegionBytes, kRegionBytes);
    EXPECT_TRUE(holds(words, 0, kInsideSeed)) << "what was written inside is not what the provider has";
    const auto alarms = rig_->machine().alarms();
    ASSERT_TRUE(alarms);
    EXPECT_TRUE(alarms->empty()) << alarms->front();
}

// A disk comes and goes; a save is refused, and the machine lives on; a shutdown is honoured.
TEST_F(Uplink, WhatTheProviderAsksFor) {
    const auto expect_done = [](const auto& result) { ASSERT_TRUE(result) << result.error().what; };
    lab::Ssh& provider = rig_->provider();
    expect_done(rig_->start({.words = "reloads=0 hold=1 loglevel=7"}));
    expect_done(rig_->wait_said("PROBE waiting"));
    expect_done(provider.script("cp /root/rig/disk.img /root/rig/second.img; losetup /dev/loop6 /root/rig/second.img"));
    const Argv attach{"xl", "block-attach", "inside", "format=raw, vdev=xvdb, access=rw, script=/root/rig/block, target=/dev/loop6"};
    for (const int round : {1, 2}) {
        expect_done(provider.run(attach, minutes(2)));
        expect_done(rig_->wait_said(std::format("PROBE attach-{} ok", round)));
        expect_done(provider.run({"xl", "block-detach", "inside", "xvdb"}, minutes(2)));
        expect_done(rig_->wait_said(std::format("PROBE detach-{} ok", round)));
        if (round == 2) break;
        const auto saved = provider.run_any({"xl", "save", "inside", "/root/rig/saved"}, minutes(4));
        expect_done(saved);
        EXPECT_NE(saved->status, 0) << "a blanket cannot be saved by its provider";
        expect_done(rig_->wait_said("not with virtual machines of our own inside"));
    }
    expect_done(provider.run({"xl", "shutdown", "inside"}, minutes(1)));
    expect_done(rig_->wait_gone());
    EXPECT_TRUE(rig_->console().contains("the provider asks: poweroff")) << rig_->console();
}

// dom0 with fewer processors than its Xen, none of them pinned: an event of the provider comes in on whatever processor.
// Then dom0 calls the hypervisor 20,000 times with garbage.
TEST_F(Uplink, FourProcessorsThreeOfThemDom0sAndGarbage) {
    const auto console = rig_->run({.vcpus = 4, .dom0_vcpus = 3, .words = "reloads=2 garbage=20000"});
    expect_good(console);
    EXPECT_TRUE(console && console->contains("PROBE garbage ok"));
}

}  // namespace
}  // namespace blanket::rig
