// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket uplink list|stat`: the disks and network cards that the provider gave this host, what drives each, and the better way where there is one.
// Gathered from /sys below a root (tests give a fake one); what cannot be read is empty. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"

namespace blanket {

enum class UplinkPath : std::uint8_t {
    kUnknown,
    kParavirtual,  // made for virtual machines: virtio, Xen, VMBus, vmxnet3
    kNative,       // a device's own driver: NVMe, ENA, a real card
    kEmulated,     // old hardware played by the provider; each access is a trap
};
std::string_view to_string(UplinkPath path);  // "paravirtual", "native", "emulated", "unknown"

struct HostUplink {
    std::string name;    // "eth0", "vda"
    std::string kind;    // "nic" or "disk"
    std::string driver;  // "virtio_net", "uplink-blk"; empty = not known
    std::string device;  // the device's name in /sys: "0000:00:03.0", "vif-0"
    std::string state;   // of the handshake with the provider's backend; empty where there is none
    UplinkPath path = UplinkPath::kUnknown;
    std::map<std::string, std::uint64_t> counters;  // read_bytes, written_bytes, reads, writes, errors, since the device came
};

struct Uplinks {
    std::vector<HostUplink> list;  // disks, then network cards, by name
    std::string provider;      // by what the firmware says: "QEMU or KVM", "bare metal", ...
    std::string provider_xen;  // "xen 4.17" when the uplink modules are at work; empty otherwise
    std::map<std::string, std::string> left_alone;  // kind ("nic", "disk") -> why the provider's paravirtual ones are not used: "driven", "asked", "refused" (blanket-drivers/README.md)
    std::map<std::string, std::uint64_t> bus;  // their counters: ports, grants, upcalls, ...
};

Uplinks gather_uplinks(const std::string& root = {});
// Pure. Empty where the way is a good one. `real_hardware`: no provider emulates anything here.
UplinkPath path_of_driver(const std::string& driver, bool real_hardware);
std::string better_way(const HostUplink& uplink, const Uplinks& all);
std::string summary(const HostUplink& uplink);  // "xvda by uplink-blk, paravirtual"
std::string provider_summary(const std::string& provider, const std::string& provider_xen);
Json to_json(const Uplinks& uplinks);  // {"uplinks":[{name,kind,driver,device,state,path,better,counters}],"provider":"","provider_xen":"","left_alone":{},"bus":{}}

}  // namespace blanket
