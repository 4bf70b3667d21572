// SPDX-License-Identifier: GPL-2.0-or-later
// What happens outside of us (virsh, the guest, a restart) -> what blanketd does. One pure table, walked by a test and printed in ARCHITECTURE.md;
// Reconciler applies it. libvirt never starts a VM by itself: the record decides.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "toolstack/daemon/app.hpp"

namespace blanket {

// What the record says about a domain seen here.
enum class Claim : std::uint8_t {
    kNone,       // no record
    kForeign,    // another site owns it
    kIncoming,   // another site owns it and moves it here
    kStopped,    // ours, stopped by intent
    kRunning,    // ours, running by intent
    kMigrating,  // ours, on its way out
    kDeleting,   // ours, being removed
};
// What the hypervisor shows.
enum class Seen : std::uint8_t {
    kAbsent,     // not even defined
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
    kDefine,        // its definition was taken away: put it back
    kTakeBack,      // a move whose job is gone: settle by the record, then it runs on here
    kRemoveCopy,    // a copy of a VM that is not ours (any more): remove it
    kFinishDelete,  // carry the deletion on
};

struct Rule {
    Claim claim;
    Seen seen;
    Action on_event, on_restart, on_record;
    std::string_view why;
};
const std::vector<Rule>& rules();
// Pure. A running job on the VM means: the job answers for it, nothing to do.
Action decide(Claim claim, Seen seen, Cause cause, bool busy);

std::string_view to_string(Claim claim);
std::string_view to_string(Seen seen);
std::string_view to_string(Cause cause);
std::string_view to_string(Action action);

Claim claim_of(const std::optional<VmRecord>& record, const std::string& here);
Seen seen_of(const std::optional<DomainInfo>& domain);

class Reconciler final {
public:
    explicit Reconciler(App& app);
    ~Reconciler();
    // Looks at one VM soon (by UUID), or at all of them (empty). Thread safe, returns at once.
    void look(const std::string& uuid, Cause cause);

private:
    using Clock = std::chrono::steady_clock;
    struct Item {
        std::string uuid;
        Cause cause = Cause::kEvent;
        Clock::time_point due;
    };
    void loop(const std::stop_token& stop);
    void look_now(const std::string& uuid, Cause cause);
    Result<void> apply(Action action, const std::string& uuid, const std::optional<Versioned<VmRecord>>& record, const std::optional<DomainInfo>& domain);
    Result<VmRecord> record_of(const DomainInfo& domain, const std::string& xml);
    Result<void> adopt(const DomainInfo& domain);
    Result<void> take_back(const VmRecord& record, const std::optional<DomainInfo>& domain);
    Result<void> remove_copy(const VmRecord& record, const std::optional<DomainInfo>& domain);

    App& app_;
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::vector<Item> queue_;
    std::vector<std::string> refused_;  // out-of-band VMs that were refused once: said once
    std::jthread thread_;
};

}  // namespace blanket
