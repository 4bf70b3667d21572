// SPDX-License-Identifier: GPL-2.0-or-later
// A VM definition from outside (libvirt XML or xl.cfg) as plain values, and what blanket refuses in it. Used by blanketd's import and adoption.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"

namespace blanket {

enum class DiskSource : std::uint8_t { kBlock, kFile };

struct ImportedDisk {
    std::string target;  // "xvda"
    DiskSource kind = DiskSource::kBlock;
    std::string path;  // absolute
    bool readonly = false;
    bool operator==(const ImportedDisk&) const = default;
};

struct ImportedNic {
    std::string mac;     // lower case; empty = not given
    std::string bridge;  // as the definition names it; empty = not given
    bool operator==(const ImportedNic&) const = default;
};

struct ImportedVm {
    std::string name;
    std::string uuid;  // empty = not given
    std::uint64_t memory_mib = 0;
    std::uint32_t vcpus = 1;
    std::vector<ImportedDisk> disks;
    std::vector<ImportedNic> nics;
    std::vector<std::string> notes;  // what the definition asks for and the imported VM will not have ("bootloader pygrub: pvgrub is used")
    bool operator==(const ImportedVm&) const = default;
};

Json to_json(const ImportedVm& vm);
Result<ImportedVm> imported_from_json(const Json& json);  // the reverse, checked (check_imported)

// At most 256 KiB of libvirt domain XML. kInvalid: malformed or out of bounds, with the place. kPrecondition: a thing that cannot move (an HVM guest,
// hostdev, ...), by its name and with the reason and what to do.
Result<ImportedVm> parse_libvirt_xml(std::string_view xml);
// At most 256 KiB of an xl.cfg(5), parsed by Xen's own libxlutil. Errors as above. A library of its own (blanket_xl_config): blanketd calls read_xl_config.
Result<ImportedVm> parse_xl_config(std::string_view text);
// The same in a process of its own, blanket-xl-config: a parser written in C reads a stranger's file, and blanketd stays without libxl. What comes back
// is checked again. Also kIo when the program fails otherwise, kTimeout after ten seconds.
Result<ImportedVm> read_xl_config(std::string_view text, const std::string& program = "/usr/libexec/blanket/blanket-xl-config");

// For adoption as it stands (a VM made by virt-install): every disk must be one of our volumes. kPrecondition names the first that is not.
Result<void> check_adoptable(const ImportedVm& vm);

// Shared by both parsers: bounds, unique targets and MACs, at least one disk.
Result<void> check_imported(const ImportedVm& vm);

}  // namespace blanket
