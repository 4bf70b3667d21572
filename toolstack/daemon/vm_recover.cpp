// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket vm recover` and `vm drop-fork`: a VM is taken over without its owner; what the owner was left with. See migrate/takeover.hpp.
#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/migrate/recovery.hpp"
#include "toolstack/migrate/takeover.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxVolumes = 64;  // of one question

Json ids_of(const VmRecord& vm) {
    Json ids = Json::array();
    for (const auto& volume : vm.volumes) ids.push_back(volume.id);
    return {{"volumes", ids}};
}

// Every site that answers is asked; one with a newer disk, or the owner itself, has the better right.
Result<void> ask_the_others(App& app, const VmRecord& vm, const migrate::TakeOver& plan, bool accept_loss, Job& job) {
    const Json question = ids_of(vm);
    for (const auto& [site, revision] : app.world.snapshot().sites) {
        if (site.name == app.site || site.role == "witness") continue;
        if (site.state == kRevoked) {
            job.note(std::format("'{}' is revoked and is not asked", site.name));
            continue;
        }
        const auto answer = app.neighbours.call(site, "POST", "/1.0/peer/disks", &question);
        if (!answer) {
            job.note(std::format("'{}' cannot be asked: {}", site.name, answer.error().what));
            if (accept_loss) continue;
            return fail_hint(Kind::kPrecondition, std::format("site '{}' cannot be asked whether it has a newer state of VM '{}'", site.name, vm.name),
                             std::format("wait until it answers, or if it is lost: blanket vm recover {} --accept-loss", vm.name));
        }
        if (plan.why == migrate::TakeOver::Why::kOwnerLost && site.name == vm.owner)
            return fail_hint(Kind::kConflict, std::format("site '{}' answers: VM '{}' is not lost", site.name, vm.name), std::format("blanket vm show {0}; to move it here: blanket vm migrate {0} {1}", vm.name, app.site));
        const auto epochs = answer->find("epochs");
        if (epochs == answer->end() || !epochs->is_object()) return fail(Kind::kIo, "site '{}' gave no epochs", site.name);
        for (const auto& volume : vm.volumes)
            if (const std::uint64_t theirs = json_number_or(*epochs, volume.id, 0); theirs > plan.disk_epoch && theirs > 0)
                return fail_hint(Kind::kConflict, std::format("site '{}' has a newer state of VM '{}' (epoch {}, here {})", site.name, vm.name, theirs, plan.disk_epoch),
                                 std::format("at '{}': blanket vm recover {}", site.name, vm.name));
    }
    return {};
}

bool is_malformed(App& app, const VmRecord& vm) {
    const Snapshot now = app.world.snapshot();
    return std::ranges::find(now.malformed, "vms/" + vm.uuid, &Malformed::key) != now.malformed.end();
}

// The record makes no sense; what the registry gives us is its last version that did.
Result<Json> write_back(App& app, const VmRecord& seen, Job& job) {
    job.phase("record");
    BLANKET_TRY(const auto found, app.registry.vm(seen.uuid));
    if (!found) return fail(Kind::kNotFound, "the record of VM '{}' is gone", seen.name);
    BLANKET_CHECK(app.registry.update_vm(found->value, found->revision));
    app.events.add("vm", seen.name, "its record's last good version was written back");
    (void)app.world.refresh();
    return to_json(found->value);
}

Result<Json> recover_now(App& app, const std::string& uuid, bool accept_loss, Job& job) {
    migrate::TakeOverHooks hooks;
    hooks.phase = [&](const char* name) { job.phase(name); };
    hooks.ask = [&](const VmRecord& vm, const migrate::TakeOver& plan) { return ask_the_others(app, vm, plan, accept_loss, job); };
    BLANKET_TRY(const auto taken, migrate::take_over_here(app, app.site, uuid, accept_loss, hooks));
    const VmRecord& won = taken.vm;
    app.events.add("vm", won.name, std::format("taken over from '{}' (epoch {})", taken.from, won.epoch));
    (void)app.world.refresh();
    if (won.phase == Phase::kStopped) return to_json(won);
    // From here on recovery would do the same after a crash of ours.
    job.phase("settle");
    BLANKET_TRY(const bool runs, settle_here(app, won, taken.domain));
    if (!runs) return start_now(app, won.uuid, &job, StartFailure::kTryAgain);
    (void)app.world.refresh();
    return to_json(won);
}

}  // namespace

