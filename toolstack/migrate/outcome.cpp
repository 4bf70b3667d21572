// SPDX-License-Identifier: GPL-2.0-or-later
// See outcome.hpp.
#include "toolstack/migrate/outcome.hpp"

#include "toolstack/base/text.hpp"

namespace blanket::migrate {
namespace {

constexpr int kTries = 8;
constexpr auto kRetry = std::chrono::milliseconds(500);  // between questions to a registry without quorum

}  // namespace

Result<Outcome> settle_source(Registry& registry, TimeSource& clock, const VmRecord& vm, const std::string& here, const std::function<bool()>& give_up) {
    for (;;) {
        auto found = registry.vm(vm.uuid);
        const auto gone = found && !*found ? registry.gone(vm.uuid) : Result<std::optional<Gone>>(std::nullopt);
        if (gone && *gone) return Outcome::kCommitted;
        if (found && !*found && gone)
            return fail_hint(Kind::kNotFound, std::format("the record of VM '{}' is missing, and it was not deleted: its copy here is neither resumed nor removed", vm.name), "restore etcd's last snapshot");
        if (found && *found) {
            const auto& [now, revision] = **found;
            if (now.epoch > vm.epoch) return Outcome::kCommitted;  // also one that names us: committed, and taken over from there since
            if (now.epoch < vm.epoch) return Outcome::kAborted;  // the registry was put back to an older state: this copy is the newest that is known
            if (now.owner != here)  // under our epoch: no program of ours writes that
                return fail_hint(Kind::kConflict, std::format("the record of VM '{}' was edited: it names '{}' under epoch {}, which was '{}'s", vm.name, now.owner, now.epoch, here),
                                 std::format("set its owner back to '{}', or if '{}' is lost: blanket vm recover {} --accept-loss", here, now.owner, vm.name));
            if (now.phase != Phase::kMigrating) return Outcome::kAborted;
            VmRecord back = now;
            back.phase = Phase::kSettling;
            back.migration.reset();
            const auto updated = registry.update_vm(back, revision);
            if (updated) return Outcome::kAborted;
            if (updated.error().kind == Kind::kConflict) continue;  // somebody was faster: ask again who
        }
        if (give_up()) return fail_hint(Kind::kUnavailable, "the registry has not answered yet whether the move was committed", "it is asked again as soon as it answers");
        clock.sleep(kRetry);
    }
}

Result<void> mark_settled(Registry& registry, const VmRecord& vm) {
    for (int left = kTries;; --left) {
        BLANKET_TRY(const auto found, registry.vm(vm.uuid));
        if (!found || found->value.owner != vm.owner || found->value.epoch != vm.epoch || found->value.phase != Phase::kSettling) return {};
        VmRecord settled = found->value;
        settled.phase = Phase::kRunning;
        const auto updated = registry.update_vm(settled, found->revision);
        if (updated) return {};
        if (updated.error().kind != Kind::kConflict || left == 0) return std::unexpected(updated.error());
    }
}

Result<VmRecord> commit_target(Registry& registry, TimeSource& clock, const Versioned<VmRecord>& vm, const std::string& here, const std::function<bool()>& give_up) {
    VmRecord won = vm.value;
    won.owner = here;
    won.epoch = vm.value.epoch + 1;
    won.phase = Phase::kSettling;
    won.migration.reset();
    won.standby.reset();
    if (won.policy == kPause) won.standby = Standby{vm.value.owner, vm.value.epoch, rfc3339_now()};  // its disk is equal to ours at this moment
    for (;;) {
        const auto updated = registry.update_vm(won, vm.revision);
        if (updated) return won;
        // A conflict may be our own first try whose answer was lost; an unavailable registry may have taken it all the same.
        auto found = registry.vm(won.uuid);
        if (found && *found && (*found)->value.owner == here && (*found)->value.epoch == won.epoch) return won;
        if (found) {
            if (!*found || (*found)->revision != vm.revision)
                return fail(Kind::kConflict, "the source took VM '{}' back before the commit", won.name);
        }
        if (give_up()) return fail(Kind::kUnavailable, "the registry does not answer: {}", updated.error().what);
        clock.sleep(kRetry);
    }
}

}  // namespace blanket::migrate
