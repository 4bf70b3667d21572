// SPDX-License-Identifier: GPL-2.0-or-later
// What blanket-hotplug decides from its arguments and the xenstore, and the OVSDB requests that it sends. Pure; tested with literals.
// Protocol of Xen's hotplug scripts: Xen 4.20 tools/hotplug/Linux/{block,vif-bridge}, tools/libs/light/libxl_linux.c.
// OVSDB: RFC 7047 over /run/openvswitch/db.sock.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"

namespace blanket {

enum class HotplugKind { kBlock, kVif };
enum class HotplugAction { kAttach, kDetach, kNothing };  // kNothing: a call that this device type does not use

struct HotplugCall {
    HotplugKind kind = HotplugKind::kBlock;
    HotplugAction action = HotplugAction::kNothing;
    std::string xenbus_path;  // "backend/vif/5/0", relative to dom0's home
    std::string vif;          // "vif5.0"; empty for a disk
    bool own_bridge = false;  // called as vif-blanket: br-int whatever the xenstore says
};

// argv[0]'s base name chooses the kind: block; vif-blanket, vif-bridge, vif-openvswitch. `env` holds XENBUS_PATH and vif.
Result<HotplugCall> parse_hotplug(const std::vector<std::string>& argv, const std::map<std::string, std::string>& env);

struct VifPort {
    std::string bridge, vif, vm_uuid, mac;
};

// OVSDB requests (method transact). find: does the bridge exist, which ports carry this name?
Json ovs_find(const std::string& bridge, const std::string& vif);
struct OvsFound {
    bool bridge = false;
    std::vector<std::string> old_ports;  // row UUIDs
};
Result<OvsFound> parse_ovs_found(const Json& reply);
Json ovs_attach(const VifPort& port, const OvsFound& found);  // replaces a leftover port of that name
Json ovs_detach(const OvsFound& found);
Result<void> check_ovs_reply(const Json& reply);  // kIo with the first error in it

// "8:1" as the xenstore wants it for physical-device: hexadecimal without a prefix.
std::string physical_device(unsigned major_number, unsigned minor_number);

}  // namespace blanket
