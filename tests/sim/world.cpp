// SPDX-License-Identifier: GPL-2.0-or-later
// See world.hpp.
#include "tests/sim/world.hpp"

#include <algorithm>
#include <format>

namespace blanket::sim {
namespace {

constexpr Time kGuestPeriod = 40 * kMs, kGuestAtRest = kSecond;
constexpr Time kMirrorPeriod = 30 * kMs, kMirrorAtRest = 500 * kMs, kMirrorLate = 3 * kSecond;
constexpr Time kMirrorPatience = 6 * kSecond;  // DRBD's ping timeouts
constexpr Time kWatchdog = 30 * kSecond;       // Xen's: what ends a guard whose own call hangs
constexpr Time kHangSlack = 6 * kSecond;

bool disk_holds(const Disk& disk, std::uint32_t acknowledged) {
    const std::uint32_t first = acknowledged > kBlocks ? acknowledged - kBlocks + 1 : 1;
    for (std::uint32_t n = first; n <= acknowledged; ++n)
        if (disk.block[n % kBlocks] != n && disk.block[n % kBlocks] != n + kBlocks) return false;
    return true;
}

}  // namespace

std::string_view to_string(FaultKind kind) {
    static constexpr std::array<std::string_view, kFaultKinds> kNames{"none", "kill -9", "power cut", "WAN cut", "witness cut", "SIGSTOP", "freeze", "step fails",
                                                                      "answer lost", "guest crash", "cancel", "disk full", "connection reset",
                                                                      "one-way cut", "flapping cut", "clock jump", "SIGTERM", "registry put back", "isolation",
                                                                      "step hangs", "write comes late", "write comes twice", "watch lags"};
    return kNames[static_cast<std::size_t>(kind)];
}

World::World(Scheduler& scheduler, std::vector<Fault> faults) : time(scheduler), faults_(std::move(faults)) {
    for (auto& rate : clock_rate_ppm) rate = static_cast<int>(time.between(-20'000, 20'000));
    time.at(kGuestPeriod, [this] { guest_tick(); });
    time.at(kMirrorPeriod, [this] { mirror_tick(); });
}

void World::violation(const std::string& text) {
    violations.push_back(std::format("{:.3f} s: {}", static_cast<double>(time.now()) / kSecond, text));
    note(kWitness, "VIOLATION " + text);
}

void World::note(int site, const std::string& text) {
    if (trace == nullptr) return;
    trace->push_back(std::format("{:9.3f} {:5} {:5} {}", static_cast<double>(time.now()) / kSecond, calls_, site == kWitness ? "" : site_name(site), text));
}

bool World::linked(int a, int b) const {
    const auto up = [&](int node) { return node == kWitness || hosts[static_cast<std::size_t>(node)].powered; };
    return up(a) && up(b) && cut_until_[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)] <= time.now();
}

bool World::quorum(int site) const { return hosts[static_cast<std::size_t>(site)].powered && (joined(site, 1 - site) || joined(site, kWitness)); }

bool World::hangs(int site) const { return hosts[static_cast<std::size_t>(site)].hangs_until + kHangSlack > time.now(); }

bool World::answers(int asker, int site) const { return joined(asker, site) && executes(site) && time.alive(site) && !time.paused(site); }

bool World::executes(int site) const {
    const Host& host = hosts[static_cast<std::size_t>(site)];
    return host.powered && host.frozen_until <= time.now();
}

void World::cut(int a, int b, Time length) {
    cut_one_way(a, b, length);
    cut_one_way(b, a, length);
}

void World::cut_one_way(int from, int to, Time length) {
    auto& until = cut_until_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
    until = std::max(until, time.now() + length);
    for (int site = 0; site < kSites; ++site) time.at(time.now() + length + kSecond, [this, site] { if (on_record_event) on_record_event(site); });
}

void World::changed_record() {
    for (int site = 0; site < kSites; ++site) {
        // The watch: told at once when connected, and after the connection is back.
        const auto tell = [this, site] { if (quorum(site) && on_record_event) on_record_event(site); };
        time.at(std::max(time.now() + 60 * kMs, watch_stands_until[static_cast<std::size_t>(site)]), tell);
    }
}

void World::changed_domain(int site) {
    time.at(time.now() + 10 * kMs, [this, site] { if (on_domain_event) on_domain_event(site); });
}

