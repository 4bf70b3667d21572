// SPDX-License-Identifier: GPL-2.0-or-later
// libvirt domain XML -> ImportedVm; see import.hpp. The XML is hostile: bounded before parsing, no DTD and no entities beyond XML's five (pugixml has none).
#include <algorithm>
#include <pugixml.hpp>

#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/import.hpp"

namespace blanket {
namespace {

struct Refusal {
    std::string_view element, reason;
};

// Devices that tie a VM to one host or need an emulator, which a blanket does not run. Elements that are neither here nor known are refused too.
constexpr Refusal kRefused[] = {
    {"hostdev", "a host's device cannot follow the VM"},
    {"filesystem", "a host's folder cannot follow the VM"},
    {"tpm", "a TPM's state would stay behind"},
    {"redirdev", "a redirected USB device cannot follow the VM"},
    {"smartcard", "a host's smart card cannot follow the VM"},
    {"shmem", "shared host memory cannot follow the VM"},
    {"nvram", "a PV guest has no firmware"},
    {"vsock", "libvirt's Xen driver has no vsock"},
    {"lease", "a lock manager's lease belongs to one host"},
};
// Devices that a PV guest runs well without: dropped, with a note.
constexpr std::string_view kDropped[] = {"graphics", "video", "input", "sound", "audio", "watchdog", "rng", "channel", "hub", "panic"};
constexpr std::string_view kKnown[] = {"disk", "interface", "console", "serial", "emulator", "controller", "memballoon"};

// "524288" of unit KiB (libvirt's default), MiB, ... -> MiB, rounded up.
Result<std::uint64_t> memory_mib(const pugi::xml_node& node) {
    struct Unit {
        std::string_view name;
        std::uint64_t bytes;
    };
    constexpr Unit kUnits[] = {{"b", 1},         {"bytes", 1},       {"KB", 1000},          {"k", 1024},         {"KiB", 1024},          {"MB", 1'000'000},
                               {"M", 1u << 20},  {"MiB", 1u << 20},  {"GB", 1'000'000'000}, {"G", 1u << 30},     {"GiB", 1u << 30}};
    const std::string_view name = node.attribute("unit").as_string("KiB");
    const auto unit = std::ranges::find(kUnits, name, &Unit::name);
    if (unit == std::end(kUnits)) return fail(Kind::kInvalid, "<memory> has the unknown unit '{}'", name);
    BLANKET_TRY(const auto number, parse_number(trim(node.text().as_string()), 1, (std::uint64_t{1} << 43) / unit->bytes, "<memory>"));
    return (number * unit->bytes + (1u << 20) - 1) >> 20;
}

Result<void> take_disk(const pugi::xml_node& node, ImportedVm& vm) {
    const std::string_view type = node.attribute("type").as_string("file"), device = node.attribute("device").as_string("disk");
    const std::string target = node.child("target").attribute("dev").as_string();
    if (device == "cdrom" || device == "floppy") {
        const pugi::xml_node source = node.child("source");
        if (source && (source.attribute("file") || source.attribute("dev")))
            return fail_hint(Kind::kPrecondition, std::format("{} '{}' of '{}' holds a medium: it cannot follow the VM", device, target, vm.name), "eject it first");
        vm.notes.push_back(std::format("empty {} '{}' is left out", device, target));
        return {};
    }
    if (device != "disk") return fail(Kind::kPrecondition, "disk '{}' of '{}' is a '{}': only plain disks can move", target, vm.name, device);
    if (node.child("shareable")) return fail(Kind::kPrecondition, "disk '{}' of '{}' is shared with another VM: it cannot move alone", target, vm.name);
    ImportedDisk disk{.target = target, .kind = DiskSource::kBlock, .path = {}, .readonly = !node.child("readonly").empty()};
    if (type == "block") disk.path = node.child("source").attribute("dev").as_string();
    else if (type == "file") disk = {.target = target, .kind = DiskSource::kFile, .path = node.child("source").attribute("file").as_string(), .readonly = disk.readonly};
    else return fail_hint(Kind::kPrecondition, std::format("disk '{}' of '{}' has the source type '{}': only block devices and files can be imported", target, vm.name, type),
                          "copy it into a file or a logical volume first");
    const std::string_view format = node.child("driver").attribute("type").as_string("raw");
    if (format != "raw")
        return fail_hint(Kind::kPrecondition, std::format("disk '{}' of '{}' has the format {}: only raw disks can be imported", target, vm.name, format),
                         "qemu-img convert -O raw");
    vm.disks.push_back(std::move(disk));
    return {};
}

Result<void> take_interface(const pugi::xml_node& node, ImportedVm& vm) {
    const std::string_view type = node.attribute("type").as_string();
    if (type != "bridge" && type != "network" && type != "ethernet")
        return fail(Kind::kPrecondition, "an interface of '{}' is of type '{}': only bridge, network and ethernet can follow the VM", vm.name, type);
    ImportedNic nic;
    nic.mac = node.child("mac").attribute("address").as_string();
    std::ranges::transform(nic.mac, nic.mac.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    const pugi::xml_node source = node.child("source");
    nic.bridge = source.attribute(type == "network" ? "network" : "bridge").as_string();
    if (nic.bridge.size() > 64) return fail(Kind::kInvalid, "an interface of '{}' names a bridge of {} characters", vm.name, nic.bridge.size());
    vm.nics.push_back(std::move(nic));
    return {};
}

Result<void> take_device(const pugi::xml_node& node, ImportedVm& vm) {
    const std::string_view name = node.name();
    if (name == "disk") return take_disk(node, vm);
    if (name == "interface") return take_interface(node, vm);
    if (const auto refused = std::ranges::find(kRefused, name, &Refusal::element); refused != std::end(kRefused))
        return fail_hint(Kind::kPrecondition, std::format("'{}' has a <{}>: {}", vm.name, name, refused->reason), std::format("remove the <{}> from its definition", name));
    if (std::ranges::contains(kDropped, name)) {
        const std::string note = std::format("<{}> is left out", name);
        if (!std::ranges::contains(vm.notes, note)) vm.notes.push_back(note);
        return {};
    }
    if (std::ranges::contains(kKnown, name)) return {};
    return fail(Kind::kPrecondition, "'{}' has a <{}>, which blanket does not know how to move", vm.name, name.substr(0, 64));
}

}  // namespace

Result<ImportedVm> parse_libvirt_xml(std::string_view xml) {
    constexpr std::size_t kMax = 256 * 1024;
    if (xml.size() > kMax) return fail(Kind::kInvalid, "the definition has {} bytes; at most {} are read", xml.size(), kMax);
    std::size_t depth = 0;  // pugixml's tree functions recurse: bound the nesting first
    for (std::size_t i = 0; i + 1 < xml.size(); ++i) {
        if (xml[i] == '<' && xml[i + 1] == '/') depth -= depth > 0 ? 1 : 0;
        else if (xml[i] == '<' && xml[i + 1] != '!' && xml[i + 1] != '?') ++depth;
        else if (xml[i] == '/' && xml[i + 1] == '>') depth -= depth > 0 ? 1 : 0;
        if (depth > 64) return fail(Kind::kInvalid, "the definition nests more than 64 levels deep");
    }
    pugi::xml_document document;
    const pugi::xml_parse_result parsed = document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
    if (!parsed) return fail(Kind::kInvalid, "the definition is not well-formed XML: {} at byte {}", parsed.description(), parsed.offset);
    const pugi::xml_node domain = document.child("domain");
    if (!domain || domain.next_sibling("domain")) return fail(Kind::kInvalid, "the definition is not exactly one <domain>");

    ImportedVm vm;
    vm.name = std::string(trim(domain.child("name").text().as_string()));
    if (vm.name.empty() || vm.name.size() > 200) return fail(Kind::kInvalid, "the definition has no usable <name>");
    vm.uuid = std::string(trim(domain.child("uuid").text().as_string()));
    std::ranges::transform(vm.uuid, vm.uuid.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    const std::string_view type = domain.attribute("type").as_string();
    if (type != "xen")
        return fail_hint(Kind::kPrecondition, std::format("'{}' is a domain of type '{}': only Xen PV guests run in a blanket", vm.name, type),
                         "its disk may well boot as a PV guest: import it with a definition of type xen");
    const pugi::xml_node os_type = domain.child("os").child("type");
    const std::string_view os = os_type.text().as_string(), machine = os_type.attribute("machine").as_string("xenpv");
    if (os != "linux" && os != "xen" && os != "")
        return fail_hint(Kind::kPrecondition, std::format("'{}' is a guest of type '{}': it needs hardware virtualization, which a blanket does not have", vm.name, os),
                         "its disk may well boot as a PV guest: set <type machine='xenpv'>linux</type>");
    if (machine != "xenpv")
        return fail(Kind::kPrecondition, "'{}' is for the machine '{}': only xenpv runs in a blanket", vm.name, machine);
    if (!domain.child("memory")) return fail(Kind::kInvalid, "'{}' has no <memory>", vm.name);
    BLANKET_TRY(vm.memory_mib, memory_mib(domain.child("memory")));
    if (const pugi::xml_node vcpu = domain.child("vcpu")) {
        BLANKET_TRY(const auto count, parse_number(trim(vcpu.text().as_string()), 1, 128, "<vcpu>"));
        vm.vcpus = static_cast<std::uint32_t>(count);
    }
    if (const std::string_view loader = domain.child_value("bootloader"); !loader.empty())
        vm.notes.push_back("the <bootloader> is replaced by pvgrub, which reads grub.cfg on the disk");
    else if (const std::string_view kernel = domain.child("os").child_value("kernel"); !kernel.empty() && !kernel.ends_with("grub-x86_64-xen.bin"))
        vm.notes.push_back("the <kernel> outside the disk is replaced by pvgrub, which boots the kernel on the disk");
    for (const pugi::xml_node device : domain.child("devices").children()) {
        if (device.type() != pugi::node_element) continue;
        BLANKET_CHECK(take_device(device, vm));
    }
    BLANKET_CHECK(check_imported(vm));
    return vm;
}

}  // namespace blanket
