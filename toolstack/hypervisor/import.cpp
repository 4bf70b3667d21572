// SPDX-License-Identifier: GPL-2.0-or-later
// Checks that both import formats share; see import.hpp.
#include "toolstack/hypervisor/import.hpp"

#include <algorithm>
#include <set>

#include "toolstack/base/process.hpp"
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

Result<ImportedVm> imported_from_json(const Json& json) {
    ImportedVm vm;
    BLANKET_TRY(vm.name, json_string(json, "name"));
    BLANKET_TRY(vm.uuid, json_string(json, "uuid"));
    BLANKET_TRY(vm.memory_mib, json_number(json, "memory_mib"));
    BLANKET_TRY(const auto vcpus, json_number(json, "vcpus"));
    vm.vcpus = static_cast<std::uint32_t>(std::min<std::uint64_t>(vcpus, 1'000'000));
    for (const char* field : {"disks", "nics", "notes"})
        if (const auto it = json.find(field); it == json.end() || !it->is_array()) return fail(Kind::kInvalid, "'{}' is missing or not a list", field);
    for (const Json& item : json["disks"]) {
        ImportedDisk disk;
        BLANKET_TRY(disk.target, json_string(item, "target"));
        BLANKET_TRY(const std::string kind, json_string(item, "kind"));
        disk.kind = kind == "block" ? DiskSource::kBlock : DiskSource::kFile;
        BLANKET_TRY(disk.path, json_string(item, "path"));
        disk.readonly = json_bool_or(item, "readonly", false);
        vm.disks.push_back(std::move(disk));
    }
    for (const Json& item : json["nics"]) vm.nics.push_back({json_string_or(item, "mac", ""), json_string_or(item, "bridge", "")});
    for (const Json& item : json["notes"])
        if (item.is_string()) vm.notes.push_back(item.get<std::string>());
    BLANKET_CHECK(check_imported(vm));
    return vm;
}

Result<ImportedVm> read_xl_config(std::string_view text, const std::string& program) {
    if (text.empty()) return fail(Kind::kInvalid, "the definition is empty");
    BLANKET_TRY(const Output output, run_any({program}, {.deadline = std::chrono::seconds(10), .input = text, .max_output = 1u << 20, .env = {}}));
    const auto json = parse_json(output.out);
    if (!json) return fail(Kind::kIo, "{} ended with status {}: {}", program, output.status, std::string_view(output.err).substr(0, 300));
    if (output.status != 0) return std::unexpected(error_from_json(*json));
    return imported_from_json(*json);
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
