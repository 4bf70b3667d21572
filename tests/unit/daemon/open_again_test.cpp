// SPDX-License-Identifier: GPL-2.0-or-later
// What cannot be opened yet is tried again, less and less often.
#include "toolstack/daemon/open_again.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"

namespace blanket {
namespace {

struct OpenAgainRig {
    fakes::ManualClock clock;
    std::vector<std::int64_t> tries;  // ms since the first
    std::string why = "cannot listen on 192.0.2.1:7443";
    bool may = true;
    const std::int64_t begin = clock.now_ms;
    OpenAgain listeners{"listeners", clock, [this]() -> Result<void> {
        tries.push_back(clock.now_ms - begin);
        if (why.empty()) return {};
        return fail(Kind::kIo, "{}", why);
    }};
    void looks(int seconds) {
        for (int i = 0; i < 4 * seconds; ++i) {
            clock.now_ms += 250;
            listeners.look([this] { return may; });
        }
    }
};

TEST(OpenAgain, TriesUntilItIsOpen) {
    OpenAgainRig rig;
    rig.looks(10);
    EXPECT_TRUE(rig.tries.empty()) << "nobody wants it yet";
    const std::int64_t asked = rig.clock.now_ms - rig.begin;
    EXPECT_FALSE(rig.listeners.now());
    EXPECT_EQ(rig.listeners.trouble(), rig.why);
    rig.looks(300);
    for (auto& at : rig.tries) at -= asked;
    EXPECT_EQ(rig.tries, (std::vector<std::int64_t>{0, 1000, 3000, 7000, 15'000, 31'000, 63'000, 123'000, 183'000, 243'000}));
    rig.why = "another reason";
    rig.looks(61);
    EXPECT_EQ(rig.listeners.trouble(), "another reason");
    rig.why.clear();
    rig.looks(61);
    EXPECT_EQ(rig.listeners.trouble(), "");
    const auto enough = rig.tries.size();
    rig.looks(100);
    EXPECT_EQ(rig.tries.size(), enough) << "it is open";
}

TEST(OpenAgain, WhatIsOutOfDateIsOpenedAnewWhenThatSuits) {
    OpenAgainRig rig;
    rig.why.clear();
    EXPECT_TRUE(rig.listeners.now());
    rig.listeners.anew();
    rig.may = false;
    rig.looks(10);
    EXPECT_EQ(rig.tries.size(), 1u) << "a move is on";
    rig.may = true;
    rig.looks(10);
    EXPECT_EQ(rig.tries.size(), 2u);
}

}  // namespace
}  // namespace blanket
