// SPDX-License-Identifier: GPL-2.0-or-later
// The table itself. Pure; tests/unit/daemon/reconcile_test.cpp walks it and compares it with ARCHITECTURE.md.
#include <algorithm>
#include <array>
#include <utility>

#include "toolstack/migrate/recovery.hpp"

namespace blanket {
namespace {

template <typename T, std::size_t N>
std::string_view name_of(const std::array<std::pair<T, std::string_view>, N>& table, T value) {
    for (const auto& [key, name] : table)
        if (key == value) return name;
    return "?";
}

}  // namespace

const std::vector<Rule>& rules() {
    using enum Action;
    static const std::vector<Rule> kRules{
        // claim            seen            event          restart        record         why
        {Claim::kNone,      Seen::kAbsent,  kNone,         kNone,         kNone,         "nothing there"},
        {Claim::kNone,      Seen::kDisk,    kNone,         kNone,         kNone,         "a volume without a record is nobody's: left for the operator"},
        {Claim::kNone,      Seen::kOff,     kAdopt,        kAdopt,        kNone,         "virsh define, virt-install: adopted with a record, or refused by name"},
        {Claim::kNone,      Seen::kCrashed, kAdopt,        kAdopt,        kNone,         "as defined"},
        {Claim::kNone,      Seen::kUp,      kAdopt,        kAdopt,        kNone,         "virsh create, virt-install --import: adopted running, or refused by name"},
        {Claim::kNone,      Seen::kHeld,    kNone,         kAdopt,        kNone,         "wait until it runs: it may be a restore under way"},
        {Claim::kForeign,   Seen::kAbsent,  kNone,         kNone,         kNone,         "it lives elsewhere"},
        {Claim::kForeign,   Seen::kDisk,    kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "the volume of a move that broke off, or of a VM that moved away"},
        {Claim::kForeign,   Seen::kOff,     kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "a left-over definition of a VM that moved away"},
        {Claim::kForeign,   Seen::kCrashed, kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "as off"},
        {Claim::kForeign,   Seen::kUp,      kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "a stale copy: its epoch has passed, it must not run"},
        {Claim::kForeign,   Seen::kHeld,    kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "the suspended rest of a move that was committed"},
        {Claim::kIncoming,  Seen::kAbsent,  kNone,         kNone,         kNone,         "the move has not come to memory yet"},
        {Claim::kIncoming,  Seen::kDisk,    kNone,         kRemoveCopy,   kNone,         "the move copies the disk; after a restart nobody continues it"},
        {Claim::kIncoming,  Seen::kOff,     kNone,         kRemoveCopy,   kNone,         "the restore is about to begin; after a restart nobody continues it"},
        {Claim::kIncoming,  Seen::kCrashed, kRemoveCopy,   kRemoveCopy,   kNone,         "the restore failed"},
        {Claim::kIncoming,  Seen::kUp,      kRemoveCopy,   kRemoveCopy,   kNone,         "nobody but the commit may let it run"},
        {Claim::kIncoming,  Seen::kHeld,    kNone,         kRemoveCopy,   kNone,         "the restored copy waits for the commit"},
        {Claim::kFork,      Seen::kAbsent,  kNone,         kNone,         kNone,         "nothing was left here"},
        {Claim::kFork,      Seen::kDisk,    kNone,         kNone,         kNone,         "kept for inspection until blanket vm drop-fork"},
        {Claim::kFork,      Seen::kOff,     kKeepFork,     kKeepFork,     kKeepFork,     "taken over elsewhere: only its disk stays"},
        {Claim::kFork,      Seen::kCrashed, kKeepFork,     kKeepFork,     kKeepFork,     "as off"},
        {Claim::kFork,      Seen::kUp,      kKeepFork,     kKeepFork,     kKeepFork,     "a stale copy: what it did since the take-over stays in its disk, and it must not run"},
        {Claim::kFork,      Seen::kHeld,    kKeepFork,     kKeepFork,     kKeepFork,     "as up: it is never resumed"},
        {Claim::kStandby,   Seen::kAbsent,  kNone,         kNone,         kNone,         "its disk was removed: it can be no standby until it was moved again"},
        {Claim::kStandby,   Seen::kDisk,    kNone,         kKeepStandby,  kNone,         "as it should be; after a restart the rest of a mirror may be there"},
        {Claim::kStandby,   Seen::kOff,     kKeepStandby,  kKeepStandby,  kKeepStandby,  "a left-over definition of a VM that moved away"},
        {Claim::kStandby,   Seen::kCrashed, kKeepStandby,  kKeepStandby,  kKeepStandby,  "as off"},
        {Claim::kStandby,   Seen::kUp,      kKeepStandby,  kKeepStandby,  kKeepStandby,  "a stale copy: its epoch has passed, it must not run"},
        {Claim::kStandby,   Seen::kHeld,    kKeepStandby,  kKeepStandby,  kKeepStandby,  "the suspended rest of a move that was committed"},
        {Claim::kGone,      Seen::kAbsent,  kNone,         kNone,         kNone,         "deleted, and nothing of it is here"},
        {Claim::kGone,      Seen::kDisk,    kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "deleted while this site was away, or the volume of a move that broke off"},
        {Claim::kGone,      Seen::kOff,     kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "as disk"},
        {Claim::kGone,      Seen::kCrashed, kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "as disk"},
        {Claim::kGone,      Seen::kUp,      kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "a stale copy of a VM that was deleted"},
        {Claim::kGone,      Seen::kHeld,    kRemoveCopy,   kRemoveCopy,   kRemoveCopy,   "the suspended rest of a move whose VM was deleted since"},
        {Claim::kStopped,   Seen::kAbsent,  kDefine,       kDefine,       kNone,         "virsh undefine: the record is the truth, delete it with blanket vm delete"},
        {Claim::kStopped,   Seen::kDisk,    kDefine,       kDefine,       kNone,         "as absent: its disk stays"},
        {Claim::kStopped,   Seen::kOff,     kNone,         kNone,         kNone,         "as it should be"},
        {Claim::kStopped,   Seen::kCrashed, kNone,         kNone,         kNone,         "off is off"},
        {Claim::kStopped,   Seen::kUp,      kMarkRunning,  kMarkRunning,  kNone,         "virsh start"},
        {Claim::kStopped,   Seen::kHeld,    kMarkRunning,  kMarkRunning,  kNone,         "virsh start --paused"},
        {Claim::kRunning,   Seen::kAbsent,  kNone,         kNone,         kNone,         "not even its disk: the registry was put back to before a move, or the disk is lost; only an operator can tell"},
        {Claim::kRunning,   Seen::kDisk,    kMarkStopped,  kStart,        kStartIfNew,   "virsh undefine --managed-save of a transient domain; after a host's restart it is defined and started again"},
        {Claim::kRunning,   Seen::kOff,     kMarkStopped,  kStart,        kStartIfNew,   "poweroff in the guest, virsh shutdown or destroy; after a restart of the host it runs again; a start whose record came late"},
        {Claim::kRunning,   Seen::kCrashed, kStart,        kStart,        kNone,         "a crashed guest is started again on the same disk"},
        {Claim::kRunning,   Seen::kUp,      kOpenIfNew,    kOpenIfNew,    kOpenIfNew,    "as it should be; a reboot in the guest ends here too"},
        {Claim::kRunning,   Seen::kHeld,    kOpenIfNew,    kOpenIfNew,    kOpenIfNew,    "virsh suspend: somebody wants it so"},
        {Claim::kSettling,  Seen::kAbsent,  kSettle,       kSettle,       kSettle,       "the host died after the commit: it is started from its disk"},
        {Claim::kSettling,  Seen::kDisk,    kSettle,       kSettle,       kSettle,       "as absent"},
        {Claim::kSettling,  Seen::kOff,     kSettle,       kSettle,       kSettle,       "as absent"},
        {Claim::kSettling,  Seen::kCrashed, kSettle,       kSettle,       kSettle,       "as absent"},
        {Claim::kSettling,  Seen::kUp,      kSettle,       kSettle,       kSettle,       "it runs; the rest of the move is tidied up"},
        {Claim::kSettling,  Seen::kHeld,    kSettle,       kSettle,       kSettle,       "blanketd died between the commit and the resume: it is resumed"},
        {Claim::kMigrating, Seen::kAbsent,  kTakeBack,     kTakeBack,     kTakeBack,     "the move's job is gone: the record settles it"},
        {Claim::kMigrating, Seen::kDisk,    kTakeBack,     kTakeBack,     kTakeBack,     "as absent"},
        {Claim::kMigrating, Seen::kOff,     kTakeBack,     kTakeBack,     kTakeBack,     "as absent"},
        {Claim::kMigrating, Seen::kCrashed, kTakeBack,     kTakeBack,     kTakeBack,     "as absent, then it is started again"},
        {Claim::kMigrating, Seen::kUp,      kTakeBack,     kTakeBack,     kTakeBack,     "blanketd died during the copy: the VM simply stays"},
        {Claim::kMigrating, Seen::kHeld,    kTakeBack,     kTakeBack,     kTakeBack,     "blanketd died after the suspend: settled by the record, then resumed"},
        {Claim::kDeleting,  Seen::kAbsent,  kNone,         kFinishDelete, kNone,         "the deletion is carried on"},
        {Claim::kDeleting,  Seen::kDisk,    kNone,         kFinishDelete, kNone,         "the deletion is carried on"},
        {Claim::kDeleting,  Seen::kOff,     kNone,         kFinishDelete, kNone,         "the deletion is carried on"},
        {Claim::kDeleting,  Seen::kCrashed, kNone,         kFinishDelete, kNone,         "the deletion is carried on"},
        {Claim::kDeleting,  Seen::kUp,      kNone,         kFinishDelete, kNone,         "the deletion is carried on"},
        {Claim::kDeleting,  Seen::kHeld,    kNone,         kFinishDelete, kNone,         "the deletion is carried on"},
    };
    return kRules;
}

Action decide(Claim claim, Seen seen, Cause cause) {
    for (const auto& rule : rules())
        if (rule.claim == claim && rule.seen == seen)
            return cause == Cause::kEvent ? rule.on_event : cause == Cause::kRestart ? rule.on_restart : rule.on_record;
    return Action::kNone;
}

Claim claim_of(const std::optional<VmRecord>& record, const std::string& here) {
    if (!record) return Claim::kNone;
    if (record->owner != here) {
        if (std::ranges::find(record->forks, here, &Fork::site) != record->forks.end()) return Claim::kFork;
        if (record->migration && record->migration->target == here) return Claim::kIncoming;
        const bool standby = record->standby && record->standby->site == here && record->phase != Phase::kDeleting;
        return standby ? Claim::kStandby : Claim::kForeign;
    }
    switch (record->phase) {
        case Phase::kStopped: return Claim::kStopped;
        case Phase::kRunning: return Claim::kRunning;
        case Phase::kSettling: return Claim::kSettling;
        case Phase::kMigrating: return Claim::kMigrating;
        case Phase::kDeleting: return Claim::kDeleting;
    }
    return Claim::kNone;
}

Seen seen_of(const std::optional<DomainInfo>& domain, bool disk_here) {
    if (!domain) return disk_here ? Seen::kDisk : Seen::kAbsent;
    switch (domain->state) {
        case DomainState::kRunning: return Seen::kUp;
        case DomainState::kPaused:
        case DomainState::kSuspended: return Seen::kHeld;
        case DomainState::kCrashed: return Seen::kCrashed;
        case DomainState::kShutoff:
        case DomainState::kDying: return Seen::kOff;
    }
    return Seen::kAbsent;
}

std::string_view to_string(Claim claim) {
    static constexpr std::array<std::pair<Claim, std::string_view>, 11> kNames{{{Claim::kNone, "none"}, {Claim::kForeign, "foreign"},
        {Claim::kIncoming, "incoming"}, {Claim::kFork, "fork"}, {Claim::kStandby, "standby"}, {Claim::kGone, "gone"}, {Claim::kStopped, "stopped"}, {Claim::kRunning, "running"}, {Claim::kSettling, "settling"}, {Claim::kMigrating, "migrating"}, {Claim::kDeleting, "deleting"}}};
    return name_of(kNames, claim);
}

std::string_view to_string(Seen seen) {
    static constexpr std::array<std::pair<Seen, std::string_view>, 6> kNames{
        {{Seen::kAbsent, "absent"}, {Seen::kDisk, "disk"}, {Seen::kOff, "off"}, {Seen::kCrashed, "crashed"}, {Seen::kUp, "up"}, {Seen::kHeld, "held"}}};
    return name_of(kNames, seen);
}

std::string_view to_string(Cause cause) {
    static constexpr std::array<std::pair<Cause, std::string_view>, 3> kNames{{{Cause::kEvent, "event"}, {Cause::kRestart, "restart"}, {Cause::kRecord, "record"}}};
    return name_of(kNames, cause);
}

std::string_view to_string(Action action) {
    static constexpr std::array<std::pair<Action, std::string_view>, 15> kNames{{{Action::kNone, "-"}, {Action::kAdopt, "adopt"}, {Action::kMarkRunning, "mark running"},
        {Action::kMarkStopped, "mark stopped"}, {Action::kStart, "start"}, {Action::kStartIfNew, "start if new"}, {Action::kOpenIfNew, "open if new"}, {Action::kDefine, "define"}, {Action::kSettle, "settle"}, {Action::kTakeBack, "take back"},
        {Action::kRemoveCopy, "remove copy"}, {Action::kKeepFork, "keep fork"}, {Action::kKeepStandby, "keep standby"}, {Action::kFinishDelete, "finish delete"}, {Action::kLater, "later"}}};
    return name_of(kNames, action);
}

}  // namespace blanket
