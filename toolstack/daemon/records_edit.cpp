// SPDX-License-Identifier: GPL-2.0-or-later
// See records_edit.hpp.
#include "toolstack/daemon/records_edit.hpp"

namespace blanket {
namespace {
constexpr int kTries = 8;
}

Result<Versioned<VmRecord>> owned_vm(App& app, const std::string& uuid) {
    BLANKET_TRY(auto found, app.registry.vm(uuid));
    if (!found) return fail_hint(Kind::kNotFound, std::format("the registry has no VM {}", uuid), "blanket vm list");
    if (found->value.owner != app.site)
        return fail_hint(Kind::kConflict, std::format("VM '{}' belongs to site '{}' now (epoch {})", found->value.name, found->value.owner, found->value.epoch),
                         "try again: the command is then sent there");
    return *found;
}

Result<Versioned<VmRecord>> change_vm(App& app, const std::string& uuid, const std::function<Result<void>(VmRecord&)>& change) {
    for (int attempt = 0;; ++attempt) {
        BLANKET_TRY(Versioned<VmRecord> vm, owned_vm(app, uuid));
        const VmRecord before = vm.value;
        BLANKET_CHECK(change(vm.value));
        if (vm.value == before) return vm;
        auto written = app.registry.update_vm(vm.value, vm.revision);
        if (written) return Versioned<VmRecord>{vm.value, *written};
        if (written.error().kind != Kind::kConflict || attempt == kTries) return std::unexpected(std::move(written).error());
    }
}

}  // namespace blanket
