// SPDX-License-Identifier: GPL-2.0-or-later
// See public_ports.hpp.
#include "net/public_ports.hpp"

#include <algorithm>
#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {

void keep_own_ports(std::vector<AnchorPoint>& anchors, const std::set<HostPort>& own, std::vector<std::string>& warnings) {
    for (auto& anchor : anchors) {
        if (!anchor.local) continue;
        std::erase_if(anchor.ports, [&](const AnchorPort& port) {
            if (!own.contains({port.proto, port.port})) return false;
            warnings.push_back(std::format("public port {}:{} for VM '{}' is not opened: this host listens on it itself", port.proto == IpProto::kUdp ? "udp" : "tcp", port.port, port.vm));
            return true;
        });
    }
}

bool any_public(const std::vector<AnchorPoint>& anchors) {
    return std::ranges::any_of(anchors, [](const AnchorPoint& anchor) { return anchor.local && !anchor.ports.empty(); });
}

Result<void> set_forwarding(bool wanted, const std::string& control, const std::string& mark) {
    if (!wanted) {
        if (!std::filesystem::exists(mark)) return {};
        BLANKET_CHECK(write_control(control, "0\n"));
        return remove_file(mark);
    }
    BLANKET_TRY(const std::string now, read_file(control, 64));
    if (trim(now) == "1") return {};
    BLANKET_CHECK(make_dirs(std::filesystem::path(mark).parent_path().string(), 0755));
    BLANKET_CHECK(write_file(mark, "blanketd turned ip_forward on, for public ports of VMs or as a relay between sites\n", 0644));  // before: whoever dies in between turns it off once too often
    return write_control(control, "1\n");
}

}  // namespace blanket::net
