// SPDX-License-Identifier: GPL-2.0-or-later
// See guard.hpp.
#include "toolstack/migrate/guard.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"

namespace blanket {
namespace {

constexpr std::string_view kGuardLog = "guard";
constexpr int kBusyLooks = 200;  // at what works on the same VM: a pause, or a release
constexpr auto kBusyLook = std::chrono::milliseconds(25);

// The phases in which it runs there, or may the next moment.
bool guarded(const VmRecord& vm, const std::string& site) {
    return vm.policy == kPause && vm.owner == site && vm.phase != Phase::kStopped && vm.phase != Phase::kDeleting;
}

}  // namespace

Guard::Guard(SitePorts ports, std::string site, GuardTimes times, Hooks hooks, const std::string& saved)
    : ports_(ports), site_(std::move(site)), times_(times), hooks_(std::move(hooks)) {
    if (!saved.empty()) load(saved);
}

void Guard::load(const std::string& saved) {
    const auto file = parse_json(saved);
    if (!file || !file->is_object()) return;
    watchdog_ = static_cast<std::uint32_t>(json_number_or(*file, "watchdog", 0));
    const auto list = file->find("vms");
    if (list == file->end() || !list->is_array()) return;
    const std::int64_t now = ports_.clock.boottime_ms();
    for (const auto& item : *list) {
        const std::string uuid = json_string_or(item, "uuid", "");
        const auto volumes = item.find("volumes");
        if (uuid.empty() || volumes == item.end() || !volumes->is_array()) continue;
        const auto confirmed = static_cast<std::int64_t>(json_number_or(item, "confirmed_ms", 0));
        Watch watch{.name = json_string_or(item, "name", uuid), .volumes = {}, .confirmed_ms = std::min(confirmed, now), .held = json_bool_or(item, "held", false)};
        for (const auto& id : *volumes)
            if (id.is_string()) watch.volumes.push_back(id.get<std::string>());
        watched_.emplace(uuid, std::move(watch));
    }
}

bool Guard::idle() const {
    const std::lock_guard lock(mutex_);
    return watched_.empty();
}

void Guard::save_now() const {
    Json list = Json::array();
    for (const auto& [uuid, watch] : watched_)
        list.push_back({{"uuid", uuid}, {"name", watch.name}, {"volumes", watch.volumes}, {"held", watch.held}, {"confirmed_ms", std::max<std::int64_t>(0, watch.confirmed_ms)}});
    hooks_.save(Json{{"watchdog", watchdog_}, {"vms", list}}.dump());
}

std::int64_t Guard::expect(const VmRecord& vm) {
    const std::int64_t now = ports_.clock.boottime_ms();
    if (!guarded(vm, site_)) return now;
    {
        const std::lock_guard lock(mutex_);
        const auto at = watched_.find(vm.uuid);
        if (at != watched_.end() && !at->second.stale) return now;
        Watch watch{.name = vm.name, .volumes = {}, .confirmed_ms = now, .held = at != watched_.end() && at->second.held};
        for (const auto& volume : vm.volumes) watch.volumes.push_back(volume.id);
        watched_.insert_or_assign(vm.uuid, std::move(watch));
        save_now();
    }
    set_watchdog(Watchdog::kArm);  // before something runs, not at the next look
    return now;
}

void Guard::wrote(const VmRecord& vm, std::int64_t asked_ms) {
    if (vm.owner != site_) return;
    const std::int64_t now = ports_.clock.boottime_ms();
    const std::lock_guard lock(mutex_);
    const auto at = watched_.find(vm.uuid);
    if (at == watched_.end()) return;
    at->second.written_ms = now;
    at->second.ended = vm.phase == Phase::kStopped || vm.phase == Phase::kDeleting;  // not by another policy: what is held then goes on
    if (at->second.ended) return;
    at->second.confirmed_ms = std::max(at->second.confirmed_ms, asked_ms);
    at->second.stale = false;
}

Result<void> Guard::may_run_now(const Watch& watch) const {
    const std::int64_t age_ms = ports_.clock.boottime_ms() - watch.confirmed_ms;
    if (!watch.stale && age_ms <= times_.margin.count()) return {};
    return fail_hint(Kind::kUnavailable, std::format("VM '{}' may not run here now: {} (policy '{}')", watch.name,
                                                     watch.stale ? "another site owns it" : std::format("the registry has not confirmed for {} s that it belongs here", age_ms / 1000), kPause),
                     "it is tried again as soon as the registry answers; blanket doctor says whether it does");
}

Result<bool> Guard::begin_run(const std::string& uuid) {
    for (int looks = 0; looks < kBusyLooks; ++looks) {
        {
            const std::lock_guard lock(mutex_);
            const auto at = watched_.find(uuid);
            if (at == watched_.end()) return false;
            BLANKET_CHECK(may_run_now(at->second));
            if (!at->second.busy) return at->second.busy = true;
        }
        ports_.clock.sleep(kBusyLook);
    }
    return fail(Kind::kUnavailable, "VM {} is being suspended or released", uuid);
}

Result<void> Guard::let_run(const std::string& uuid, const std::function<Result<void>()>& go) {
    BLANKET_TRY(const bool watched, begin_run(uuid));
    if (watched) set_watchdog(Watchdog::kArm);
    auto done = go();
    if (watched) end_work(uuid);
    return done;
}

void Guard::confirm(const std::vector<VmRecord>& known) {
    for (const auto& vm : known) expect(vm);
    std::vector<std::string> uuids;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [uuid, watch] : watched_) uuids.push_back(uuid);
    }
    if (uuids.empty()) return;
    const std::int64_t asked_ms = ports_.clock.boottime_ms();  // not when the answer comes: it may have been on its way for long
    if (!ports_.registry.beat(site_, false)) return;           // before the questions: who takes a VM over after this beat is seen by them
    for (const auto& uuid : uuids)
        if (const auto found = ports_.registry.vm(uuid)) judge(uuid, *found, asked_ms);
    const std::lock_guard lock(mutex_);
    save_now();
}