void World::kill(int site, Time back_after) {
    if (!time.alive(site)) return;
    time.kill(site);
    if (on_kill) on_kill(site);
    time.at(time.now() + back_after, [this, site] {
        if (!hosts[static_cast<std::size_t>(site)].powered || time.alive(site)) return;
        time.revive(site);
        note(site, "*** blanketd is back");
        if (on_boot) on_boot(site);
    });
}

void World::stop(int site, Time back_after) {
    constexpr Time kPoll = 100 * kMs, kPatience = 90 * kSecond;  // systemd's
    auto& flag = stopping[static_cast<std::size_t>(site)];
    if (flag || !time.alive(site)) return;
    flag = true;
    const Time deadline = time.now() + kPatience;
    const unsigned life = lives[static_cast<std::size_t>(site)];
    const auto poll = [this, site, back_after, deadline, life](const auto& self) -> void {
        auto& still = stopping[static_cast<std::size_t>(site)];
        if (lives[static_cast<std::size_t>(site)] != life || !time.alive(site)) {  // it died otherwise meanwhile
            still = false;
            return;
        }
        if (!is_idle(site) && time.now() < deadline) {
            time.at(time.now() + kPoll, [self] { self(self); });
            return;
        }
        still = false;
        kill(site, back_after);
    };
    time.at(time.now() + kPoll, [poll] { poll(poll); });
}

void World::remove_record(int site) {
    gone = gone_of(record->value, "now");
    record.reset();
    ++revision;
    note(site, "=== record: removed");
    changed_record();
}

void World::power_off_guest(int site) {
    if (!executes(site)) return;
    for (auto& [uuid, domain] : hosts[static_cast<std::size_t>(site)].domains)
        if (domain.state == DomainState::kRunning) {
            domain = {};
            changed_domain(site);
        }
}

void World::virsh_start(int site) {
    Host& host = hosts[static_cast<std::size_t>(site)];
    const auto at = host.domains.find(kUuid);
    if (!executes(site) || at == host.domains.end() || at->second.id >= 0 || !host.disks.contains(kVolume)) return;
    at->second = {.state = DomainState::kRunning, .id = static_cast<int>(calls_ % 30000) + 1, .next = 0};
    guest_boots(site, at->second);
    changed_domain(site);
}

// The one loss that is allowed: what was written since the VM left the site that takes it over.
void World::taken_over(const VmRecord& vm) {
    ++take_overs;
    const auto disk = hosts[vm.owner == site_name(0) ? 0 : 1].disks.find(kVolume);
    if (disk == hosts[vm.owner == site_name(0) ? 0 : 1].disks.end()) return violation(std::format("taken over by {} without a disk", vm.owner));
    acknowledged = *std::ranges::max_element(disk->second.block);
    if (!disk_holds(disk->second, acknowledged)) violation(std::format("I3: the disk that {} stands by with is not one state", vm.owner));
}

bool World::just_thawed(int site) const {
    const Host& host = hosts[static_cast<std::size_t>(site)];
    const bool unguarded = hangs(site) || !time.alive(site) || time.paused(site) || host.agent_since >= host.frozen_until;  // then only Xen's watchdog, which stood still too, ends it
    const Time limit = 3 * kSecond + (unguarded ? kWatchdog : 0);
    return take_overs > 0 && record && record->value.owner != site_name(site) && host.frozen_until > 0 && time.now() - host.frozen_until < limit;
}

void World::write_record(int site, VmRecord vm) {
    if (record)
        if (const Transition* const row = find_transition(record->value, vm)) transitions.insert(row);
    old_records.push_back(vm);
    record = Versioned<VmRecord>{std::move(vm), ++revision};
    note(site, std::format("=== record: owner {}, epoch {}, {}", record->value.owner, record->value.epoch, to_string(record->value.phase)));
    changed_record();
}

// An operator restored etcd from a snapshot (with its revisions bumped, as etcd's manual demands).
void World::put_back() {
    // Not during a move, says our manual: a commit's answer may be under way, or blanketd die with the guest suspended, under a record that knows of no move.
    // Nor behind a take-over: the old owner could not tell, when it comes back, that the record is older than what happened. Nor behind a deletion: its disk is gone.
    if (phase != "rest" || take_overs > 0 || may_be_deleted || old_records.empty()) return;
    if (record->value.phase != Phase::kRunning && record->value.phase != Phase::kStopped) return;  // its end still settles a move
    if (record->value.phase == Phase::kStopped)  // nor where virsh has started it and the record does not know yet
        for (const Host& host : hosts)
            for (const auto& [uuid, domain] : host.domains)
                if (domain.id >= 0) return;
    const VmRecord old = old_records[time.below(old_records.size())];
    went_back = true;
    record = Versioned<VmRecord>{old, ++revision};
    note(kWitness, std::format("=== record put back: owner {}, epoch {}, {}", old.owner, old.epoch, to_string(old.phase)));
    changed_record();
}

