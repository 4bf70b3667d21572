// SPDX-License-Identifier: GPL-2.0-or-later
// The commands of DRBD 8.4 over one volume, as pure plans. drbdsetup-84 and drbdmeta are called directly: no configuration file, one fork per step.
// Used by Mirror. DRBD speaks without encryption: the addresses are the WireGuard ones.
#pragma once

#include <cstdint>
#include <string>

#include "toolstack/storage/id_table.hpp"
#include "toolstack/storage/thin_plan.hpp"

namespace blanket::storage {

// DRBD's metadata: superblock, activity log, one bit per 4 KiB of the volume; rounded up to pool blocks. Bytes.
std::uint64_t mirror_meta_size(std::uint64_t volume_size);

// Under, fresh metadata, resource, disk and connection: Secondary, Inconsistent, connecting. -vol and -meta are active already.
Plan plan_mirror_up(const std::string& id, std::uint64_t size, const MirrorFacts& facts);
// The last step of plan_mirror_up alone: after plan_mirror_cut.
Argv plan_mirror_connect(const std::string& id, const MirrorFacts& facts);
// At the source, both ends Connected and equal: declares them equal (no block is synced) and takes the primary role.
Plan plan_mirror_primary(const MirrorFacts& facts);
Argv plan_mirror_protocol(const MirrorFacts& facts, char protocol);
// Cuts the connection at once, whatever the peer or the network does: requests that wait for it complete on the local disk.
Argv plan_mirror_cut(const MirrorFacts& facts);
// After nothing holds the device open: role, disk, minor and resource go.
Plan plan_mirror_down(const std::string& id, const MirrorFacts& facts);
Argv plan_mirror_verify(const MirrorFacts& facts);

Result<void> check_mirror(const MirrorFacts& facts);  // canonical IPv4 addresses, port >= 1024

}  // namespace blanket::storage
