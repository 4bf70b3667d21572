// SPDX-License-Identifier: GPL-2.0-or-later
// See records_edit.hpp.
#include "toolstack/daemon/records_edit.hpp"

#include "toolstack/migrate/lifecycle.hpp"

namespace blanket {

Result<Versioned<VmRecord>> owned_vm(App& app, const std::string& uuid) { return owned_vm(app.registry, app.site, uuid); }

Result<Versioned<VmRecord>> change_vm(App& app, const std::string& uuid, const std::function<Result<void>(VmRecord&)>& change) {
    return change_vm(app.registry, app.site, uuid, change);
}

}  // namespace blanket