void World::power_cut(int site, Time back_after) {
    Host& host = hosts[static_cast<std::size_t>(site)];
    if (!host.powered) return;
    host.powered = false;
    if (time.alive(site)) {
        time.kill(site);
        if (on_kill) on_kill(site);
    }
    for (auto& [uuid, domain] : host.domains) domain = {};
    host.guard.clear();
    host.watchdog_until = 0;
    for (auto& [id, disk] : host.disks) {
        disk.open = false;
        disk.mirror = Disk::Mirror::kNone;
        disk.pending.clear();
    }
    time.at(time.now() + back_after, [this, site] {
        hosts[static_cast<std::size_t>(site)].powered = true;
        time.revive(site);
        if (on_boot) on_boot(site);
    });
}

void World::strike(const Fault& fault) {
    struck.emplace(phase, fault.kind);
    note(fault.site, std::format("*** {} for {} s, in phase {}", to_string(fault.kind), static_cast<double>(fault.duration) / kSecond, phase));
    time.mix(static_cast<std::uint64_t>(fault.kind) * 31 + static_cast<std::uint64_t>(fault.site));
    Host& host = hosts[static_cast<std::size_t>(fault.site)];
    switch (fault.kind) {
        case FaultKind::kNone:
        case FaultKind::kStepFails:
        case FaultKind::kDiskFull:
        case FaultKind::kAnswerLost:
        case FaultKind::kStepHangs:
        case FaultKind::kResetWire:
        case FaultKind::kWriteLate:
        case FaultKind::kWriteTwice: break;  // enter(), done(), the store and the wire see to these
        case FaultKind::kWatchLags: watch_stands_until[static_cast<std::size_t>(fault.site)] = time.now() + fault.duration; break;
        case FaultKind::kKill:
            if (host.frozen_until <= time.now()) kill(fault.site, fault.duration);  // nothing dies in a frozen machine
            break;
        case FaultKind::kPowerCut: power_cut(fault.site, fault.duration); break;
        case FaultKind::kCutWan: cut(0, 1, fault.duration); break;
        case FaultKind::kIsolate:
            cut(fault.site, 1 - fault.site, fault.duration);
            cut(fault.site, kWitness, fault.duration);
            break;
        case FaultKind::kCutWitness: cut(fault.site, kWitness, fault.duration); break;
        case FaultKind::kPause: time.pause(fault.site, time.now() + fault.duration); break;
        case FaultKind::kFreeze:
            host.frozen_until = std::max(host.frozen_until, time.now() + fault.duration);
            if (host.watchdog_until != 0) host.watchdog_until += fault.duration;  // Xen stands still too
            time.pause(fault.site, host.frozen_until);
            cut(fault.site, 1 - fault.site, fault.duration);
            cut(fault.site, kWitness, fault.duration);
            break;
        case FaultKind::kGuestCrash:
            for (auto& [uuid, domain] : host.domains)
                if (domain.state == DomainState::kRunning) {
                    domain = {.state = DomainState::kCrashed, .id = -1, .next = 0};
                    changed_domain(fault.site);
                }
            break;
        case FaultKind::kCancel: cancel = true; break;
        case FaultKind::kCutOneWay: cut_one_way(fault.site, 1 - fault.site, fault.duration); break;
        case FaultKind::kFlap:
            for (Time at = 0; at < std::min(fault.duration, 60 * kSecond); at += 2 * kSecond) time.at(time.now() + at, [this] { cut(0, 1, kSecond); });
            break;
        case FaultKind::kClockJump: wall_offset[static_cast<std::size_t>(fault.site)] += time.chance(50) ? fault.duration : -fault.duration; break;
        case FaultKind::kStop: stop(fault.site, kSecond); break;
        case FaultKind::kRegistryBack: put_back(); break;
    }
}

void World::strike_from_now(const std::vector<Fault>& faults) {
    for (Fault fault : faults) {
        fault.call += calls_;
        faults_.push_back(fault);
    }
}

