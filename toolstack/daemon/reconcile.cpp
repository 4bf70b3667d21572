// SPDX-License-Identifier: GPL-2.0-or-later
// Applies the table; see reconcile.hpp. One VM at a time, on one thread.
#include "toolstack/daemon/reconcile.hpp"

#include <algorithm>
#include <set>

#include "toolstack/base/log.hpp"
#include "toolstack/daemon/records_edit.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/domain_xml.hpp"
#include "toolstack/hypervisor/import.hpp"
#include "toolstack/migrate/outcome.hpp"

namespace blanket {
namespace {

constexpr auto kSettle = std::chrono::milliseconds(1500);
constexpr auto kOff = std::chrono::seconds(60);

std::optional<DomainInfo> find(const std::vector<DomainInfo>& domains, const std::string& uuid) {
    for (const auto& domain : domains)
        if (domain.uuid == uuid) return domain;
    return std::nullopt;
}

}  // namespace

Reconciler::Reconciler(App& app) : app_(app), thread_([this](const std::stop_token& stop) { loop(stop); }) {}
Reconciler::~Reconciler() = default;

void Reconciler::look(const std::string& uuid, Cause cause) {
    // Not at once: one change comes as several events, and a look in the middle of a move would take processor time from a guest that stands still.
    const auto due = Clock::now() + (cause == Cause::kRestart ? Clock::duration::zero() : Clock::duration(kSettle));
    const std::lock_guard lock(mutex_);
    const auto same = [&](const Item& item) { return item.uuid == uuid && item.cause == cause; };
    if (std::ranges::none_of(queue_, same)) queue_.push_back({uuid, cause, due});
    wake_.notify_all();
}

void Reconciler::loop(const std::stop_token& stop) {
    for (;;) {
        Item item;
        {
            std::unique_lock lock(mutex_);
            if (!wake_.wait(lock, stop, [&] { return !queue_.empty(); })) return;
            const auto first = std::ranges::min_element(queue_, {}, &Item::due);
            if (const auto due = first->due; due > Clock::now()) {
                wake_.wait_until(lock, stop, due, [] { return false; });
                if (stop.stop_requested()) return;  // or the wait above would end at once, again and again
                continue;
            }
            item = *first;
            queue_.erase(first);
        }
        if (stop.stop_requested()) return;
        if (!item.uuid.empty()) {
            look_now(item.uuid, item.cause);
            continue;
        }
        std::set<std::string> all;
        for (const auto& vm : app_.world.snapshot().vms) all.insert(vm.value.uuid);
        if (const auto domains = app_.hypervisor.list())
            for (const auto& domain : *domains) all.insert(domain.uuid);
        for (const auto& uuid : all) {
            if (stop.stop_requested()) return;
            look_now(uuid, item.cause);
        }
    }
}

void Reconciler::look_now(const std::string& uuid, Cause cause) {
    const auto domains = app_.hypervisor.list();
    if (!domains) {
        log::warning("reconcile", "{}", domains.error().what);
        return;
    }
    const auto domain = find(*domains, uuid);
    auto record = app_.registry.vm(uuid);
    if (!record) {  // no quorum: nothing may be decided; the watch calls again when it is back
        log::warning("reconcile", "VM {}: {}", uuid, record.error().what);
        return;
    }
    const auto value = *record ? std::optional((*record)->value) : std::nullopt;
    const Claim claim = claim_of(value, app_.site);
    const Seen seen = seen_of(domain);
    const std::string name = value ? value->name : domain ? domain->name : uuid;
    const Action action = decide(claim, seen, cause, app_.jobs.busy("vm/" + name));
    if (action == Action::kNone) return;
    log::info("reconcile", "VM {}: record {}, domain {}, after {}: {}", name, to_string(claim), to_string(seen), to_string(cause), to_string(action));
    if (auto done = apply(action, uuid, *record, domain); !done) {
        log::error("reconcile", "VM {}: {}: {}", name, to_string(action), done.error().what);
        app_.events.add("vm", name, std::format("{}: {}", to_string(action), done.error().what));
    }
}

Result<void> Reconciler::apply(Action action, const std::string& uuid, const std::optional<Versioned<VmRecord>>& record, const std::optional<DomainInfo>& domain) {
    const auto mark = [&](Phase phase) -> Result<void> {
        BLANKET_TRY(const HostFacts facts, app_.hypervisor.facts());
        BLANKET_TRY(const auto changed, change_vm(app_, uuid, [&](VmRecord& edit) -> Result<void> {
            edit.phase = phase;
            if (phase == Phase::kRunning) edit.cpu_features = facts.cpu_features;
            return {};
        }));
        if (phase == Phase::kStopped)
            for (const auto& volume : changed.value.volumes) BLANKET_CHECK(app_.blocks.close_volume(volume.id));
        else
            for (const auto& volume : changed.value.volumes) BLANKET_CHECK(app_.blocks.open_volume(volume.id, changed.value.epoch));
        app_.events.add("vm", changed.value.name, phase == Phase::kRunning ? "was started from outside" : "ended");
        return {};
    };
    switch (action) {
        case Action::kNone: return {};
        case Action::kAdopt: return adopt(*domain);
        case Action::kMarkRunning: return mark(Phase::kRunning);
        case Action::kMarkStopped: return mark(Phase::kStopped);
        case Action::kDefine: return app_.hypervisor.define(record->value.definition);
        case Action::kStart: {
            if (!domain) BLANKET_CHECK(app_.hypervisor.define(record->value.definition));
            if (domain && domain->id >= 0) BLANKET_CHECK(app_.hypervisor.stop(uuid, StopMode::kDestroy, kOff));  // crashed and kept
            app_.events.add("vm", record->value.name, "is started again");
            return app_.jobs
                .start("start", "vm/" + record->value.name, [this, uuid](Job& job) { return start_now(app_, uuid, &job); })
                .transform([](const auto&) {});
        }
        case Action::kTakeBack: return take_back(record->value, domain);
        case Action::kRemoveCopy: return remove_copy(record->value, domain);
        case Action::kFinishDelete: return delete_vm(app_, record->value, false).transform([](const auto&) {});
    }
    return {};
}

// The record of a domain that somebody else made; an error says why it cannot be one of ours.
Result<VmRecord> Reconciler::record_of(const DomainInfo& domain, const std::string& xml) {
    BLANKET_TRY(const ImportedVm imported, parse_libvirt_xml(xml));
    BLANKET_CHECK(check_adoptable(imported));
    BLANKET_CHECK(check_name(imported.name, "VM"));
    if (app_.world.vm(imported.name)) return fail(Kind::kConflict, "a VM named '{}' exists already", imported.name);
    // Its disks are volumes of ours; one that a recorded VM uses is not free for another.
    VmRecord record;
    record.uuid = domain.uuid;
    record.name = imported.name;
    record.memory_mib = imported.memory_mib;
    record.vcpus = imported.vcpus;
    record.definition = xml;
    for (const auto& disk : imported.disks) {
        const Snapshot now = app_.world.snapshot();
        for (const auto& vm : now.vms)
            for (const auto& volume : vm.value.volumes)
                if (top_device(volume.id) == disk.path) return fail(Kind::kConflict, "its disk {} belongs to VM '{}'", disk.path, vm.value.name);
        return fail(Kind::kPrecondition, "its disk {} is a volume without a record of its base image", disk.path);
    }
    return record;
}

Result<void> Reconciler::adopt(const DomainInfo& domain) {
    BLANKET_TRY(const std::string xml, app_.hypervisor.definition(domain.uuid));
    auto record = record_of(domain, xml);
    if (!record) {
        if (std::ranges::contains(refused_, domain.uuid)) return {};
        refused_.push_back(domain.uuid);
        app_.events.add("vm", domain.name, std::format("not adopted: {}; it runs as libvirt says, but cannot move (blanket vm import makes a VM of it that can)", record.error().what));
        return {};
    }
    record->owner = app_.site;
    record->phase = domain.id >= 0 ? Phase::kRunning : Phase::kStopped;
    record->created = rfc3339_now();
    if (domain.id >= 0) {
        BLANKET_TRY(const HostFacts facts, app_.hypervisor.facts());
        record->cpu_features = facts.cpu_features;
    }
    BLANKET_CHECK(app_.registry.create_vm(*record));
    app_.events.add("vm", domain.name, "adopted from libvirt");
    return {};
}

Result<void> Reconciler::take_back(const VmRecord& record, const std::optional<DomainInfo>& domain) {
    BLANKET_TRY(const auto outcome, migrate::settle_source(app_.registry, record, app_.site, [] { return true; }));
    if (outcome == migrate::Outcome::kCommitted) return remove_copy(record, domain);
    for (const auto& volume : record.volumes) {
        BLANKET_TRY(const auto move, app_.moves.source(volume));
        BLANKET_CHECK(move->finish(true, record.epoch));
    }
    BLANKET_CHECK(app_.overlay.undo_redirect(record));
    if (domain && seen_of(domain) == Seen::kHeld) BLANKET_CHECK(app_.ends.resume_source(record.uuid));
    app_.events.add("vm", record.name, "an interrupted move was taken back; it stays here");
    if (!domain || domain->id < 0) look(record.uuid, Cause::kRestart);
    return {};
}

Result<void> Reconciler::remove_copy(const VmRecord& record, const std::optional<DomainInfo>& domain) {
    if (domain) BLANKET_CHECK(app_.ends.destroy_source(record.uuid));
    for (const auto& volume : record.volumes) BLANKET_CHECK(app_.blocks.remove_volume(volume.id));
    app_.events.add("vm", record.name, std::format("a left-over copy was removed; '{}' owns it (epoch {})", record.owner, record.epoch));
    return {};
}

}  // namespace blanket
