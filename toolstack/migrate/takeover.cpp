// SPDX-License-Identifier: GPL-2.0-or-later
// See takeover.hpp.
#include "toolstack/migrate/takeover.hpp"

#include <algorithm>
#include <format>

#include "toolstack/base/text.hpp"

namespace blanket::migrate {
namespace {

std::uint64_t epoch_here(const std::vector<VolumeFacts>& here, const Volume& volume) {
    const auto at = std::ranges::find(here, volume.id, &VolumeFacts::id);
    return at == here.end() ? 0 : at->epoch;
}

std::string disk_in_words(const TakeOver& plan) {
    if (plan.disk_epoch == 0) return "its base image, as nothing that it ever wrote is here";
    return std::format("the disk that this site last had, of epoch {}{}{}", plan.disk_epoch, plan.disk_since.empty() ? "" : ", as it was at ", plan.disk_since);
}

}  // namespace

Result<TakeOver> plan_take_over(const VmRecord& vm, const std::string& site, const std::vector<VolumeFacts>& here, bool accept_loss) {
    if (vm.phase == Phase::kDeleting)
        return fail_hint(Kind::kConflict, std::format("VM '{}' is being deleted at '{}'", vm.name, vm.owner), std::format("at '{}': blanket job list; the deletion ends by itself when that site is back", vm.owner));
    TakeOver plan;
    std::uint64_t newest = 0, oldest = ~std::uint64_t{0}, known = vm.epoch;
    for (const auto& volume : vm.volumes) {
        const std::uint64_t epoch = epoch_here(here, volume);
        newest = std::max(newest, epoch);
        oldest = std::min(oldest, epoch);
        if (const auto at = std::ranges::find(here, volume.id, &VolumeFacts::id); at != here.end()) known = std::max(known, at->record_epoch());
    }
    plan.epoch = known + 1;
    if (newest > vm.epoch) {
        if (oldest != newest)
            return fail_hint(Kind::kConflict, std::format("the disks of VM '{}' here are of different epochs ({} to {}): no one state to go on from", vm.name, oldest, newest),
                             "another site may have all of them: try there");
        plan.why = TakeOver::Why::kRecordWentBack;
        plan.disk_epoch = newest;
        return plan;
    }
    if (vm.owner == site)
        return fail_hint(Kind::kPrecondition, std::format("VM '{}' belongs to '{}' already, and its record is as new as its disk (epoch {})", vm.name, site, vm.epoch),
                         "blanket vm show " + vm.name);
    plan.why = TakeOver::Why::kOwnerLost;
    // Several disks are one state only when they are of one epoch.
    if (!vm.volumes.empty() && oldest == newest) plan.disk_epoch = newest;
    if (vm.standby && vm.standby->site == site && vm.standby->epoch == plan.disk_epoch) plan.disk_since = vm.standby->since;
    if (plan.disk_epoch == 0) plan.from_image = vm.volumes;
    if (!accept_loss)
        return fail_hint(Kind::kPrecondition, std::format("VM '{}' belongs to '{}' (epoch {}); taking it over here begins from {}, and loses what it wrote at '{}'", vm.name, vm.owner,
                                                          vm.epoch, disk_in_words(plan), vm.owner),
                         std::format("when '{}' is lost: blanket vm recover {} --accept-loss", vm.owner, vm.name));
    return plan;
}

VmRecord taken_over(const VmRecord& vm, const std::string& site, const TakeOver& plan, bool runs_here, const std::string& now) {
    VmRecord won = vm;
    std::erase_if(won.forks, [&](const Fork& fork) { return fork.site == site || fork.site == vm.owner; });
    if (plan.why == TakeOver::Why::kOwnerLost) won.forks.push_back({vm.owner, vm.epoch, now});
    won.owner = site;
    won.epoch = plan.epoch;
    won.phase = vm.phase == Phase::kStopped && !runs_here ? Phase::kStopped : Phase::kSettling;
    won.migration.reset();
    won.standby.reset();
    return won;
}

namespace {

Result<void> make_volumes(BlockStore& blocks, const TakeOver& plan, const std::string& site) {
    for (const auto& volume : plan.from_image) {
        if (!volume.image.empty()) {
            BLANKET_TRY(const bool present, blocks.has_image(volume.image));
            if (!present) return fail_hint(Kind::kPrecondition, std::format("base image {} is not at '{}'", volume.image.substr(0, 12), site), "blanket image list; blanket image add");
        }
        BLANKET_CHECK(blocks.remove_volume(volume.id));  // half of a move's
        BLANKET_CHECK(blocks.create_volume(volume, plan.epoch));
    }
    return {};
}

}  // namespace

Result<TakenOver> take_over_here(SitePorts ports, const std::string& site, const std::string& uuid, bool accept_loss, const TakeOverHooks& hooks) {
    const auto begins = [&](const char* name) {
        if (hooks.phase) hooks.phase(name);
    };
    BLANKET_TRY(const auto found, ports.registry.vm(uuid));
    if (!found) return fail_hint(Kind::kNotFound, std::format("the registry has no VM {}", uuid), "blanket vm list");
    const auto& [vm, revision] = *found;
    BLANKET_TRY(const auto volumes, ports.blocks.volumes());
    BLANKET_TRY(const auto plan, plan_take_over(vm, site, volumes, accept_loss));
    begins("ask");
    BLANKET_CHECK(hooks.ask(vm, plan));
    begins("disk");
    BLANKET_CHECK(make_volumes(ports.blocks, plan, site));
    begins("record");
    BLANKET_TRY(const auto domains, ports.hypervisor.list());
    const auto domain = std::ranges::find(domains, vm.uuid, &DomainInfo::uuid);
    TakenOver taken;
    taken.from = vm.owner;
    if (domain != domains.end()) taken.domain = *domain;
    taken.vm = taken_over(vm, site, plan, taken.domain && taken.domain->id >= 0, rfc3339_now());
    if (taken.vm.phase == Phase::kStopped)  // a guest that crashed leaves its disk open
        for (const auto& volume : vm.volumes)
            if (std::ranges::find(volumes, volume.id, &VolumeFacts::id) != volumes.end()) BLANKET_CHECK(ports.blocks.close_volume(volume.id));
    BLANKET_CHECK(ports.registry.update_vm(taken.vm, revision));
    return taken;
}

std::vector<std::string> steps_of(const VmRecord& vm, const std::string& site, const TakeOver& plan) {
    std::vector<std::string> steps;
    if (plan.why == TakeOver::Why::kOwnerLost) steps.push_back("make sure that no site with a newer state answers");
    for (const auto& volume : plan.from_image) steps.push_back(std::format("make volume '{}' anew from its base image", volume.id));
    steps.push_back(std::format("set the record's owner to '{}', epoch {}", site, plan.epoch));
    if (plan.why == TakeOver::Why::kOwnerLost) steps.push_back(std::format("keep the copy at '{}' as a fork, should that site come back: stopped, never merged", vm.owner));
    if (vm.phase != Phase::kStopped) steps.push_back(std::format("let it go on from {}", disk_in_words(plan)));
    return steps;
}

}  // namespace blanket::migrate
