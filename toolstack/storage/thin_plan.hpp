// SPDX-License-Identifier: GPL-2.0-or-later
// The commands of the thin pool and its volumes as pure plans: (state, wish) -> argv lists. ThinStore and ThinMove apply them; --dry-run prints them.
// "dmsetup" lines are carried out by ioctl in the process (dm_ioctl.hpp), so those inside a suspend window cost well under a millisecond each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/process.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {

using Plan = std::vector<Argv>;

// ---- the two LVs of the pool, at blanketd's start
struct GroupState {  // what `lvs` says about the volume group
    std::uint64_t size = 0, free = 0;      // bytes
    bool data = false, meta = false;       // our LVs exist
    bool lvm_pool = false;                 // an LVM thin pool has the pool's own name (made by some other first boot)
    std::uint32_t lvm_pool_volumes = 0;
};
Plan plan_query_group(const PoolName& pool);
Result<GroupState> parse_group(std::string_view vgs, std::string_view lvs, const PoolName& pool);
// Makes what is missing (metadata 1/512 of the group but at least 64 MiB, data 95 % of the rest) and activates both. An *empty* LVM pool of the same name
// is replaced; one with volumes is refused. kPrecondition when the group is too small.
Result<Plan> plan_pool_lvs(const PoolName& pool, const GroupState& state);

// ---- the pool device
Argv plan_create_pool(const PoolName& pool, std::uint64_t data_bytes);
// Data LV grown: a longer table for the running pool.
Plan plan_grow_pool(const PoolName& pool, std::uint64_t data_bytes);

// ---- thin devices
Argv pool_message(const PoolName& pool, std::string text);
Argv plan_thin_device(const PoolName& pool, const std::string& device, std::uint32_t thin_id, std::uint64_t size, bool readonly = false);
// New thin id: an empty one, or a snapshot of `origin` (which must not be written meanwhile).
Argv plan_new_thin(const PoolName& pool, std::uint32_t thin_id, std::optional<std::uint32_t> origin);
Argv plan_delete_thin(const PoolName& pool, std::uint32_t thin_id);

// ---- a volume's top
std::string linear_table(std::uint64_t size, std::string_view device_path);
Plan plan_create_top(const std::string& id, std::uint64_t size);   // over -vol, suspended at the end
Argv suspend(const std::string& device);
Argv resume(const std::string& device);
Argv remove(const std::string& device);
Argv clear(const std::string& device);  // forgets a table that was loaded and not yet resumed into
Argv plan_load_top(const std::string& id, std::uint64_t size, std::string_view lower_path);  // into the inactive slot
// The suspend window of a round: top, then the thin device below it, then the snapshot. `stay` leaves top suspended.
Plan plan_snapshot_window(const PoolName& pool, const std::string& id, std::uint32_t origin, std::uint32_t snapshot, bool stay);

// ---- what changed
Argv plan_thin_delta(const PoolName& pool, std::uint32_t from, std::uint32_t to);
Argv plan_thin_dump(const PoolName& pool, std::uint32_t thin_id);

}  // namespace blanket::storage
