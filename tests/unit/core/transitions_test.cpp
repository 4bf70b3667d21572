// SPDX-License-Identifier: GPL-2.0-or-later
#include "toolstack/core/transitions.hpp"

#include <gtest/gtest.h>

#include <array>
#include <format>

#include "toolstack/base/file.hpp"

namespace blanket {
namespace {

constexpr std::array kPhases{Phase::kStopped, Phase::kRunning, Phase::kSettling, Phase::kMigrating, Phase::kDeleting};

VmRecord record(Phase phase, const std::string& owner = "east", std::uint64_t epoch = 3) {
    VmRecord vm;
    vm.uuid = "u";
    vm.name = "web";
    vm.phase = phase;
    vm.owner = owner;
    vm.epoch = epoch;
    return vm;
}

TEST(Transitions, TheTableIsTheOneInTheArchitecture) {
    const auto text = read_file(BLANKET_SOURCE_DIR "/ARCHITECTURE.md");
    ASSERT_TRUE(text);
    for (const auto& row : transitions()) {
        const std::string line = std::format("| {} | {} | {} | {} | {} |", to_string(row.from), to_string(row.to), to_string(row.owner), row.by, row.when);
        EXPECT_NE(text->find(line), std::string::npos) << line;
    }
}

TEST(Transitions, TheEpochNeverFallsAndAnotherOwnerMeansANewOne) {
    for (const Phase from : kPhases)
        for (const Phase to : kPhases) {
            EXPECT_FALSE(allowed(record(from), record(to, "west", 3))) << to_string(from) << to_string(to);
            for (const char* site : {"east", "west"}) EXPECT_FALSE(allowed(record(from), record(to, site, 2)));
        }
}

TEST(Transitions, OnlyACommitGivesAMovingVmAway) {
    EXPECT_TRUE(allowed(record(Phase::kMigrating), record(Phase::kSettling, "west", 4)));
    EXPECT_EQ(find_transition(record(Phase::kMigrating), record(Phase::kSettling, "west", 4))->by, "target");
    EXPECT_FALSE(allowed(record(Phase::kMigrating), record(Phase::kRunning, "west", 4)));  // not all is in place
    EXPECT_FALSE(allowed(record(Phase::kMigrating), record(Phase::kRunning)));             // taken back, but its disk may still be over the mirror
    EXPECT_FALSE(allowed(record(Phase::kMigrating), record(Phase::kStopped)));
    EXPECT_FALSE(allowed(record(Phase::kRunning), record(Phase::kRunning, "west", 4)));
}

TEST(Transitions, NothingComesBackFromADeletion) {
    for (const Phase to : kPhases)
        for (const std::uint64_t epoch : {3u, 4u})
            for (const char* site : {"east", "west"}) {
                const bool itself = to == Phase::kDeleting && epoch == 3 && std::string(site) == "east";
                EXPECT_EQ(allowed(record(Phase::kDeleting), record(to, site, epoch)), itself);
            }
}

TEST(Transitions, WhatIsNeitherOwnerNorPhaseIsFree) {
    VmRecord edited = record(Phase::kRunning);
    edited.policy = kPause;
    EXPECT_TRUE(allowed(record(Phase::kRunning), edited));
    edited.name = "other";
    EXPECT_FALSE(allowed(record(Phase::kRunning), edited));
}

}  // namespace
}  // namespace blanket
