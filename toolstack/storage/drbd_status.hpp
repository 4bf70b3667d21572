// SPDX-License-Identifier: GPL-2.0-or-later
// /proc/drbd of DRBD 8.4, read. Pure. Used by Mirror to wait and to judge, and to find a free minor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::storage {

struct DrbdStatus {
    std::string connection;                  // "Connected", "WFConnection", "StandAlone", "VerifyS", ... ; "Unconfigured"
    std::string role, peer_role;             // "Primary", "Secondary", "Unknown"
    std::string disk, peer_disk;             // "UpToDate", "Inconsistent", "Diskless", "DUnknown", ...
    char protocol = '?';
    std::uint64_t local_pending = 0, pending = 0, unacked = 0, applying = 0;  // lo, pe, ua, ap
    std::uint64_t out_of_sync_kib = 0;       // oos
    bool suspended_io = false;               // r-flags begin with 's'
    [[nodiscard]] bool connected() const { return connection == "Connected"; }
    // Both ends hold the same data and writes arrive.
    [[nodiscard]] bool in_step() const { return connected() && disk == "UpToDate" && peer_disk == "UpToDate" && out_of_sync_kib == 0; }
    bool operator==(const DrbdStatus&) const = default;
};

// By minor. Unknown further lines (resync progress) are skipped; a device line that cannot be read is kInvalid.
Result<std::map<std::uint32_t, DrbdStatus>> parse_proc_drbd(std::string_view text);
std::string describe(const DrbdStatus& status);  // "Connected, Primary/Secondary, UpToDate/UpToDate, 0 KiB out of sync"

}  // namespace blanket::storage
