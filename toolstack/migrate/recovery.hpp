// SPDX-License-Identifier: GPL-2.0-or-later
// What happens outside of us (virsh, the guest, a crash, a restart) -> what this site does. One pure table, walked by a test and printed in
// ARCHITECTURE.md, and Recovery, which looks at one VM and applies it through the ports. libvirt never starts a VM by itself: the record decides.
// daemon/reconcile.cpp calls it in real life, tests/sim under every fault.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "toolstack/core/ports.hpp"

namespace blanket {

// What the record says about a domain seen here.
enum class Claim : std::uint8_t {
    kNone,       // no record
    kForeign,    // another site owns it
    kIncoming,   // another site owns it and moves it here
    kFork,       // another site took it over without this one: what is here is kept, and never runs
    kStandby,    // another site owns it; this one keeps the disk that it last had, for failover.hpp
    kGone,       // it was deleted; what is here was left by a move, or was here while this site was away
    kStopped,    // ours, stopped by intent
    kRunning,    // ours, running by intent
    kSettling,   // ours by a commit or a take-back, not all in place
    kMigrating,  // ours, on its way out
    kDeleting,   // ours, being removed
};
// What the hypervisor shows.
enum class Seen : std::uint8_t {
    kAbsent,     // neither defined nor a disk of it
    kDisk,       // not defined, but a volume of it is here
    kOff,        // defined, not running
    kCrashed,    // off because it crashed, or crashed and kept
    kUp,         // running
    kHeld,       // paused or suspended
};
// Why we look.
enum class Cause : std::uint8_t {
    kEvent,    // libvirt told of a change (virsh, the guest)
    kRestart,  // blanketd started: whatever was under way has no owner any more
    kRecord,   // the record changed
};
enum class Action : std::uint8_t {
    kNone,          // as it should be
    kAdopt,         // make a record for it
    kMarkRunning,   // somebody started it: the record follows
    kMarkStopped,   // the guest or virsh ended it: the record follows
    kStart,         // it should run: start it
    kStartIfNew,    // kStart when its disk was never opened under the record's epoch, else kNone: the guest ended, its event tells
    kOpenIfNew,     // when its disk was never opened under the record's epoch, open it: virsh started the VM, its record came late or blanketd died behind it
    kDefine,        // its definition was taken away: put it back
    kSettle,        // put everything in place: disk, domain, record
    kTakeBack,      // a move whose job is gone: settle by the record, then it runs on here
    kRemoveCopy,    // a copy of a VM that is not ours (any more): remove it
    kKeepFork,      // the domain goes, the disk stays for inspection
    kKeepStandby,   // the domain goes, the disk stays for the day on which the owner is lost
    kFinishDelete,  // carry the deletion on
    kLater,         // in no rule: a job works on the VM; what it leaves must be looked at
};

struct Rule {
    Claim claim;
    Seen seen;
    Action on_event, on_restart, on_record;
    std::string_view why;
};
const std::vector<Rule>& rules();
Action decide(Claim claim, Seen seen, Cause cause);  // pure

std::string_view to_string(Claim claim);
std::string_view to_string(Seen seen);
std::string_view to_string(Cause cause);
std::string_view to_string(Action action);

Claim claim_of(const std::optional<VmRecord>& record, const std::string& here);
Seen seen_of(const std::optional<DomainInfo>& domain, bool disk_here);

// Keeps jobs and others off a VM while it lives.
class Claimed {
public:
    virtual ~Claimed() = default;
};

// What only the daemon can do.
class RecoveryHost {
public:
    virtual ~RecoveryHost() = default;
    virtual std::unique_ptr<Claimed> claim(const std::string& vm) = 0;        // empty: a job works on it, or it is coming in
    virtual void tell(const std::string& vm, const std::string& text) = 0;    // for the event log
    virtual Result<void> adopt(const DomainInfo& domain) = 0;                 // a record for a VM that somebody else made
    virtual Result<void> start(const VmRecord& vm) = 0;                       // as a job: start_here()
    virtual Result<void> finish_delete(const VmRecord& vm) = 0;
    virtual void look_again(const std::string& uuid, Cause cause) = 0;        // soon
};

class Recovery final {
public:
    Recovery(SitePorts ports, std::string site, RecoveryHost& host) : ports_(ports), site_(std::move(site)), host_(host) {}
    // Looks at one VM and does what the table says. Nothing is done to a VM whose disk here is newer than its record: then the registry was put back to
    // an older state, and only an operator can tell what is true (takeover.hpp). Nor to one that runs here by its record and of which nothing is here. After kLater and after any error ask again, or what happened is forgotten. kUnavailable: without
    // the registry nothing may be decided. Thread rule: one at a time.
    Result<Action> look(const std::string& uuid, Cause cause);
    // What else of this site must be looked at after a restart: the UUIDs of all records that are or were here, and of all domains.
    Result<std::vector<std::string>> all();

private:
    struct Situation {
        std::optional<Versioned<VmRecord>> record;
        std::optional<Gone> gone;  // in its stead
        std::optional<DomainInfo> domain;
        Claim claim = Claim::kNone;
        Seen seen = Seen::kAbsent;
        std::uint64_t disk_epoch = 0;  // as new as its record was at least, by its volumes here
        bool never_opened = false;     // under the record's epoch, one of them
        [[nodiscard]] bool record_went_back() const { return record && disk_epoch > record->value.epoch; }
        [[nodiscard]] bool disk_missing() const { return claim == Claim::kRunning && seen == Seen::kAbsent; }
        [[nodiscard]] Action action(Cause cause) const;
        [[nodiscard]] const std::string& name(const std::string& uuid) const { return record ? record->value.name : gone ? gone->name : domain ? domain->name : uuid; }
    };
    Result<Situation> situation(const std::string& uuid);
    Result<void> apply(Action action, const std::string& uuid, const std::optional<Versioned<VmRecord>>& record, const std::optional<DomainInfo>& domain);
    Result<void> mark(const std::string& uuid, Phase phase);
    Result<void> open(const VmRecord& record);
    Result<void> settle(const VmRecord& record, const std::optional<DomainInfo>& domain);
    Result<void> take_back(const VmRecord& record, const std::optional<DomainInfo>& domain);
    Result<void> remove_copy(const VmRecord& record, const std::optional<DomainInfo>& domain);
    Result<void> keep_disk(const VmRecord& record, const std::optional<DomainInfo>& domain);
    void tell_once(const Situation& now, const std::string& name);

    SitePorts ports_;
    std::string site_;
    RecoveryHost& host_;
    std::set<std::string> told_;  // UUIDs of VMs whose record is behind their disk at present: said once. Or whose disk is not here
};

// What a commit, a take-back or a take-over left to do here; every step may have been done before. False: its memory is gone, it must be started.
Result<bool> settle_here(SitePorts ports, const VmRecord& record, const std::optional<DomainInfo>& domain);

}  // namespace blanket
