// SPDX-License-Identifier: GPL-2.0-or-later
// A VM of the policy `pause` whose owner has fallen silent is taken over by its standby, without anybody's word.
//
// Why that is safe: the owner writes a beat every few seconds for as long as it lets such a VM run (guard.hpp), and lets it stand still when it cannot; should
// even that fail, Xen's watchdog restarts its host. This site looks at the record and the beat through the quorum. When both have been the same for longer
// than all of that takes, one compare-and-swap on both of them changes the owner. A beat, or any change of the record, that comes before makes it fail; one
// that comes later meets the new owner. Not while a move is on (kMigrating): its source's save may be about to wake the guest up, and its target to commit.
//
// What the owner wrote since the VM left this site is lost, and how old this site's state is stands in the record. The old owner's copy becomes a fork.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "toolstack/core/ports.hpp"

namespace blanket {

struct FailoverTimes {
    std::chrono::milliseconds look = std::chrono::seconds(5);
    // GuardTimes::margin + watchdog, a look each second at the owner, clocks that differ by 2 %; then twice five seconds.
    std::chrono::milliseconds silence = std::chrono::seconds(60);
};

class Failover final {
public:
    using Tell = std::function<void(const std::string& vm, const std::string& text)>;
    Failover(SitePorts ports, std::string site, FailoverTimes times, Tell tell) : ports_(ports), site_(std::move(site)), times_(times), tell_(std::move(tell)) {}

    // `known`: the newest snapshot's VMs. What is taken over is in phase kSettling then: recovery puts it in order and starts it. May wait for the registry.
    // Thread rule: one.
    void look(const std::vector<VmRecord>& known);
    [[nodiscard]] FailoverTimes times() const { return times_; }

private:
    struct Quiet {
        std::uint64_t record = 0, beat = 0;  // revisions
        std::int64_t since_ms = 0;           // CLOCK_BOOTTIME, when both were seen first
        bool told = false;
    };
    void look_at(const VmRecord& vm);
    Result<void> take_over(const Versioned<VmRecord>& vm, const Quiet& quiet);

    SitePorts ports_;
    const std::string site_;
    const FailoverTimes times_;
    const Tell tell_;
    std::map<std::string, Quiet> quiet_;  // by UUID
};

}  // namespace blanket
