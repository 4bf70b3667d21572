// SPDX-License-Identifier: GPL-2.0-or-later
// See guard.hpp.
#include "toolstack/migrate/guard.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"

namespace blanket {
namespace {

constexpr std::string_view kLog = "guard";

bool guarded(const VmRecord& vm, const std::string& site) { return vm.policy == kPause && vm.owner == site && vm.phase == Phase::kRunning; }

}  // namespace

Guard::Guard(SitePorts ports, std::string site, GuardTimes times, Hooks hooks, const std::string& saved)
    : ports_(ports), site_(std::move(site)), times_(times), hooks_(std::move(hooks)) {
    const auto list = saved.empty() ? Result<Json>(Json::array()) : parse_json(saved);
    if (!list || !list->is_array()) return;
    for (const auto& item : *list) {
        const std::string uuid = json_string_or(item, "uuid", "");
        const auto volumes = item.find("volumes");
        if (uuid.empty() || volumes == item.end() || !volumes->is_array()) continue;
        Watch watch{json_string_or(item, "name", uuid), {}, ports_.clock.boottime_ms(), json_bool_or(item, "held", false), false};
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
    for (const auto& [uuid, watch] : watched_) list.push_back({{"uuid", uuid}, {"name", watch.name}, {"volumes", watch.volumes}, {"held", watch.held}});
    hooks_.save(list.dump());
}

void Guard::watch(const std::vector<VmRecord>& known) {
    const std::lock_guard lock(mutex_);
    const std::size_t before = watched_.size();
    for (const auto& vm : known) {
        if (!guarded(vm, site_) || watched_.contains(vm.uuid)) continue;
        Watch watch{vm.name, {}, ports_.clock.boottime_ms(), false, false};
        for (const auto& volume : vm.volumes) watch.volumes.push_back(volume.id);
        watched_.emplace(vm.uuid, std::move(watch));
    }
    if (watched_.size() != before) save_now();
}

void Guard::confirm(const std::vector<VmRecord>& known) {
    watch(known);
    std::vector<std::string> uuids;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [uuid, watch] : watched_) uuids.push_back(uuid);
    }
    for (const auto& uuid : uuids) {
        const std::int64_t asked_ms = ports_.clock.boottime_ms();  // not when the answer comes: it may have been on its way for long
        if (const auto found = ports_.registry.vm(uuid)) judge(uuid, *found, asked_ms);
    }
}

void Guard::judge(const std::string& uuid, const std::optional<Versioned<VmRecord>>& found, std::int64_t asked_ms) {
    const VmRecord* const record = found ? &found->value : nullptr;
    const bool ours = record != nullptr && record->owner == site_;
    const bool guarded_still = ours && record->policy == kPause && record->phase != Phase::kStopped && record->phase != Phase::kDeleting;
    const bool may_run = ours && record->phase == Phase::kRunning;  // the other phases are recovery's affair
    Watch now;
    {
        const std::lock_guard lock(mutex_);
        const auto at = watched_.find(uuid);
        if (at == watched_.end() || at->second.busy) return;
        if (guarded_still) at->second.confirmed_ms = asked_ms;
        if (!at->second.held || !may_run) {
            if (guarded_still) return;
            watched_.erase(at);  // a copy that is held and no longer ours stays so
            save_now();
            return;
        }
        at->second.busy = true;
        now = at->second;
    }
    const auto released = release(uuid, now, record->epoch);
    if (!released) log::error(kLog, "VM {} cannot go on yet: {}", now.name, released.error().what);
    set_held(uuid, !released);
    end_work(uuid);
}

void Guard::enforce() {
    std::vector<std::pair<std::string, Watch>> due;
    {
        const std::lock_guard lock(mutex_);
        for (auto& [uuid, watch] : watched_)
            if (!watch.held && !watch.busy && ports_.clock.boottime_ms() - watch.confirmed_ms > times_.margin.count()) {
                watch.busy = true;
                due.emplace_back(uuid, watch);
            }
    }
    for (const auto& [uuid, watch] : due) {
        const auto held = hold(uuid, watch);
        if (!held) log::error(kLog, "VM {} cannot be suspended yet: {}", watch.name, held.error().what);
        end_work(uuid);
    }
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

Result<void> Guard::hold(const std::string& uuid, const Watch& watch) {
    BLANKET_TRY(const auto domains, ports_.hypervisor.list());
    const auto domain = std::ranges::find(domains, uuid, &DomainInfo::uuid);
    if (domain == domains.end() || domain->state != DomainState::kRunning) return {};  // nothing runs that could write
    set_held(uuid, true);  // before it is: a restart in between then knows that it was us, and a VM that runs is released at no cost
    if (auto paused = ports_.hypervisor.pause(uuid); !paused) {
        set_held(uuid, false);
        return paused;
    }
    for (const auto& id : watch.volumes) BLANKET_CHECK(ports_.blocks.close_volume(id));
    hooks_.tell(watch.name, std::format("suspended: the registry has not confirmed for {} s that it belongs here (policy '{}')", times_.margin.count() / 1000, kPause));
    return {};
}

Result<void> Guard::release(const std::string& uuid, const Watch& watch, std::uint64_t epoch) {
    for (const auto& id : watch.volumes) BLANKET_CHECK(ports_.blocks.open_volume(id, epoch));
    BLANKET_CHECK(ports_.hypervisor.unpause(uuid));
    hooks_.tell(watch.name, std::format("goes on: the registry says that it belongs here (epoch {})", epoch));
    return {};
}

}  // namespace blanket
