// SPDX-License-Identifier: GPL-2.0-or-later
// The policy `pause`: a VM whose site cannot confirm with the registry that it still owns it stands still within a margin, memory and disk kept, and goes on
// as soon as the record says so again. Two halves on two threads, because one of them waits for the registry and the other must not.
//
//   confirm()  every `confirm`:  the record, read through the quorum, names this site -> the time of the question is the VM's newest confirmation
//   enforce()  every second:     older than `margin` -> the domain is paused, then its disk suspended
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
};

class Guard final {
public:
    struct Hooks {
        std::function<void(const std::string& vm, const std::string& text)> tell;
        // What is watched, kept beside the domains (it must survive blanketd, not the host): a restart without a registry must know it too.
        std::function<void(const std::string& text)> save;
    };
    // `saved`: what an earlier life saved, empty = nothing. Its VMs count as confirmed now, once.
    Guard(SitePorts ports, std::string site, GuardTimes times, Hooks hooks, const std::string& saved = {});

    // `known`: the newest snapshot's VMs; those here with the policy are watched from now on. May wait for the registry. One thread.
    void confirm(const std::vector<VmRecord>& known);
    // Never asks the registry. One thread, which may be another.
    void enforce();
    [[nodiscard]] bool idle() const;  // nothing to watch
    [[nodiscard]] GuardTimes times() const { return times_; }

private:
    struct Watch {
        std::string name;
        std::vector<std::string> volumes;
        std::int64_t confirmed_ms = 0;  // CLOCK_BOOTTIME
        bool held = false;              // by us
        bool busy = false;              // one of the halves works on it now
    };
    void watch(const std::vector<VmRecord>& known);
    void judge(const std::string& uuid, const std::optional<Versioned<VmRecord>>& found, std::int64_t asked_ms);
    Result<void> hold(const std::string& uuid, const Watch& watch);
    Result<void> release(const std::string& uuid, const Watch& watch, std::uint64_t epoch);
    void set_held(const std::string& uuid, bool held);
    void end_work(const std::string& uuid);
    void save_now() const;  // with mutex_ held

    SitePorts ports_;
    const std::string site_;
    const GuardTimes times_;
    const Hooks hooks_;
    mutable std::mutex mutex_;  // watched_; never held over a port's call
    std::map<std::string, Watch> watched_;  // by UUID
};

}  // namespace blanket
