// SPDX-License-Identifier: GPL-2.0-or-later
// See lifecycle.hpp.
#include "toolstack/migrate/lifecycle.hpp"

#include <algorithm>

namespace blanket {
namespace {

constexpr int kSwapTries = 8;
constexpr auto kPowerOff = std::chrono::seconds(60);

std::vector<std::string> sorted_unique(std::vector<std::string> list) {
    std::ranges::sort(list);
    const auto [first, last] = std::ranges::unique(list);
    list.erase(first, last);
    return list;
}

void begins(const PhaseHook& phase, const char* name) {
    if (phase) phase(name);
}

Error moving(const VmRecord& vm) {
    return {Kind::kConflict, std::format("VM '{}' is moving to '{}'", vm.name, vm.migration->target), std::format("blanket job watch {}", vm.migration->id)};
}

// Before the record gets a new epoch: a start that cannot succeed must not make an old record look newer than the disk of the site that really has the VM.
Result<void> check_disks(BlockStore& blocks, const VmRecord& vm, const std::string& site) {
    BLANKET_TRY(const auto here, blocks.volumes());
    for (const auto& volume : vm.volumes) {
        const auto at = std::ranges::find(here, volume.id, &VolumeFacts::id);
        if (at == here.end())
            return fail_hint(Kind::kPrecondition, std::format("volume '{}' of VM '{}' is not at '{}'", volume.id, vm.name, site), "where it was last: blanket vm recover " + vm.name);
        if (at->record_epoch() > vm.epoch)
            return fail_hint(Kind::kPrecondition, std::format("volume '{}' is of epoch {}, the record of VM '{}' of epoch {}: the registry was put back to an older state", volume.id, at->record_epoch(),
                                                              vm.name, vm.epoch),
                             "blanket vm recover " + vm.name);
    }
    return {};
}

// An answer may be lost after the deed: what matters is whether there is a domain.
Result<bool> has_domain(Hypervisor& hypervisor, const std::string& uuid) {
    BLANKET_TRY(const auto domains, hypervisor.list());
    return std::ranges::any_of(domains, [&](const DomainInfo& domain) { return domain.uuid == uuid && domain.id >= 0; });
}

}  // namespace

Result<Versioned<VmRecord>> owned_vm(Registry& registry, const std::string& site, const std::string& uuid) {
    BLANKET_TRY(auto found, registry.vm(uuid));
    if (!found) return fail_hint(Kind::kNotFound, std::format("the registry has no VM {}", uuid), "blanket vm list");
    if (found->value.owner != site)
        return fail_hint(Kind::kConflict, std::format("VM '{}' belongs to site '{}' now (epoch {})", found->value.name, found->value.owner, found->value.epoch),
                         "try again: the command is then sent there");
    return *found;
}

Result<Versioned<VmRecord>> change_vm(Registry& registry, const std::string& site, const std::string& uuid,
                                      const std::function<Result<void>(VmRecord&)>& change) {
    for (int attempt = 0;; ++attempt) {
        BLANKET_TRY(Versioned<VmRecord> vm, owned_vm(registry, site, uuid));
        const VmRecord before = vm.value;
        BLANKET_CHECK(change(vm.value));
        if (vm.value == before) return vm;
        auto written = registry.update_vm(vm.value, vm.revision);
        if (written) return Versioned<VmRecord>{vm.value, *written};
        if (written.error().kind != Kind::kConflict || attempt == kSwapTries) return std::unexpected(std::move(written).error());
    }
}

Result<VmRecord> start_here(SitePorts ports, const std::string& site, const std::string& uuid, StartFailure failure, const PhaseHook& phase) {
    begins(phase, "record");
    BLANKET_TRY(const HostFacts facts, ports.hypervisor.facts());
    // Each way changes the record: of a start here and a take-over elsewhere that looked at it before, one fails.
    BLANKET_TRY(const auto vm, change_vm(ports.registry, site, uuid, [&](VmRecord& record) -> Result<void> {
        if (record.phase == Phase::kMigrating) return std::unexpected(moving(record));
        if (record.phase == Phase::kDeleting) return fail_hint(Kind::kConflict, std::format("VM '{}' is being deleted", record.name), "blanket job list");
        BLANKET_CHECK(check_disks(ports.blocks, record, site));
        ++record.epoch;  // also what tells a start that nobody carried out: the record is newer than its disk
        record.phase = Phase::kRunning;
        record.cpu_features = sorted_unique(facts.cpu_features);  // a fresh start forgets what earlier hosts showed
        return {};
    }));
    const auto start = [&]() -> Result<void> {
        begins(phase, "disk");
        for (const auto& volume : vm.value.volumes) BLANKET_CHECK(ports.blocks.open_volume(volume.id, vm.value.epoch));
        begins(phase, "boot");
        BLANKET_TRY(const auto domains, ports.hypervisor.list());
        if (std::ranges::find(domains, uuid, &DomainInfo::uuid) == domains.end()) BLANKET_CHECK(ports.hypervisor.define(vm.value.definition));
        return ports.hypervisor.start(uuid);
    };
    if (auto started = start(); !started) {
        const auto runs = has_domain(ports.hypervisor, uuid);
        if (runs && *runs) return vm.value;
        if (runs) {  // a disk is never closed under a guest that runs
            for (const auto& volume : vm.value.volumes) (void)ports.blocks.close_volume(volume.id);
            if (failure == StartFailure::kStop)
                (void)change_vm(ports.registry, site, uuid, [](VmRecord& record) -> Result<void> {
                    if (record.phase == Phase::kRunning) record.phase = Phase::kStopped;
                    return {};
                });
        }
        return std::unexpected(std::move(started).error().context(std::format("starting VM '{}'", vm.value.name)));
    }
    return vm.value;
}

Result<VmRecord> stop_here(SitePorts ports, const std::string& site, const std::string& uuid, StopMode mode, std::chrono::seconds deadline, const PhaseHook& phase) {
    begins(phase, "stop");
    BLANKET_TRY(const auto before, owned_vm(ports.registry, site, uuid));
    if (before.value.phase == Phase::kMigrating) return std::unexpected(moving(before.value));
    if (auto stopped = ports.hypervisor.stop(uuid, mode, deadline); !stopped && stopped.error().kind != Kind::kConflict) {
        if (stopped.error().kind == Kind::kTimeout) return fail_hint(Kind::kTimeout, stopped.error().what, "power it off: blanket vm destroy " + before.value.name);
        return std::unexpected(std::move(stopped).error());
    }
    for (const auto& volume : before.value.volumes) BLANKET_CHECK(ports.blocks.close_volume(volume.id));
    begins(phase, "record");
    BLANKET_TRY(const auto record, change_vm(ports.registry, site, uuid, [](VmRecord& edit) -> Result<void> {
        if (edit.phase == Phase::kRunning || edit.phase == Phase::kSettling) edit.phase = Phase::kStopped;
        return {};
    }));
    for (const auto& volume : record.value.volumes) BLANKET_CHECK(ports.blocks.close_volume(volume.id));  // the guard may have let it go on meanwhile
    return record.value;
}

Result<VmRecord> delete_here(SitePorts ports, const std::string& site, const std::string& uuid, const DeleteHooks& hooks) {
    begins(hooks.phase, "mark");
    BLANKET_TRY(const auto marked, change_vm(ports.registry, site, uuid, [](VmRecord& record) -> Result<void> {
        if (record.phase == Phase::kMigrating) return std::unexpected(moving(record));
        record.phase = Phase::kDeleting;
        return {};
    }));
    const VmRecord& record = marked.value;
    begins(hooks.phase, "power off");
    if (auto stopped = ports.hypervisor.stop(uuid, StopMode::kDestroy, kPowerOff); !stopped && stopped.error().kind != Kind::kNotFound && stopped.error().kind != Kind::kConflict)
        return std::unexpected(std::move(stopped).error());
    BLANKET_CHECK(ports.hypervisor.undefine(uuid));
    begins(hooks.phase, "disk");
    for (const auto& volume : record.volumes) BLANKET_CHECK(ports.blocks.remove_volume(volume.id));
    if (record.standby) {
        begins(hooks.phase, "standby");
        BLANKET_CHECK(hooks.drop_standby(record));
    }
    begins(hooks.phase, "record");
    BLANKET_CHECK(hooks.release(record));
    BLANKET_CHECK(ports.registry.remove_vm(record, marked.revision));
    return record;
}

}  // namespace blanket
