// SPDX-License-Identifier: GPL-2.0-or-later
// See failover.hpp.
#include "toolstack/migrate/failover.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/takeover.hpp"

namespace blanket {
namespace {

constexpr std::string_view kFailoverLog = "failover";

bool stands_by(const VmRecord& vm, const std::string& site) {
    const bool runs = vm.phase == Phase::kRunning || vm.phase == Phase::kSettling;
    return vm.policy == kPause && runs && vm.owner != site && vm.standby && vm.standby->site == site;
}

}  // namespace

void Failover::look(const std::vector<VmRecord>& known) {
    for (const auto& vm : known) {
        if (stands_by(vm, site_)) look_at(vm);
        else quiet_.erase(vm.uuid);
    }
}

void Failover::look_at(const VmRecord& vm) {
    const auto found = ports_.registry.vm(vm.uuid);
    if (!found || !*found || !stands_by((*found)->value, site_)) return;
    const auto beat = ports_.registry.last_beat((*found)->value.owner);
    if (!beat) return;
    const std::int64_t now = ports_.clock.boottime_ms();
    const Quiet seen{(*found)->revision, *beat ? (*beat)->revision : 0, now, false};
    auto [at, first] = quiet_.try_emplace(vm.uuid, seen);
    Quiet& quiet = at->second;
    if (!first && (quiet.record != seen.record || quiet.beat != seen.beat)) quiet = seen;
    if (*beat && (*beat)->leaving) return;
    if (now - quiet.since_ms < times_.silence.count()) return;
    const auto done = take_over(**found, quiet);
    if (done) {
        quiet_.erase(at);
        return;
    }
    if (!quiet.told) tell_(vm.name, std::format("'{}' has been silent for {} s, but '{}' cannot take it over: {}; next: blanket vm show {}, then blanket vm recover {} --accept-loss at a site that can", (*found)->value.owner,
                                               (now - quiet.since_ms) / 1000, site_, done.error().what, vm.name, vm.name));
    quiet.told = true;
}

Result<void> Failover::take_over(const Versioned<VmRecord>& vm, const Quiet& quiet) {
    const VmRecord& record = vm.value;
    BLANKET_TRY(const HostFacts host, ports_.hypervisor.facts());
    if (host.free_mib < record.memory_mib) return fail(Kind::kPrecondition, "{} MiB of memory are free here, it needs {}", host.free_mib, record.memory_mib);
    BLANKET_TRY(const auto disks, ports_.blocks.volumes());
    BLANKET_TRY(const auto plan, migrate::plan_take_over(record, site_, disks, true));
    if (plan.why != migrate::TakeOver::Why::kOwnerLost || plan.disk_epoch != record.standby->epoch)
        return fail(Kind::kPrecondition, "its disk here is of epoch {}, not of epoch {} as its record says", plan.disk_epoch, record.standby->epoch);
    const VmRecord won = migrate::taken_over(record, site_, plan, false, rfc3339_now());
    BLANKET_CHECK(ports_.registry.take_over_vm(won, vm.revision, record.owner, quiet.beat));
    const std::string text = std::format("'{}' was silent for {} s: taken over (epoch {}) from the disk that was here at {}; what it wrote since is lost", record.owner,
                                         (ports_.clock.boottime_ms() - quiet.since_ms) / 1000, won.epoch, record.standby->since);
    log::warning(kFailoverLog, "VM {}: {}", record.name, text);
    tell_(record.name, text);
    return {};
}

}  // namespace blanket
