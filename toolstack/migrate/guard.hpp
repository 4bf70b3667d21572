// SPDX-License-Identifier: GPL-2.0-or-later
// The policy `pause`: a VM whose site cannot confirm with the registry that it still owns it stands still within a margin, memory and disk kept, and goes on
// as soon as the record says so again. Two halves on two threads, because one of them waits for the registry and the other must not.
//
//   confirm()  every `confirm`:  a beat is written, then the record, read through the quorum, names this site -> the time before the beat is the VM's
//                                newest confirmation
//   enforce()  every second:     older than `margin` -> the domain is paused, then its disk suspended
//
// failover.hpp relies on it: who has not beaten for long has no VM of this policy that still runs. Therefore
// - expect() is called before a record is written that lets such a VM run here (watched_registry.hpp), so that there is no moment in which it is not watched;
// - whatever lets a domain run goes through let_run() (guarded_domains.hpp): a call that hung while the registry was silent cannot wake up a copy later;
// - what is watched, and since when, is saved: a restart of blanketd neither forgets it nor gives it more time;
// - while something is watched Xen's watchdog stands behind enforce(): is it not called, or cannot pause what it must, the host restarts.
//
// Time is CLOCK_BOOTTIME. A host that its provider froze finds after the thaw that the confirmation is old, unless its clock stood still too; then the next
// confirm() decides. What a copy did meanwhile under an old epoch is in its own disk only, and recovery keeps it apart (Claim::kFork, kForeign).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/core/ports.hpp"

namespace blanket {

struct GuardTimes {
    std::chrono::milliseconds confirm = std::chrono::seconds(5);
    std::chrono::milliseconds margin = std::chrono::seconds(15);  // more than two questions and a slow answer
    std::chrono::seconds watchdog{30};                            // a restart of blanketd on a busy host fits in
};

class Guard final {
public:
    struct Hooks {
        std::function<void(const std::string& vm, const std::string& text)> tell;
        // What is watched, kept beside the domains (it must survive blanketd, not the host): a restart without a registry must know it too.
        std::function<void(const std::string& text)> save;
    };
    // `saved`: what an earlier life saved, empty = nothing.
    Guard(SitePorts ports, std::string site, GuardTimes times, Hooks hooks, const std::string& saved = {});

    // This record is about to be written: should it let its VM run here under the policy, that is watched from now on. Returns the time, for wrote(). Any thread.
    std::int64_t expect(const VmRecord& vm);
    // It was written, having been sent after `asked_ms`: a confirmation like any other, or the end. Any thread.
    void wrote(const VmRecord& vm, std::int64_t asked_ms);
    // Does `go`, which lets the VM's domain run. Watched and not confirmed within the margin, or another site's: kUnavailable, and nothing is done. Should `go`
    // hang until the margin is over, the watchdog ends the host: a standby that takes the VM over then need not fear it. Any thread.
    Result<void> let_run(const std::string& uuid, const std::function<Result<void>()>& go);
    // `known`: the newest snapshot's VMs; those here with the policy are watched too. May wait for the registry. One thread.
    void confirm(const std::vector<VmRecord>& known);
    // Never asks the registry. One thread, which may be another.
    void enforce();
    // blanketd ends by intent: nobody is to take over what is watched, and the watchdog is disarmed. Without a registry everything is paused first.
    // The threads of the halves have ended before.
    void leave();
    [[nodiscard]] bool idle() const;  // nothing to watch
    [[nodiscard]] GuardTimes times() const { return times_; }

private:
    struct Watch {
        std::string name;
        std::vector<std::string> volumes;
        std::int64_t confirmed_ms = 0;  // CLOCK_BOOTTIME
        std::int64_t written_ms = -1;   // when it was written here: an answer to an earlier question may be older, and says nothing
        bool held = false;              // by us
        bool busy = false;              // one of the halves, or let_run(), works on it now
        bool stale = false;             // another site's, at the last look: watched until its domain here is gone
        bool ended = false;             // a record was written here that lets it run no more: what release() opens meanwhile, it closes again
    };
    void load(const std::string& saved);
    void judge(const std::string& uuid, const std::optional<Versioned<VmRecord>>& found, std::int64_t asked_ms);
    Result<bool> hold(const std::string& uuid, const Watch& watch);  // whether there is such a domain; it stands still then
    Result<bool> is_up(const std::string& uuid);
    Result<void> release(const std::string& uuid, const Watch& watch, std::uint64_t epoch);
    Result<void> may_run_now(const Watch& watch) const;
    Result<bool> begin_run(const std::string& uuid);  // false: not watched
    bool hold_older_than(std::int64_t margin_ms);  // true: none of these runs any more
    void set_held(const std::string& uuid, bool held);
    void end_work(const std::string& uuid);
    enum class Watchdog : std::uint8_t { kArm, kFeed, kDisarmIdle, kDisarm };  // kArm: unless it is; kDisarmIdle: unless something is watched
    void set_watchdog(Watchdog what);
    void save_now() const;  // with mutex_ held

    SitePorts ports_;
    const std::string site_;
    const GuardTimes times_;
    const Hooks hooks_;
    std::mutex arming_;         // one watchdog, not two: held over that one call, which waits for nothing
    mutable std::mutex mutex_;  // what follows; never held over a port's call
    std::map<std::string, Watch> watched_;  // by UUID
    std::uint32_t watchdog_ = 0;            // Xen's id of it, 0 = not armed
    bool watchdog_failed_ = false;          // said once
};

}  // namespace blanket