Result<Json> disk_epochs(App& app, const Json& body) {
    const auto list = body.find("volumes");
    if (list == body.end() || !list->is_array() || list->size() > kMaxVolumes) return fail(Kind::kInvalid, "a list of at most {} volumes is wanted", kMaxVolumes);
    BLANKET_TRY(const auto here, app.blocks.volumes());
    Json epochs = Json::object();
    for (const auto& id : *list) {
        if (!id.is_string()) return fail(Kind::kInvalid, "a volume's id is a text");
        if (const auto at = std::ranges::find(here, id.get<std::string>(), &VolumeFacts::id); at != here.end()) epochs[at->id] = at->epoch;
    }
    return Json{{"epochs", epochs}};
}

Result<Json> drop_standby(App& app, const std::string& uuid) {
    BLANKET_TRY(const auto found, app.registry.vm(uuid));  // the record's word, not the peer's
    if (!found || found->value.phase != Phase::kDeleting || !found->value.standby || found->value.standby->site != app.site)
        return fail(Kind::kConflict, "VM {} is not being deleted, or '{}' is not its standby", uuid, app.site);
    for (const auto& volume : found->value.volumes) BLANKET_CHECK(app.blocks.remove_volume(volume.id));
    return Json::object();
}

Result<Answer> recover_vm(App& app, const Versioned<VmRecord>& vm, bool accept_loss, bool dry_run) {
    if (is_malformed(app, vm.value)) {
        if (dry_run) return Answer{nullptr, {std::format("write the last good version of the record of VM '{}' back", vm.value.name)}};
        BLANKET_TRY(auto job, app.jobs.start("recover", "vm/" + vm.value.name, [&app, vm](Job& self) { return write_back(app, vm.value, self); }));
        return Answer{job, {}};
    }
    BLANKET_TRY(const auto here, app.blocks.volumes());
    BLANKET_TRY(const auto plan, migrate::plan_take_over(vm.value, app.site, here, accept_loss));
    if (dry_run) return Answer{nullptr, migrate::steps_of(vm.value, app.site, plan)};
    BLANKET_TRY(auto job, app.jobs.start("recover", "vm/" + vm.value.name, [&app, uuid = vm.value.uuid, accept_loss](Job& self) { return recover_now(app, uuid, accept_loss, self); }));
    return Answer{job, {}};
}

Result<Answer> drop_fork(App& app, const VmRecord& vm, bool dry_run) {
    const auto is_here = [&](const Fork& fork) { return fork.site == app.site; };
    if (std::ranges::none_of(vm.forks, is_here))
        return fail_hint(Kind::kPrecondition, std::format("site '{}' keeps no copy of VM '{}'", app.site, vm.name), "blanket vm show " + vm.name + " names the sites that do");
    if (dry_run) return Answer{nullptr, {std::format("remove the disk of VM '{}' at '{}'", vm.name, app.site), "take the fork out of its record"}};
    BLANKET_TRY(auto job, app.jobs.start("drop-fork", "vm/" + vm.name, [&app, vm](Job& self) -> Result<Json> {
        self.phase("disk");
        for (const auto& volume : vm.volumes) BLANKET_CHECK(app.blocks.remove_volume(volume.id));
        self.phase("record");
        for (int left = 8;; --left) {
            BLANKET_TRY(const auto found, app.registry.vm(vm.uuid));
            if (!found) return fail(Kind::kNotFound, "the record of VM '{}' is gone", vm.name);
            VmRecord edited = found->value;
            if (edited.owner == app.site) return fail(Kind::kConflict, "VM '{}' belongs to '{}' now", vm.name, app.site);
            std::erase_if(edited.forks, [&](const Fork& fork) { return fork.site == app.site; });
            const auto written = app.registry.update_vm(edited, found->revision);
            if (written) break;
            if (written.error().kind != Kind::kConflict || left == 0) return std::unexpected(written.error());
        }
        (void)app.world.refresh();
        return Json{{"name", vm.name}, {"site", app.site}};
    }));
    return Answer{job, {}};
}

}  // namespace blanket
