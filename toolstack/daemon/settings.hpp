// SPDX-License-Identifier: GPL-2.0-or-later
// /etc/blanket/blanket.toml: what this host is told from outside. Unknown keys are refused by name, so that a typing error is seen.
#pragma once

#include <cstdint>
#include <string>

#include "toolstack/base/result.hpp"

namespace blanket {

struct Settings {
    std::string site;             // [site] name; default: the host's name
    std::string uplink;           // [site] uplink: interface; empty = the one of the default route, or the only one with an address
    std::string address;          // [site] address: what other sites reach; empty = the uplink's own
    std::string volume_group = "blanket";  // [storage] volume_group
    std::uint64_t content_store_mib = 1024;  // [storage] content_store_mib: quota of the content store; 0: none
    std::string root = "/var/lib/blanket";
    std::string run = "/run/blanket";
};

Result<Settings> parse_settings(const std::string& toml, const std::string& hostname);
// Reads the file (absent = all defaults).
Result<Settings> load_settings(const std::string& path);

struct Uplink {
    std::string interface, address;
};
// From `ip -json -4 address` and `ip -json -4 route show default`; pure.
Result<Uplink> choose_uplink(const std::string& addresses_json, const std::string& routes_json, const std::string& wanted);
// Whether one of this host's interfaces has it, the uplink or another one; pure.
bool has_address(const std::string& addresses_json, const std::string& address);

}  // namespace blanket
