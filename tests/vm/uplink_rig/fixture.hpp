// SPDX-License-Identifier: GPL-2.0-or-later
// The provider that all tests of one program share. Input: BLANKET_IMAGE (./dev test vm sets it).
#pragma once

#include <cstdlib>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdexcept>

#include "tests/vm/uplink_rig/rig.hpp"

namespace blanket::rig {

// A step that fails ends its test: the next one would wait for minutes in vain.
inline void expect_done(const auto& result) {
    if (!result) throw std::runtime_error(result.error().what);
}

inline void expect_no_alarm(const std::string& said) {
    for (const char* alarm : {"FAILED", "BUG:", "Oops", "Call Trace", "Panic on CPU", "ASSERT"}) EXPECT_FALSE(said.contains(alarm)) << alarm << "\n" << said;
}

class RigTest : public ::testing::Test {
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
    void TearDown() override {
        if (rig_) (void)rig_->provider().run_any({"xl", "destroy", "inside"});  // there only after a failure
    }

    // The usual steps, all of them well.
    static void expect_good(const Result<std::string>& console) {
        expect_done(console);
        for (const char* step : {"load", "disk", "network", "reload"}) EXPECT_TRUE(console->contains(std::format("PROBE {} ok", step))) << "step '" << step << "'; console:\n" << *console;
        EXPECT_TRUE(console->contains("PROBE provider xen 4.20")) << *console;
        EXPECT_TRUE(console->contains("PROBE end"));
        expect_no_alarm(*console);
    }

    static inline std::unique_ptr<Rig> rig_;
};

}  // namespace blanket::rig
