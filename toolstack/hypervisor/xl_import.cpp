// SPDX-License-Identifier: GPL-2.0-or-later
// xl.cfg(5) -> ImportedVm by Xen's own parser, libxlutil; see import.hpp. Only the keys below are read; those that tie the VM to a host are refused.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

extern "C" {
#include <libxl.h>
#include <libxlutil.h>
}

#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/import.hpp"

namespace blanket {
namespace {

// libxlutil reports through a FILE.
struct Report {
    char* text = nullptr;
    std::size_t size = 0;
    FILE* file = open_memstream(&text, &size);
    ~Report() {
        if (file != nullptr) std::fclose(file);
        std::free(text);
    }
    std::string str() {
        std::fflush(file);
        std::string out(text, std::min<std::size_t>(size, 300));
        std::ranges::replace(out, '\n', ' ');
        return std::string(trim(out));
    }
};

struct ConfigFree {
    void operator()(XLU_Config* config) const { xlu_cfg_destroy(config); }
};
using Config = std::unique_ptr<XLU_Config, ConfigFree>;

std::string get(XLU_Config* config, const char* key) {
    const char* value = nullptr;
    return xlu_cfg_get_string(config, key, &value, 1) == 0 && value != nullptr ? value : "";
}

Result<std::uint64_t> number(XLU_Config* config, const char* key, std::uint64_t fallback, std::uint64_t max) {
    long value = 0;
    const int rc = xlu_cfg_get_long(config, key, &value, 1);
    if (rc == ESRCH) return fallback;
    if (rc != 0 || value < 1 || static_cast<std::uint64_t>(value) > max) return fail(Kind::kInvalid, "'{}' is not a number from 1 to {}", key, max);
    return static_cast<std::uint64_t>(value);
}

Result<std::vector<std::string>> list(XLU_Config* config, const char* key) {
    XLU_ConfigList* items = nullptr;
    int count = 0;
    const int rc = xlu_cfg_get_list(config, key, &items, &count, 1);
    if (rc == ESRCH) return std::vector<std::string>{};
    if (rc != 0) return fail(Kind::kInvalid, "'{}' is not a list", key);
    std::vector<std::string> out;
    for (int i = 0; i < count; ++i) {
        const char* item = xlu_cfg_get_listitem(items, i);
        if (item == nullptr) return fail(Kind::kInvalid, "entry {} of '{}' is not a string", i + 1, key);
        out.emplace_back(item);
    }
    return out;
}

struct Disk {
    libxl_device_disk raw{};
    Disk() { libxl_device_disk_init(&raw); }
    ~Disk() { libxl_device_disk_dispose(&raw); }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
};

Result<void> take_disk(XLU_Config* config, Report& report, const std::string& spec, ImportedVm& vm) {
    Disk disk;
    const char* text = spec.c_str();
    if (xlu_disk_parse(config, 1, &text, &disk.raw) != 0) return fail(Kind::kInvalid, "disk '{}': {}", spec, report.str());
    const std::string target = disk.raw.vdev != nullptr ? disk.raw.vdev : "";
    if (disk.raw.is_cdrom != 0) return fail_hint(Kind::kPrecondition, std::format("disk '{}' of '{}' is a CD: it cannot follow the VM", target, vm.name), "leave it out");
    if (disk.raw.format != LIBXL_DISK_FORMAT_RAW && disk.raw.format != LIBXL_DISK_FORMAT_UNKNOWN)
        return fail_hint(Kind::kPrecondition, std::format("disk '{}' of '{}' is not raw: only raw disks can be imported", target, vm.name), "qemu-img convert -O raw");
    if (disk.raw.script != nullptr)
        return fail(Kind::kPrecondition, "disk '{}' of '{}' needs the host's script '{}': it cannot move", target, vm.name, disk.raw.script);
    if (disk.raw.backend_domname != nullptr)
        return fail(Kind::kPrecondition, "disk '{}' of '{}' is served by the domain '{}': it cannot move", target, vm.name, disk.raw.backend_domname);
    std::string path = disk.raw.pdev_path != nullptr ? disk.raw.pdev_path : "";
    if (!path.starts_with('/') && !path.empty()) path = "/dev/" + path;  // xl's rule for phy:
    vm.disks.push_back({.target = target, .kind = path.starts_with("/dev/") ? DiskSource::kBlock : DiskSource::kFile, .path = path, .readonly = disk.raw.readwrite == 0});
    return {};
}

Result<void> take_vif(const std::string& spec, ImportedVm& vm) {
    ImportedNic nic;
    for (const std::string& part : split(spec, ',')) {
        const std::string_view text = trim(part);
        if (text.empty()) continue;
        const std::size_t equals = text.find('=');
        const std::string_view key = trim(text.substr(0, equals)), value = equals == std::string_view::npos ? "" : trim(text.substr(equals + 1));
        if (key == "mac") nic.mac = value;
        else if (key == "bridge") nic.bridge = value;
        else if (key == "type" && value != "vif") return fail(Kind::kPrecondition, "an interface of '{}' is of type '{}': a PV guest has vif only", vm.name, value);
        else if (key == "backend") return fail(Kind::kPrecondition, "an interface of '{}' is served by the domain '{}': it cannot move", vm.name, value);
        else if (key == "type") continue;
        else vm.notes.push_back(std::format("the interface's {} is left out", key.substr(0, 32)));
    }
    if (nic.bridge.size() > 64) return fail(Kind::kInvalid, "an interface of '{}' names a bridge of {} characters", vm.name, nic.bridge.size());
    std::ranges::transform(nic.mac, nic.mac.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    vm.nics.push_back(std::move(nic));
    return {};
}

struct Refusal {
    const char *key, *reason;
};
constexpr Refusal kRefused[] = {
    {"pci", "a host's PCI device cannot follow the VM"},      {"usbdev", "a host's USB device cannot follow the VM"},
    {"dtdev", "a host's device cannot follow the VM"},        {"ioports", "a host's I/O ports cannot follow the VM"},
    {"irqs", "a host's interrupts cannot follow the VM"},     {"iomem", "a host's memory cannot follow the VM"},
    {"vtpm", "a TPM's state would stay behind"},              {"p9", "a host's folder cannot follow the VM"},
    {"pvcalls", "a host's sockets cannot follow the VM"},     {"driver_domain", "a driver domain belongs to one host"},
};

}  // namespace

Result<ImportedVm> parse_xl_config(std::string_view text) {
    constexpr std::size_t kMax = 256 * 1024;
    if (text.size() > kMax) return fail(Kind::kInvalid, "the definition has {} bytes; at most {} are read", text.size(), kMax);
    if (text.contains('\0')) return fail(Kind::kInvalid, "the definition holds a NUL byte");
    Report report;
    if (report.file == nullptr) return fail_errno("open_memstream", "");
    const Config config(xlu_cfg_init(report.file, "definition"));
    std::string complete(text);
    if (!complete.ends_with('\n')) complete += '\n';
    if (!config || xlu_cfg_readdata(config.get(), complete.data(), static_cast<int>(complete.size())) != 0)
        return fail(Kind::kInvalid, "the definition is not a valid xl.cfg: {}", report.str());
    XLU_Config* raw = config.get();

    ImportedVm vm;
    vm.name = get(raw, "name");
    if (vm.name.empty()) return fail(Kind::kInvalid, "the definition has no 'name'");
    vm.uuid = get(raw, "uuid");
    std::ranges::transform(vm.uuid, vm.uuid.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    const std::string type = get(raw, "type"), builder = get(raw, "builder");
    if ((!type.empty() && type != "pv") || (!builder.empty() && builder != "generic" && builder != "linux"))
        return fail_hint(Kind::kPrecondition, std::format("'{}' is a guest of type '{}': it needs hardware virtualization, which a blanket does not have", vm.name, type.empty() ? builder : type),
                         "its disk may well boot as a PV guest: set type = \"pv\"");
    for (const Refusal& refusal : kRefused) {
        BLANKET_TRY(const auto entries, list(raw, refusal.key));
        if (!entries.empty()) return fail_hint(Kind::kPrecondition, std::format("'{}' has '{}': {}", vm.name, refusal.key, refusal.reason), std::format("remove '{}' from its definition", refusal.key));
    }
    BLANKET_TRY(const auto memory, number(raw, "memory", 0, 4u << 20));
    BLANKET_TRY(const auto maxmem, number(raw, "maxmem", memory, 4u << 20));
    vm.memory_mib = std::max(memory, maxmem);
    BLANKET_TRY(const auto vcpus, number(raw, "vcpus", 1, 128));
    BLANKET_TRY(const auto maxvcpus, number(raw, "maxvcpus", vcpus, 128));
    vm.vcpus = static_cast<std::uint32_t>(std::max(vcpus, maxvcpus));
    if (const std::string loader = get(raw, "bootloader"); !loader.empty()) vm.notes.push_back(std::format("the bootloader '{}' is replaced by pvgrub", loader.substr(0, 64)));
    else if (const std::string kernel = get(raw, "kernel"); !kernel.empty() && !kernel.ends_with("grub-x86_64-xen.bin"))
        vm.notes.push_back("the kernel outside the disk is replaced by pvgrub, which boots the kernel on the disk");
    if (!get(raw, "extra").empty() || !get(raw, "cmdline").empty()) vm.notes.push_back("the kernel's command line comes from grub.cfg on the disk");
    BLANKET_TRY(const auto disks, list(raw, "disk"));
    for (const std::string& spec : disks) BLANKET_CHECK(take_disk(raw, report, spec, vm));
    BLANKET_TRY(const auto vifs, list(raw, "vif"));
    for (const std::string& spec : vifs) BLANKET_CHECK(take_vif(spec, vm));
    BLANKET_CHECK(check_imported(vm));
    return vm;
}

}  // namespace blanket
