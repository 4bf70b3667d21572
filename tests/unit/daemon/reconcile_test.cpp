// SPDX-License-Identifier: GPL-2.0-or-later
// Walks the reconciliation table: complete, safe, and the same as in ARCHITECTURE.md.
#include <gtest/gtest.h>

#include <set>

#include "toolstack/base/file.hpp"
#include "toolstack/daemon/reconcile.hpp"

namespace blanket {
namespace {

constexpr std::array kClaims{Claim::kNone, Claim::kForeign, Claim::kIncoming, Claim::kFork, Claim::kStandby, Claim::kGone, Claim::kStopped, Claim::kRunning, Claim::kSettling, Claim::kMigrating, Claim::kDeleting};
constexpr std::array kSeen{Seen::kAbsent, Seen::kDisk, Seen::kOff, Seen::kCrashed, Seen::kUp, Seen::kHeld};
constexpr std::array kCauses{Cause::kEvent, Cause::kRestart, Cause::kRecord};

TEST(Reconcile, EveryCombinationHasExactlyOneRule) {
    std::set<std::pair<Claim, Seen>> all;
    for (const auto& rule : rules()) EXPECT_TRUE(all.emplace(rule.claim, rule.seen).second) << to_string(rule.claim) << " " << to_string(rule.seen);
    EXPECT_EQ(all.size(), kClaims.size() * kSeen.size());
}

TEST(Reconcile, ACopyThatIsNotOursNeverRunsAndNeverStarts) {
    for (const Claim claim : {Claim::kForeign, Claim::kIncoming, Claim::kGone})
        for (const Seen seen : kSeen)
            for (const Cause cause : kCauses) {
                const Action action = decide(claim, seen, cause);
                EXPECT_TRUE(action == Action::kNone || action == Action::kRemoveCopy);
                if (claim == Claim::kForeign && seen == Seen::kUp) EXPECT_EQ(action, Action::kRemoveCopy);
            }
}

TEST(Reconcile, AForkIsKeptAndNeverRuns) {
    for (const Seen seen : kSeen)
        for (const Cause cause : kCauses) {
            const bool nothing_to_end = seen == Seen::kAbsent || seen == Seen::kDisk;
            EXPECT_EQ(decide(Claim::kFork, seen, cause), nothing_to_end ? Action::kNone : Action::kKeepFork);
        }
}

TEST(Reconcile, AStandbyKeepsItsDiskAndNeverRuns) {
    for (const Seen seen : kSeen)
        for (const Cause cause : kCauses) {
            const Action action = decide(Claim::kStandby, seen, cause);
            EXPECT_TRUE(action == Action::kKeepStandby || ((seen == Seen::kAbsent || seen == Seen::kDisk) && action == Action::kNone));
        }
}

TEST(Reconcile, NothingOfOursIsEverRemovedButByDeletion) {
    for (const Claim claim : {Claim::kStopped, Claim::kRunning, Claim::kSettling, Claim::kMigrating})
        for (const Seen seen : kSeen)
            for (const Cause cause : kCauses) {
                const Action action = decide(claim, seen, cause);
                EXPECT_NE(action, Action::kRemoveCopy);
                EXPECT_NE(action, Action::kFinishDelete);
            }
}

TEST(Reconcile, TheEventsThatOperatorsKnow) {
    EXPECT_EQ(decide(Claim::kNone, Seen::kOff, Cause::kEvent), Action::kAdopt);                // virsh define
    EXPECT_EQ(decide(Claim::kStopped, Seen::kUp, Cause::kEvent), Action::kMarkRunning);        // virsh start
    EXPECT_EQ(decide(Claim::kRunning, Seen::kOff, Cause::kEvent), Action::kMarkStopped);       // virsh destroy, poweroff in the guest
    EXPECT_EQ(decide(Claim::kRunning, Seen::kAbsent, Cause::kEvent), Action::kNone);           // an older record: it may run elsewhere
    EXPECT_EQ(decide(Claim::kRunning, Seen::kUp, Cause::kEvent), Action::kOpenIfNew);          // reboot in the guest: its disk is open
    EXPECT_EQ(decide(Claim::kRunning, Seen::kOff, Cause::kRecord), Action::kStartIfNew);       // a start whose record came late
    EXPECT_EQ(decide(Claim::kRunning, Seen::kCrashed, Cause::kEvent), Action::kStart);         // the guest crashed
    EXPECT_EQ(decide(Claim::kRunning, Seen::kOff, Cause::kRestart), Action::kStart);           // the host was restarted
    EXPECT_EQ(decide(Claim::kStopped, Seen::kAbsent, Cause::kEvent), Action::kDefine);         // virsh undefine
    EXPECT_EQ(decide(Claim::kMigrating, Seen::kHeld, Cause::kRestart), Action::kTakeBack);     // blanketd died in a move
    EXPECT_EQ(decide(Claim::kForeign, Seen::kHeld, Cause::kRecord), Action::kRemoveCopy);      // a move was committed without us
}

TEST(Reconcile, ClaimsFollowTheRecord) {
    VmRecord vm;
    vm.owner = "east";
    vm.phase = Phase::kRunning;
    EXPECT_EQ(claim_of(std::nullopt, "east"), Claim::kNone);
    EXPECT_EQ(claim_of(vm, "east"), Claim::kRunning);
    EXPECT_EQ(claim_of(vm, "west"), Claim::kForeign);
    vm.phase = Phase::kMigrating;
    vm.migration = Migration{"1", "west"};
    EXPECT_EQ(claim_of(vm, "east"), Claim::kMigrating);
    EXPECT_EQ(claim_of(vm, "west"), Claim::kIncoming);
    EXPECT_EQ(claim_of(vm, "south"), Claim::kForeign);
    vm.standby = Standby{"south", 1, ""};
    EXPECT_EQ(claim_of(vm, "south"), Claim::kStandby);
    vm.migration->target = "south";
    EXPECT_EQ(claim_of(vm, "south"), Claim::kIncoming);  // what it has is replaced
    vm.migration.reset();
    vm.phase = Phase::kDeleting;
    EXPECT_EQ(claim_of(vm, "south"), Claim::kForeign);
    vm.forks.push_back({"south", 1, ""});
    EXPECT_EQ(claim_of(vm, "south"), Claim::kFork);
}

TEST(Reconcile, TheTableIsTheOneInTheArchitecture) {
    const auto text = read_file(BLANKET_SOURCE_DIR "/ARCHITECTURE.md");
    ASSERT_TRUE(text);
    for (const auto& rule : rules()) {
        const std::string row = std::format("| {} | {} | {} | {} | {} | {} |", to_string(rule.claim), to_string(rule.seen), to_string(rule.on_event),
                                            to_string(rule.on_restart), to_string(rule.on_record), rule.why);
        EXPECT_NE(text->find(row), std::string::npos) << row;
    }
}

}  // namespace
}  // namespace blanket
