// SPDX-License-Identifier: GPL-2.0-or-later
// Applies the table; see recovery.hpp.
#include "toolstack/migrate/recovery.hpp"

#include <algorithm>
#include <set>

#include "toolstack/base/log.hpp"
#include "toolstack/migrate/lifecycle.hpp"
#include "toolstack/migrate/outcome.hpp"

namespace blanket {
namespace {

constexpr std::string_view kLog = "recovery";
constexpr auto kOff = std::chrono::seconds(60);

bool is_here(const Gone& gone, const std::vector<VolumeFacts>& volumes) {
    return std::ranges::any_of(volumes, [&](const VolumeFacts& facts) { return std::ranges::find(gone.volumes, facts.id) != gone.volumes.end(); });
}

// What there is to take away of a VM that was deleted.
VmRecord record_of(const Gone& gone) {
    VmRecord vm;
    vm.uuid = gone.uuid;
    vm.name = gone.name;
    for (const auto& id : gone.volumes) vm.volumes.push_back({id, "", 0, ""});
    return vm;
}

}  // namespace

Result<bool> settle_here(SitePorts ports, const VmRecord& record, const std::optional<DomainInfo>& domain) {
    for (const auto& volume : record.volumes) {
        BLANKET_TRY(const auto move, ports.moves.source(volume));  // its end undoes more: what a target never did is nothing to undo
        BLANKET_CHECK(move->finish(true, record.epoch));
    }
    BLANKET_CHECK(ports.overlay.undo_redirect(record));
    if (!domain || domain->id < 0) {  // from the disk, which has every write that was acknowledged
        if (!domain) BLANKET_CHECK(ports.hypervisor.define(record.definition));
        return false;
    }
    if (domain->state == DomainState::kPaused) BLANKET_CHECK(ports.ends.resume_target(record.uuid));
    if (domain->state == DomainState::kSuspended) BLANKET_CHECK(ports.ends.resume_source(record.uuid));
    BLANKET_CHECK(migrate::mark_settled(ports.registry, record));
    return true;
}

Result<std::vector<std::string>> Recovery::all() {
    std::set<std::string> uuids;
    BLANKET_TRY(const Snapshot snapshot, ports_.registry.snapshot());
    for (const auto& vm : snapshot.vms) uuids.insert(vm.value.uuid);
    BLANKET_TRY(const auto domains, ports_.hypervisor.list());
    for (const auto& domain : domains) uuids.insert(domain.uuid);
    if (!snapshot.gone.empty()) {  // these may be many: only those of which something is here
        BLANKET_TRY(const auto volumes, ports_.blocks.volumes());
        for (const auto& gone : snapshot.gone)
            if (is_here(gone, volumes)) uuids.insert(gone.uuid);
    }
    return std::vector<std::string>(uuids.begin(), uuids.end());
}

// The domain and the disk are read before the record: what is there by a commit is then never judged by the record from before it.
Result<Recovery::Situation> Recovery::situation(const std::string& uuid) {
    Situation now;
    BLANKET_TRY(const auto domains, ports_.hypervisor.list());
    if (const auto at = std::ranges::find(domains, uuid, &DomainInfo::uuid); at != domains.end()) now.domain = *at;
    BLANKET_TRY(const auto volumes, ports_.blocks.volumes());
    BLANKET_TRY(now.record, ports_.registry.vm(uuid));
    const auto value = now.record ? std::optional(now.record->value) : std::nullopt;
    bool disk = value && value->volumes.empty();  // it has none that could be missing
    for (const auto& facts : volumes) {
        if (!value || std::ranges::find(value->volumes, facts.id, &Volume::id) == value->volumes.end()) continue;
        disk = true;
        now.disk_epoch = std::max(now.disk_epoch, facts.record_epoch());
        now.never_opened = now.never_opened || facts.epoch < value->epoch;
    }
    now.claim = claim_of(value, site_);
    now.seen = seen_of(now.domain, disk);
    if (now.record) return now;
    BLANKET_TRY(const auto gone, ports_.registry.gone(uuid));
    if (!gone || !is_here(*gone, volumes)) return now;  // nothing, or a new domain under an old UUID
    now.gone = *gone;
    now.claim = Claim::kGone;
    now.seen = seen_of(now.domain, true);
    return now;
}

Action Recovery::Situation::action(Cause cause) const {
    if (record_went_back()) return Action::kNone;
    const Action action = decide(claim, seen, cause);
    if (action != Action::kStartIfNew && action != Action::kOpenIfNew) return action;
    if (!never_opened) return Action::kNone;
    return action == Action::kStartIfNew ? Action::kStart : action;
}

Result<Action> Recovery::look(const std::string& uuid, Cause cause) {
    BLANKET_TRY(const Situation first, situation(uuid));
    if (first.record_went_back() || first.disk_missing()) {
        tell_once(first, first.name(uuid));
        return Action::kNone;
    }
    told_.erase(uuid);
    if (first.action(cause) == Action::kNone) return Action::kNone;
    const std::string name = first.name(uuid);
    auto claimed = host_.claim(name);
    if (!claimed) return Action::kLater;
    BLANKET_TRY(const Situation now, situation(uuid));  // once more: what was read before the claim may be the past
    const Action action = now.action(cause);
    if (action == Action::kNone) return action;
    log::info(kLog, "VM {}: record {}, domain {}, after {}: {}", name, to_string(now.claim), to_string(now.seen), to_string(cause), to_string(action));
    const auto record = now.gone ? std::optional(Versioned<VmRecord>{record_of(*now.gone), 0}) : now.record;
    auto done = apply(action, uuid, record, now.domain);
    claimed.reset();
    const bool gone = !now.domain || now.domain->id < 0;
    if (done && action == Action::kTakeBack && gone) host_.look_again(uuid, Cause::kRestart);  // kSettling now, or another site's
    if (done && (action == Action::kStart || (action == Action::kSettle && gone))) done = host_.start(now.record->value);
    if (done && action == Action::kFinishDelete) done = host_.finish_delete(now.record->value);
    if (!done) {
        host_.tell(name, std::format("{}: {}", to_string(action), done.error().what));
        return std::unexpected(std::move(done).error().context(std::format("VM {}: {}", name, to_string(action))));
    }
    return action;
}

Result<void> Recovery::mark(const std::string& uuid, Phase phase) {
    BLANKET_TRY(const HostFacts facts, ports_.hypervisor.facts());
    BLANKET_TRY(const auto before, owned_vm(ports_.registry, site_, uuid));
    if (phase == Phase::kStopped)  // first, as in stop_here()
        for (const auto& volume : before.value.volumes) BLANKET_CHECK(ports_.blocks.close_volume(volume.id));
    BLANKET_TRY(const auto changed, change_vm(ports_.registry, site_, uuid, [&](VmRecord& edit) -> Result<void> {
        if (phase == Phase::kRunning) {
            edit.cpu_features = facts.cpu_features;
            if (edit.phase == Phase::kStopped) ++edit.epoch;  // newer than the disk, until that is open
        }
        edit.phase = phase;
        return {};
    }));
    if (phase == Phase::kRunning) BLANKET_CHECK(open(changed.value));
    host_.tell(changed.value.name, phase == Phase::kRunning ? "was started from outside" : "ended");
    return {};
}

Result<void> Recovery::open(const VmRecord& record) {
    for (const auto& volume : record.volumes) BLANKET_CHECK(ports_.blocks.open_volume(volume.id, record.epoch));
    return {};
}

Result<void> Recovery::apply(Action action, const std::string& uuid, const std::optional<Versioned<VmRecord>>& record, const std::optional<DomainInfo>& domain) {
    switch (action) {
        case Action::kNone:
        case Action::kStartIfNew:
        case Action::kLater: return {};
        case Action::kOpenIfNew: return open(record->value);
        case Action::kAdopt: return host_.adopt(*domain);
        case Action::kMarkRunning: return mark(uuid, Phase::kRunning);
        case Action::kMarkStopped: return mark(uuid, Phase::kStopped);
        case Action::kDefine: return ports_.hypervisor.define(record->value.definition);
        case Action::kStart:
            if (!domain) BLANKET_CHECK(ports_.hypervisor.define(record->value.definition));
            if (domain && domain->id >= 0) BLANKET_CHECK(ports_.hypervisor.stop(uuid, StopMode::kDestroy, kOff));  // crashed and kept
            host_.tell(record->value.name, "is started again");
            return {};  // the job itself begins when the claim on the VM has ended
        case Action::kSettle: return settle(record->value, domain);
        case Action::kTakeBack: return take_back(record->value, domain);
        case Action::kRemoveCopy: return remove_copy(record->value, domain);
        case Action::kKeepFork:
            BLANKET_CHECK(keep_disk(record->value, domain));
            host_.tell(record->value.name, std::format("'{}' took it over (epoch {}) while this site was away: the copy here was stopped; its disk is kept until `blanket vm drop-fork {}`",
                                                       record->value.owner, record->value.epoch, record->value.name));
            return {};
        case Action::kKeepStandby:
            BLANKET_CHECK(keep_disk(record->value, domain));
            if (domain) host_.tell(record->value.name, std::format("a left-over copy was stopped; '{}' owns it (epoch {}), its disk here stands by", record->value.owner, record->value.epoch));
            return {};
        case Action::kFinishDelete: return {};
    }
    return {};
}

Result<void> Recovery::settle(const VmRecord& record, const std::optional<DomainInfo>& domain) {
    BLANKET_TRY(const bool runs, settle_here(ports_, record, domain));  // look() starts it if not
    host_.tell(record.name, runs ? std::format("an interrupted move was put in order; it runs here (epoch {})", record.epoch) : "is started again");
    return {};
}

Result<void> Recovery::take_back(const VmRecord& record, const std::optional<DomainInfo>& domain) {
    BLANKET_TRY(const auto outcome, migrate::settle_source(ports_.registry, ports_.clock, record, site_, [] { return true; }));
    if (outcome == migrate::Outcome::kAborted) return settle(record, domain);
    BLANKET_TRY(const auto disks, migrate::disks_after_commit(ports_.registry, record, site_));
    if (disks == migrate::SourceDisks::kRemove) return remove_copy(record, domain);
    // The memory that is here is of before the commit, whosever the VM is now; what becomes of the disk, the table says of the record as it is now.
    if (domain) BLANKET_CHECK(ports_.ends.destroy_source(record.uuid));
    host_.look_again(record.uuid, Cause::kRestart);
    return {};
}

Result<void> Recovery::remove_copy(const VmRecord& record, const std::optional<DomainInfo>& domain) {
    if (domain) BLANKET_CHECK(ports_.ends.destroy_source(record.uuid));
    for (const auto& volume : record.volumes) BLANKET_CHECK(ports_.blocks.remove_volume(volume.id));
    host_.tell(record.name, record.owner.empty() ? "a left-over copy was removed: the VM was deleted"
                                                 : std::format("a left-over copy was removed; '{}' owns it (epoch {})", record.owner, record.epoch));
    return {};
}

Result<void> Recovery::keep_disk(const VmRecord& record, const std::optional<DomainInfo>& domain) {
    // The domain first: a backend whose device is suspended could not let go of it. What it still writes goes to its own disk only.
    if (domain) BLANKET_CHECK(ports_.ends.destroy_source(record.uuid));
    BLANKET_TRY(const auto here, ports_.blocks.volumes());
    for (const auto& volume : record.volumes) {
        if (std::ranges::find(here, volume.id, &VolumeFacts::id) == here.end()) continue;
        BLANKET_TRY(const auto move, ports_.moves.source(volume));
        BLANKET_CHECK(move->finish(false, record.epoch));  // the mirror of a move that broke off
        BLANKET_CHECK(ports_.blocks.close_volume(volume.id));
        BLANKET_CHECK(ports_.blocks.fence_volume(volume.id, record.epoch + 1));
    }
    return {};
}

void Recovery::tell_once(const Situation& now, const std::string& name) {
    if (!told_.insert(now.record->value.uuid).second) return;
    const std::string text = now.disk_missing() ? std::format("its record says that it runs here (epoch {}), but no disk of it is here: the registry was put back to an older state, or the disk is lost. "
                                                              "Nothing is touched; next: blanket vm recover {}, at the site that has its disk",
                                                              now.record->value.epoch, name)
                                                : std::format("its disk here is of epoch {}, its record says epoch {} at '{}': the registry was put back to an older state, or the record was "
                                                              "edited. Nothing is touched; next: blanket vm recover {}",
                                                              now.disk_epoch, now.record->value.epoch, now.record->value.owner, name);
    log::error(kLog, "VM {}: {}", name, text);
    host_.tell(name, text);
}

}  // namespace blanket
