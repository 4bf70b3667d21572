// SPDX-License-Identifier: GPL-2.0-or-later
// Checks that both import formats share; see import.hpp.
#include "toolstack/hypervisor/import.hpp"

#include <set>

#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {
namespace {

// xvda..xvdp: what our definitions use; partitions (xvda1) have no table around them that pvgrub could read.
bool valid_target(std::string_view target) { return target.size() == 4 && target.starts_with("xvd") && target[3] >= 'a' && target[3] <= 'p'; }

}  // namespace

Json to_json(const ImportedVm& vm) {
    Json disks = Json::array(), nics = Json::array();
    for (const auto& disk : vm.disks)
        disks.push_back({{"target", disk.target}, {"kind", disk.kind == DiskSource::kBlock ? "block" : "file"}, {"path", disk.path}, {"readonly", disk.readonly}});
    for (const auto& nic : vm.nics) nics.push_back({{"mac", nic.mac}, {"bridge", nic.bridge}});
    return {{"name", vm.name}, {"uuid", vm.uuid}, {"memory_mib", vm.memory_mib}, {"vcpus", vm.vcpus}, {"disks", disks}, {"nics", nics}, {"notes", vm.notes}};
}

Result<void> check_imported(const ImportedVm& vm) {
    if (auto name = check_name(vm.name, "VM name"); !name) {
        name.error().hint = "rename the VM in its definition: lower-case letters, digits, '.', '_' and '-'";
        return name;
    }
    if (!vm.uuid.empty()) BLANKET_CHECK(check_uuid(vm.uuid));
    constexpr std::uint64_t kMinMib = 32, kMaxMib = 4u << 20;
    if (vm.memory_mib < kMinMib || vm.memory_mib > kMaxMib)
        return fail(Kind::kInvalid, "'{}' asks for {} MiB of memory; {} to {} are possible", vm.name, vm.memory_mib, kMinMib, kMaxMib);
    if (vm.vcpus < 1 || vm.vcpus > 128) return fail(Kind::kInvalid, "'{}' asks for {} vcpus; 1 to 128 are possible", vm.name, vm.vcpus);
    if (vm.disks.empty()) return fail(Kind::kPrecondition, "'{}' has no disk that blanket could keep", vm.name);
    if (vm.disks.size() > 16 || vm.nics.size() > 8)
        return fail(Kind::kInvalid, "'{}' has {} disks and {} interfaces; at most 16 and 8 are possible", vm.name, vm.disks.size(), vm.nics.size());
    std::set<std::string> targets, macs;
    for (const auto& disk : vm.disks) {
        if (!valid_target(disk.target)) {
            return fail_hint(Kind::kPrecondition, std::format("disk '{}' of '{}' cannot be kept: only whole PV disks xvda to xvdp can", disk.target, vm.name),
                             "give the disk a target of that form");
        }
        if (!targets.insert(disk.target).second) return fail(Kind::kInvalid, "two disks of '{}' are called {}", vm.name, disk.target);
        if (!disk.path.starts_with('/') || disk.path.size() > 1024) return fail(Kind::kInvalid, "disk {} of '{}' has no absolute path", disk.target, vm.name);
    }
    for (const auto& nic : vm.nics) {
        if (nic.mac.empty()) continue;
        BLANKET_CHECK(check_mac(nic.mac));
        if (!macs.insert(nic.mac).second) return fail(Kind::kInvalid, "two interfaces of '{}' have the MAC {}", vm.name, nic.mac);
    }
    return {};
}

Result<void> check_adoptable(const ImportedVm& vm) {
    for (const auto& disk : vm.disks) {
        constexpr std::string_view kOurs = "/dev/mapper/bs-", kTop = "-top";
        if (disk.kind == DiskSource::kBlock && disk.path.starts_with(kOurs) && disk.path.ends_with(kTop) && disk.path.size() > kOurs.size() + kTop.size()) continue;
        return fail_hint(Kind::kPrecondition,
                         std::format("disk {} of '{}' is {}, which exists on this host only: the VM cannot move", disk.target, vm.name, disk.path),
                         "blanket import copies it into a volume; until then blanket leaves this VM alone");
    }
    return {};
}

}  // namespace blanket
