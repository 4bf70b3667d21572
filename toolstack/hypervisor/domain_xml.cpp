// SPDX-License-Identifier: GPL-2.0-or-later
// Building domain XML; see domain_xml.hpp. Escaping is pugixml's.
#include "toolstack/hypervisor/domain_xml.hpp"

#include <pugixml.hpp>
#include <sstream>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

pugi::xml_node add(pugi::xml_node parent, const char* name, const std::string& text = {}) {
    pugi::xml_node node = parent.append_child(name);
    if (!text.empty()) node.text().set(text.c_str());
    return node;
}

pugi::xml_node set(pugi::xml_node node, const char* name, const std::string& value) {
    node.append_attribute(name).set_value(value.c_str());
    return node;
}

}  // namespace

std::string top_device(const std::string& volume_id) { return std::format("/dev/mapper/bs-{}-top", volume_id); }

Result<std::string> build_domain_xml(const VmRecord& vm, const DomainXmlOptions& options) {
    BLANKET_CHECK(check_uuid(vm.uuid));
    BLANKET_CHECK(check_name(vm.name, "VM name"));
    if (vm.memory_mib == 0 || vm.vcpus == 0) return fail(Kind::kInvalid, "VM '{}' has {} MiB of memory and {} vcpus", vm.name, vm.memory_mib, vm.vcpus);
    pugi::xml_document document;
    const pugi::xml_node domain = set(document.append_child("domain"), "type", "xen");
    add(domain, "name", vm.name);
    add(domain, "uuid", vm.uuid);
    set(add(domain, "memory", std::to_string(vm.memory_mib * 1024)), "unit", "KiB");
    set(add(domain, "currentMemory", std::to_string(vm.memory_mib * 1024)), "unit", "KiB");
    add(domain, "vcpu", std::to_string(vm.vcpus));
    const pugi::xml_node os = add(domain, "os");
    set(set(add(os, "type", "linux"), "arch", "x86_64"), "machine", "xenpv");
    add(os, "kernel", options.kernel);
    set(add(domain, "clock"), "offset", "utc");
    add(domain, "on_poweroff", "destroy");
    add(domain, "on_reboot", "restart");
    add(domain, "on_crash", "destroy");
    const pugi::xml_node devices = add(domain, "devices");
    for (const Volume& volume : vm.volumes) {
        BLANKET_CHECK(check_name(volume.id, "volume id"));
        BLANKET_CHECK(check_name(volume.target, "disk target"));
        const pugi::xml_node disk = set(set(add(devices, "disk"), "type", "block"), "device", "disk");
        set(set(add(disk, "driver"), "name", "phy"), "type", "raw");
        set(add(disk, "source"), "dev", top_device(volume.id));
        set(set(add(disk, "target"), "dev", volume.target), "bus", "xen");
    }
    if (vm.seed) {
        const pugi::xml_node disk = set(set(add(devices, "disk"), "type", "block"), "device", "disk");
        set(set(add(disk, "driver"), "name", "phy"), "type", "raw");
        set(add(disk, "source"), "dev", seed_device(vm.uuid));
        set(set(add(disk, "target"), "dev", kSeedTarget), "bus", "xen");
        add(disk, "readonly");
    }
    for (const Nic& nic : vm.nics) {
        BLANKET_CHECK(check_mac(nic.mac));
        const pugi::xml_node interface = set(add(devices, "interface"), "type", "ethernet");
        set(add(interface, "mac"), "address", nic.mac);
        set(add(interface, "script"), "path", options.vif_script);
    }
    const pugi::xml_node console = set(add(devices, "console"), "type", "pty");
    set(set(add(console, "target"), "type", "xen"), "port", "0");
    std::ostringstream out;
    document.save(out, "  ", pugi::format_indent | pugi::format_no_declaration);
    return std::move(out).str();
}

}  // namespace blanket
