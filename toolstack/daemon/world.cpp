// SPDX-License-Identifier: GPL-2.0-or-later
// See world.hpp.
#include "toolstack/daemon/world.hpp"

#include <algorithm>
#include <map>

#include "toolstack/base/log.hpp"

namespace blanket {
namespace {

template <typename T>
std::vector<T> values(const std::vector<Versioned<T>>& list) {
    std::vector<T> out;
    out.reserve(list.size());
    for (const auto& item : list) out.push_back(item.value);
    return out;
}

template <typename T>
Result<Versioned<T>> by_name(const std::vector<Versioned<T>>& list, const std::string& name, const char* what, const char* command) {
    std::string known;
    for (const auto& item : list) {
        if (item.value.name == name) return item;
        if (known.size() < 200) known += (known.empty() ? "" : ", ") + item.value.name;
    }
    return fail_hint(Kind::kNotFound, std::format("there is no {} '{}'", what, name.substr(0, 70)),
                     known.empty() ? std::format("there is none yet: {}", command) : std::format("there are: {}", known));
}

}  // namespace

Result<void> World::refresh() {
    const std::lock_guard one(refreshing_);
    return read();
}

Result<void> World::follow(const std::function<bool(Snapshot&)>& change) {
    const std::lock_guard one(refreshing_);
    if (missed_) return read();
    Snapshot now = read_;
    if (!change(now)) return read();
    if (now.revision == read_.revision) return {};  // an action has read it meanwhile
    return take(std::move(now));
}

Result<void> World::read() {
    missed_ = true;
    BLANKET_TRY(Snapshot now, registry_.snapshot());
    missed_ = false;
    return take(std::move(now));
}

Result<void> World::take(Snapshot now) {
    read_ = now;
    amend_(now, true);
    Snapshot before;
    {
        const std::lock_guard lock(mutex_);
        before = snapshot_;
        snapshot_ = now;
    }
    if (now.revision < before.revision)  // not an overtaken answer: one read at a time, each of the newest state
        events_.add("registry", "etcd", std::format("its revision went from {} back to {}: it was restored from a snapshot without --bump-revision, so that revisions count twice and jobs under way may compare with the wrong one; restart blanketd at every site", before.revision, now.revision));
    for (const auto& record : now.malformed)
        if (std::ranges::find(before.malformed, record) == before.malformed.end())
            events_.add("registry", record.key, std::format("makes no sense: {}; {}", record.why, !record.replaced     ? "what it describes is left alone"
                                                                                                   : record.of_vm() ? "its last good version counts; to write that back: blanket vm recover NAME"
                                                                                                                    : "its last good version counts, until a good one is written to etcd"));
    tell_differences(before, now);
    if (auto applied = overlay_.apply(values(now.nets), values(now.vms), values(now.sites)); !applied)
        log::error("network", "{}", applied.error().what);
    if (listener_) listener_(now);
    return {};
}

Result<void> World::apply_again() {
    const std::lock_guard one(refreshing_);
    Snapshot now = snapshot();
    if (now.revision == 0) return {};  // nothing was read yet
    const Snapshot before = now;
    amend_(now, false);
    {
        const std::lock_guard lock(mutex_);
        snapshot_ = now;
    }
    tell_differences(before, now);
    return overlay_.apply(values(now.nets), values(now.vms), values(now.sites));
}

void World::tell_differences(const Snapshot& before, const Snapshot& now) {
    std::map<std::string_view, const VmRecord*> old;
    for (const auto& vm : before.vms) old.emplace(vm.value.uuid, &vm.value);
    for (const auto& [vm, revision] : now.vms) {
        const auto it = old.find(vm.uuid);
        if (it == old.end()) {
            events_.add("vm", vm.name, std::format("record: {} at '{}', epoch {}", to_string(vm.phase), vm.owner, vm.epoch));
            continue;
        }
        if (it->second->owner != vm.owner)
            events_.add("vm", vm.name, std::format("moved from '{}' to '{}', epoch {}", it->second->owner, vm.owner, vm.epoch));
        else if (it->second->phase != vm.phase)
            events_.add("vm", vm.name, std::format("{} at '{}'{}", to_string(vm.phase), vm.owner, vm.migration ? " to '" + vm.migration->target + "'" : ""));
        old.erase(it);
    }
    for (const auto& [uuid, vm] : old) events_.add("vm", vm->name, "record removed");
    for (const auto& site : now.sites) {
        bool known = false;
        for (const auto& item : before.sites) {
            if (item.value.name != site.value.name) continue;
            known = true;
            if (site.value.state == kRevoked && item.value.state != kRevoked) events_.add("site", site.value.name, "revoked: cut off from the federation, for good");
        }
        if (!known) events_.add("site", site.value.name, std::format("{} at {}", site.value.role, site.value.address));
    }
}

Snapshot World::snapshot() const {
    const std::lock_guard lock(mutex_);
    return snapshot_;
}

std::vector<VmRecord> World::guarded_at(const std::string& site) const {
    const std::lock_guard lock(mutex_);
    std::vector<VmRecord> out;
    for (const auto& [vm, revision] : snapshot_.vms)
        if (vm.owner == site && vm.policy == kPause) out.push_back(vm);
    return out;
}

std::vector<VmRecord> World::standing_by_at(const std::string& site) const {
    const std::lock_guard lock(mutex_);
    std::vector<VmRecord> out;
    for (const auto& [vm, revision] : snapshot_.vms)
        if (vm.standby && vm.standby->site == site) out.push_back(vm);
    return out;
}

Result<Versioned<VmRecord>> World::vm(const std::string& name) const {
    const Snapshot now = snapshot();
    for (const auto& vm : now.vms)
        if (vm.value.uuid == name) return vm;
    return by_name(now.vms, name, "VM", "blanket vm create");
}

Result<Site> World::site(const std::string& name) const {
    BLANKET_TRY(auto found, by_name(snapshot().sites, name, "site", "blanket site token"));
    return std::move(found.value);
}

Result<Net> World::net(const std::string& name) const {
    BLANKET_TRY(auto found, by_name(snapshot().nets, name, "network", "blanket net create"));
    return std::move(found.value);
}

Result<Versioned<Image>> World::image(const std::string& name) const { return by_name(snapshot().images, name, "image", "blanket image add"); }

}  // namespace blanket
