// SPDX-License-Identifier: GPL-2.0-or-later
// Whose pages a VM's are, to the content store. A tenant is the VMs of the same set of nets, as nets are what separates VMs from each other here; a VM without a net is
// a tenant of its own. Pure.
#pragma once

#include <set>

#include "toolstack/core/records.hpp"
#include "toolstack/stream/content_store.hpp"

namespace blanket::migrate {

inline stream::StoreSubject subject_of(const VmRecord& vm) {
    std::set<std::string> nets;
    for (const auto& nic : vm.nics) nets.insert(nic.net);
    std::string tenant = nets.empty() ? "vm " + vm.uuid : "nets";
    for (const auto& net : nets) tenant += '\n' + net;  // a name has no line break
    return {tenant, vm.uuid};
}

}  // namespace blanket::migrate