void Guard::judge(const std::string& uuid, const std::optional<Versioned<VmRecord>>& found, std::int64_t asked_ms) {
    const VmRecord* const record = found ? &found->value : nullptr;
    const bool ours = record != nullptr && record->owner == site_;
    const bool guarded_still = record != nullptr && guarded(*record, site_);
    const bool may_run = ours && record->phase == Phase::kRunning;  // the other phases are recovery's affair
    const bool stale = record != nullptr && !ours;
    bool off_but_held = false;  // virsh started it while nothing was confirmed: it goes on when its record follows
    Watch now;
    {
        const std::lock_guard lock(mutex_);
        const auto at = watched_.find(uuid);
        if (at == watched_.end() || asked_ms < at->second.written_ms) return;
        off_but_held = at->second.held && ours && record->phase == Phase::kStopped;
        at->second.stale = stale;
        if (ours) at->second.confirmed_ms = std::max(at->second.confirmed_ms, asked_ms);
        if (at->second.busy) return;
        if (!stale && !(at->second.held && may_run)) {
            if (guarded_still) return;
            if (!off_but_held) {
                watched_.erase(at);
                save_now();
                return;
            }
        }
        at->second.busy = true;
        now = at->second;
    }
    if (stale || off_but_held) {
        // Stale: this host was frozen while another one took it over; not a write more than can be helped, until recovery takes the copy away.
        const auto present = stale ? hold(uuid, now) : is_up(uuid);
        if (!present) log::error(kGuardLog, "VM {}, {}: {}", now.name, stale ? "a stale copy, cannot be suspended yet" : "suspended, cannot be looked at", present.error().what);
        end_work(uuid);
        if (!present || *present) return;
        const std::lock_guard lock(mutex_);
        watched_.erase(uuid);
        save_now();
        return;
    }
    const auto released = release(uuid, now, record->epoch);
    if (!released) log::error(kGuardLog, "VM {} cannot go on yet: {}", now.name, released.error().what);
    set_held(uuid, !released);
    end_work(uuid);
}

void Guard::enforce() {
    const bool well = hold_older_than(times_.margin.count());
    if (idle()) set_watchdog(Watchdog::kDisarmIdle);
    else if (well) set_watchdog(Watchdog::kFeed);
}

bool Guard::hold_older_than(std::int64_t margin_ms) {
    std::vector<std::pair<std::string, Watch>> due;
    bool well = true;
    {
        const std::lock_guard lock(mutex_);
        for (auto& [uuid, watch] : watched_) {  // those held already too: somebody may have resumed one by hand
            if (ports_.clock.boottime_ms() - watch.confirmed_ms <= margin_ms) continue;
            if (watch.busy) {
                well = false;
                continue;
            }
            watch.busy = true;
            due.emplace_back(uuid, watch);
        }
    }
    for (const auto& [uuid, watch] : due) {
        const auto held = hold(uuid, watch);
        if (!held) log::error(kGuardLog, "VM {} cannot be suspended yet: {}", watch.name, held.error().what);
        well = well && held.has_value();
        end_work(uuid);
    }
    return well;
}

