// SPDX-License-Identifier: GPL-2.0-or-later
// See admission.hpp.
#include "toolstack/migrate/admission.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"

namespace blanket::migrate {
namespace {

constexpr std::uint64_t kDomainOverheadMib = 24;  // page tables, shadow and the libxl slack beside a PV guest's own memory
constexpr double kPoolLimit = 0.9;                // the pool must stay below this share, and its metadata below the same in percent

std::string join(const std::vector<std::string>& list) {
    std::string text;
    for (const auto& item : list) text += (text.empty() ? "" : ", ") + item;
    return text;
}

}  // namespace

std::vector<std::string> missing_features(const std::vector<std::string>& seen, const std::vector<std::string>& host) {
    std::vector<std::string> wanted = seen, have = host, missing;
    std::ranges::sort(wanted);
    std::ranges::sort(have);
    std::ranges::set_difference(wanted, have, std::back_inserter(missing));
    return missing;
}

Result<void> admit(const VmRecord& vm, const Admission& at) {
    if (!at.host.log_dirty)
        return fail_hint(Kind::kPrecondition, std::format("the hypervisor of site '{}' has no shadow paging, so a VM could never leave it again", at.site),
                         "boot it with the blanket's own Xen: see 'blanket doctor' there");
    if (const auto missing = missing_features(vm.cpu_features, at.host.cpu_features); !missing.empty())
        return fail_hint(Kind::kPrecondition,
                         std::format("the CPU of site '{}' lacks {} that VM '{}' has seen: {}", at.site,
                                     missing.size() == 1 ? "a feature" : "features", vm.name, join(missing)),
                         "choose a site whose CPU has them (blanket site show), or stop the VM and start it there afresh");
    const std::uint64_t need = vm.memory_mib + kDomainOverheadMib;
    if (at.host.free_mib < need)
        return fail_hint(Kind::kPrecondition,
                         std::format("site '{}' has {} MiB of free memory, VM '{}' needs {} MiB", at.site, at.host.free_mib, vm.name, need),
                         "free memory there or choose another site");
    std::uint64_t bytes = 0;
    for (const auto& volume : vm.volumes) bytes += volume.size;
    if (static_cast<double>(at.pool.used) > kPoolLimit * static_cast<double>(at.pool.size) || at.pool.metadata_percent > kPoolLimit * 100)
        return fail_hint(Kind::kPrecondition,
                         std::format("the storage pool of site '{}' is {:.0f} % full (metadata {:.0f} %)", at.site,
                                     at.pool.size == 0 ? 100.0 : 100.0 * static_cast<double>(at.pool.used) / static_cast<double>(at.pool.size),
                                     at.pool.metadata_percent),
                         "add a disk to the pool there or delete volumes");
    if (std::ranges::find(vm.forks, at.site, &Fork::site) != vm.forks.end())
        return fail_hint(Kind::kConflict, std::format("site '{}' keeps a copy of VM '{}' from before it was taken over by another site", at.site, vm.name),
                         std::format("look at it, then at '{}': blanket vm drop-fork {}", at.site, vm.name));
    for (const auto& domain : at.domains) {
        if (domain.uuid == vm.uuid)
            return fail_hint(Kind::kConflict, std::format("site '{}' already has a domain with the UUID of VM '{}'", at.site, vm.name),
                             std::format("remove it there: virsh -c xen:///system undefine {}", vm.uuid));
        if (domain.name == vm.name)
            return fail_hint(Kind::kConflict, std::format("site '{}' already has another domain named '{}'", at.site, vm.name),
                             "rename or remove it there (virsh list --all)");
    }
    return {};
}

}  // namespace blanket::migrate
