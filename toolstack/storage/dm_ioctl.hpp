// SPDX-License-Identifier: GPL-2.0-or-later
// The part of dmsetup(8) that storage/ uses, done in this process: the same words, the same output, no fork, no wait for udev.
// Called by LiveSystem for every command that begins with "dmsetup". Source: include/uapi/linux/dm-ioctl.h. Thread safe.
//
//   dmsetup create NAME --uuid UUID [--readonly] --table "0 SECTORS TYPE ARGS"   (make, load, resume; the node in /dev/mapper is there at the return)
//   dmsetup load NAME [--readonly] --table TABLE                                 (into the inactive slot; resume swaps it in)
//   dmsetup suspend --nolockfs NAME | resume NAME | clear NAME | remove NAME | message NAME 0 TEXT
//   dmsetup status NAME | table NAME | info NAME    (info: one line "MAJOR:MINOR LIVE|NONE|SUSPENDED OPENS UUID"; kNotFound when absent)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "toolstack/base/process.hpp"
#include "toolstack/base/result.hpp"

namespace blanket::storage {

struct DmInfo {
    std::uint32_t major = 0, minor = 0;
    bool suspended = false;
    bool live = false;            // has a live table
    std::uint32_t open_count = 0;
    std::string uuid;
    bool operator==(const DmInfo&) const = default;
};

// Errors: kNotFound = no such device (ENXIO), kConflict = busy or exists, kInvalid = words unknown here, else kIo.
Result<std::string> dmsetup(const Argv& argv);
Result<DmInfo> dm_info(const std::string& name);

// What `dmsetup create` and `load` accept as one table line: "start length type args".
struct DmTarget {
    std::uint64_t start = 0, sectors = 0;
    std::string type, params;
    bool operator==(const DmTarget&) const = default;
};
Result<DmTarget> parse_dm_table(std::string_view line);
Result<DmInfo> parse_dm_info(std::string_view line);  // the line of `dmsetup info` above
std::string format_dm_info(const DmInfo& info);

}  // namespace blanket::storage
