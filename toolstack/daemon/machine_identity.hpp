// SPDX-License-Identifier: GPL-2.0-or-later
// Is this the machine whose site this disk is? A disk that was copied holds another site's keys and its seat in the registry: two machines with one vote
// each time they are asked could give a VM two owners. blanketd asks at its start, before etcd.
#pragma once

#include <string>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket {

struct MachineFacts {
    std::string system_uuid;         // DMI; empty when the firmware has none worth the name
    std::vector<std::string> macs;   // of physical network cards, sorted
    bool operator==(const MachineFacts&) const = default;
};

// Below `root` ("" = this machine): /sys/class/dmi/id, /sys/class/net.
MachineFacts read_machine(const std::string& root = {});
// Pure. The same UUID, or a network card in common. What nothing is known of may be anything.
bool same_machine(const MachineFacts& a, const MachineFacts& b);
// Compares with what `path` remembers, and writes it when it is absent or less. kPrecondition: this disk is another machine's.
Result<void> check_machine(const std::string& path, const MachineFacts& now);

}  // namespace blanket