Result<void> World::enter(int site, const char* what, Time low, Time high) {
    if (time.leaving()) return fail(Kind::kUnavailable, "dead");
    for (const char* c = what; *c != 0; ++c) time.mix(static_cast<std::uint64_t>(*c));
    time.sleep(time.between(low, high));
    if (time.leaving()) return fail(Kind::kUnavailable, "dead");
    ++calls_;
    note(site, what);
    lose_answer_ = false;
    Result<void> verdict;
    for (std::size_t i = 0; i < faults_.size(); ++i) {  // an order may add some while this call hangs
        const Fault fault = faults_[i];
        if (fault.call != calls_ || time.now() > faults_until) continue;
        if (fault.after) {
            lose_answer_ = true;
            continue;
        }
        strike(fault);
        if (fault.kind == FaultKind::kStepHangs) {  // this one thread; the others go on
            Time& until = hosts[static_cast<std::size_t>(site)].hangs_until;
            until = std::max(until, time.now() + fault.duration);
            time.sleep(fault.duration);
        }
        if (fault.kind == FaultKind::kWriteLate) late_ = fault.duration;
        if (fault.kind == FaultKind::kWriteTwice) twice_ = fault.duration;
        if (fault.kind == FaultKind::kStepFails) verdict = fail(Kind::kIo, "{} failed at '{}' (injected)", what, site_name(site));
        if (fault.kind == FaultKind::kResetWire && (std::string_view(what) == "send" || std::string_view(what) == "receive"))
            verdict = fail(Kind::kIo, "the connection was reset (injected)");
        if (fault.kind == FaultKind::kDiskFull) verdict = fail(Kind::kIo, "{}: no space left on device (injected)", what);
    }
    time.sleep(0);  // a killed process ends here, before the effect
    return verdict;
}

Result<void> World::done(int) {
    if (!lose_answer_ || time.leaving()) return {};
    lose_answer_ = false;
    Result<void> verdict;
    for (std::size_t i = 0; i < faults_.size(); ++i) {  // an order may add some while this call hangs
        const Fault fault = faults_[i];
        if (fault.call != calls_ || !fault.after) continue;
        strike(fault);
        if (fault.kind == FaultKind::kAnswerLost) verdict = fail(Kind::kUnavailable, "the answer was lost (injected)");
    }
    time.sleep(0);
    return verdict;
}

void World::check_copies(const char* when) {
    int copies = 0;
    for (int site = 0; site < kSites; ++site)
        for (const auto& [uuid, domain] : hosts[static_cast<std::size_t>(site)].domains) copies += domain.state == DomainState::kRunning && executes(site) && !just_thawed(site);
    if (copies > 1) violation(std::format("I1: {} copies execute {}", copies, when));
}

void World::guest_boots(int site, Domain& domain) {
    const auto disk = hosts[static_cast<std::size_t>(site)].disks.find(kVolume);
    if (disk == hosts[static_cast<std::size_t>(site)].disks.end()) return violation(std::format("boots at {} without its disk", site_name(site)));
    if (!disk_holds(disk->second, acknowledged)) violation(std::format("I3: record {} was acknowledged; the disk at {} lacks it at a boot", acknowledged, site_name(site)));
    domain.next = *std::ranges::max_element(disk->second.block) + 1;
    check_copies("after a boot");
}

void World::guest_resumes(int site, Domain& domain) {
    const auto disk = hosts[static_cast<std::size_t>(site)].disks.find(kVolume);
    if (disk == hosts[static_cast<std::size_t>(site)].disks.end()) return violation(std::format("resumes at {} without its disk", site_name(site)));
    if (just_thawed(site)) return;  // asked before the freeze, done behind it: a fork from its first instruction
    if (domain.next != acknowledged + 1) violation(std::format("I3: resumes at {} with memory of record {}, {} was acknowledged", site_name(site), domain.next, acknowledged));
    if (!disk_holds(disk->second, acknowledged)) violation(std::format("I3: record {} was acknowledged; the disk at {} lacks it at a resume", acknowledged, site_name(site)));
    check_copies("after a resume");
}