void Guard::leave() {
    if (idle()) return;
    if (ports_.registry.beat(site_, true)) {
        const std::lock_guard lock(mutex_);
        watched_.clear();  // the next life begins anew, however late
        save_now();
    } else {
        if (!hold_older_than(-1)) return;  // the watchdog stays
        log::warning(kGuardLog, "blanketd ends without a registry: the VMs of the policy '{}' stand still", kPause);
    }
    set_watchdog(Watchdog::kDisarm);
}

void Guard::set_watchdog(Watchdog what) {
    const std::lock_guard one_at_a_time(arming_);
    const auto time = what == Watchdog::kArm || what == Watchdog::kFeed ? times_.watchdog : std::chrono::seconds(0);
    std::uint32_t id = 0;
    {
        const std::lock_guard lock(mutex_);
        id = watchdog_;
        if (what == Watchdog::kDisarmIdle && !watched_.empty()) return;
    }
    if (id != 0 ? what == Watchdog::kArm : time.count() == 0) return;
    auto set = ports_.hypervisor.watchdog(id, time);
    if (!set && id != 0 && time.count() != 0) set = ports_.hypervisor.watchdog(0, time);  // that one is gone: a new one
    const std::lock_guard lock(mutex_);
    if (!set && !watchdog_failed_) log::error(kGuardLog, "Xen's watchdog does not stand behind the policy '{}': {}", kPause, set.error().what);
    watchdog_failed_ = !set;
    if (!set && time.count() != 0) return;
    const std::uint32_t now = time.count() == 0 ? 0 : *set;
    if (now == watchdog_) return;
    watchdog_ = now;
    save_now();
}

void Guard::set_held(const std::string& uuid, bool held) {
    const std::lock_guard lock(mutex_);
    const auto at = watched_.find(uuid);
    if (at == watched_.end()) return;
    at->second.held = held;
    save_now();
}

void Guard::end_work(const std::string& uuid) {
    const std::lock_guard lock(mutex_);
    if (const auto at = watched_.find(uuid); at != watched_.end()) at->second.busy = false;
}

Result<bool> Guard::is_up(const std::string& uuid) {
    BLANKET_TRY(const auto domains, ports_.hypervisor.list());
    return std::ranges::any_of(domains, [&](const DomainInfo& domain) { return domain.uuid == uuid && domain.id >= 0; });
}

Result<bool> Guard::hold(const std::string& uuid, const Watch& watch) {
    BLANKET_TRY(const auto domains, ports_.hypervisor.list());
    const auto domain = std::ranges::find(domains, uuid, &DomainInfo::uuid);
    if (domain == domains.end()) return false;
    if (domain->state != DomainState::kRunning) return true;  // nothing runs that could write
    // Before it is, and also when the answer says that it is not: a restart in between then knows that it was us, and a VM that runs is released at no cost.
    set_held(uuid, true);
    BLANKET_CHECK(ports_.hypervisor.pause(uuid));
    for (const auto& id : watch.volumes) BLANKET_CHECK(ports_.blocks.close_volume(id));
    hooks_.tell(watch.name, std::format("suspended: the registry does not confirm, or no longer says, that it belongs here (policy '{}')", kPause));
    return true;
}

Result<void> Guard::release(const std::string& uuid, const Watch& watch, std::uint64_t epoch) {
    for (const auto& id : watch.volumes) BLANKET_CHECK(ports_.blocks.open_volume(id, epoch));
    bool ended = false;
    {
        const std::lock_guard lock(mutex_);
        if (const auto at = watched_.find(uuid); at != watched_.end()) ended = at->second.ended;
    }
    if (ended) {
        for (const auto& id : watch.volumes) BLANKET_CHECK(ports_.blocks.close_volume(id));
        return {};
    }
    BLANKET_CHECK(may_run_now(watch));  // it is busy by now, as in let_run()
    BLANKET_CHECK(ports_.hypervisor.unpause(uuid));
    hooks_.tell(watch.name, std::format("goes on: the registry says that it belongs here (epoch {})", epoch));
    return {};
}

}  // namespace blanket