// I6: with the policy `pause`, nothing is written where the registry is out of reach for longer than the margin, as long as blanketd is there to see it. Where
// a call hangs it may be the guard's own: then Xen's watchdog ends it.
void World::check_guard(int site) {
    constexpr Time kMargin = 15 * kSecond, kSlack = 6 * kSecond;  // a look each second, a pause that takes its time, clocks that go 2 % slower
    Host& host = hosts[static_cast<std::size_t>(site)];
    if (quorum(site)) host.without_quorum_since = -1;
    else if (host.without_quorum_since < 0) host.without_quorum_since = time.now();
    if (!time.alive(site) || time.paused(site)) host.agent_since = time.now();
    if (record && record->value.policy != kPause) return;
    const Time limit = kMargin + kSlack + (hangs(site) ? kWatchdog : 0);
    if (host.without_quorum_since < 0 || time.now() - std::max(host.without_quorum_since, host.agent_since) < limit) return;
    const auto domain = host.domains.find(kUuid);
    const auto disk = host.disks.find(kVolume);
    if (domain == host.domains.end() || disk == host.disks.end() || !executes(site)) return;
    if (domain->second.state == DomainState::kRunning && disk->second.open && record && record->value.phase != Phase::kMigrating)
        violation(std::format("I6: writes at {} without a registry since {:.1f} s", site_name(site), static_cast<double>(time.now() - host.without_quorum_since) / kSecond));
}

// Each running copy with an open disk writes its next record.
void World::guest_tick() {
    time.at(time.now() + (phase == "rest" ? kGuestAtRest : kGuestPeriod), [this] { guest_tick(); });
    for (int site = 0; site < kSites; ++site) {
        check_guard(site);
        Host& host = hosts[static_cast<std::size_t>(site)];
        if (host.watchdog_until != 0 && host.watchdog_until < time.now() && executes(site)) {
            note(site, "*** Xen's watchdog");
            power_cut(site, 20 * kSecond);
            continue;
        }
        for (auto& [uuid, domain] : host.domains) {
            if (domain.state != DomainState::kRunning || !executes(site)) continue;
            const auto at = host.disks.find(kVolume);
            if (at == host.disks.end()) {
                violation(std::format("runs at {} without its disk", site_name(site)));
                continue;
            }
            Disk& disk = at->second;
            if (!disk.open) continue;  // the write waits
            check_copies("at a write");
            if (just_thawed(site)) {  // a fork: nobody waits for these
                disk.block[domain.next % kBlocks] = domain.next;
                ++domain.next;
                continue;
            }
            if (!record) {
                violation("I2: a write without a record");
            } else if (!went_back && (record->value.phase == Phase::kStopped)) {
                violation(std::format("I2: a write at {}; the record says that it is stopped", site_name(site)));
            } else if (went_back && (disk.epoch > record->value.epoch || record->value.owner == site_name(site))) {
                // The store forgot the epoch under which it runs, or an operator has just given it a new one here. Nobody else may run: check_copies.
            } else if (record->value.owner != site_name(site) || record->value.epoch != disk.epoch) {
                violation(std::format("I2: a write at {} under epoch {}; the record says {} and epoch {}", site_name(site), disk.epoch, record->value.owner, record->value.epoch));
            }
            const unsigned index = domain.next % kBlocks;
            disk.block[index] = domain.next;
            disk.dirty.insert(index);
            if (disk.mirror == Disk::Mirror::kPrimary && !disk.broken) disk.pending.emplace_back(index, domain.next);
            acknowledged = std::max(acknowledged, domain.next);
            ++domain.next;
        }
    }
}

// Protocol A: what a primary wrote comes to the secondary in order, as long as both are there and joined.
void World::mirror_tick() {
    const Time period = phase == "rest" ? kMirrorAtRest : time.chance(5) ? time.between(kMirrorPeriod, kMirrorLate) : kMirrorPeriod;  // a full pipe now and then
    time.at(time.now() + period, [this] { mirror_tick(); });
    for (int site = 0; site < kSites; ++site) {
        auto& own = hosts[static_cast<std::size_t>(site)].disks;
        auto& other = hosts[static_cast<std::size_t>(1 - site)].disks;
        const auto source = own.find(kVolume), target = other.find(kVolume);
        if (source == own.end() || source->second.mirror != Disk::Mirror::kPrimary || source->second.broken) continue;
        const bool paired = target != other.end() && target->second.mirror == Disk::Mirror::kSecondary && target->second.mirror_id == source->second.mirror_id;
        auto& since = mirror_cut_since_[static_cast<std::size_t>(site)];
        if (!paired) {
            source->second.broken = true;
        } else if (!joined(0, 1) || !executes(0) || !executes(1)) {
            if (since == 0) since = time.now();
            if (time.now() - since > kMirrorPatience) source->second.broken = true;
            continue;
        } else {
            for (const auto& [index, value] : source->second.pending) target->second.block[index] = value;
        }
        since = 0;
        source->second.pending.clear();
    }
}

}  // namespace blanket::sim
