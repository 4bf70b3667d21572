// SPDX-License-Identifier: GPL-2.0-or-later
// See thin_plan.hpp.
#include "toolstack/storage/thin_plan.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"

namespace blanket::storage {
namespace {

constexpr std::uint64_t kMinMetadata = 64ull << 20, kMaxMetadata = 15ull << 30;  // dm-thin uses at most 15.8 GiB
constexpr std::uint64_t kMinGroup = 512ull << 20;
constexpr std::uint64_t kExtent = 4ull << 20;

std::string pool_table(const PoolName& pool, std::uint64_t data_bytes) {
    // Blocks are zeroed before their first partial write (no skip_block_zeroing): a guest never sees what another one left. A full pool queues.
    return std::format("0 {} thin-pool {} {} {} {} 1 no_discard_passdown", data_bytes / kBlock * (kBlock / kSector), pool.lv_path(pool.meta_lv()),
                       pool.lv_path(pool.data_lv()), kBlock / kSector, std::max<std::uint64_t>(data_bytes / kBlock / 10, 1));
}

Argv lvcreate(const PoolName& pool, std::string size_option, std::string size, std::string name) {
    return {"lvcreate", "--yes", "--wipesignatures", "y", "--zero", "y", std::move(size_option), std::move(size), "--name", std::move(name), pool.group};
}

}  // namespace

Plan plan_query_group(const PoolName& pool) {
    return {{"vgs", "--noheadings", "--units", "b", "--nosuffix", "--separator", ";", "--options", "vg_size,vg_free", pool.group},
            {"lvs", "--noheadings", "--separator", ";", "--options", "lv_name,segtype,thin_count", pool.group}};
}

Result<GroupState> parse_group(std::string_view vgs, std::string_view lvs, const PoolName& pool) {
    GroupState state;
    const auto sizes = split(trim(vgs), ';');
    if (sizes.size() != 2) return fail(Kind::kInvalid, "vgs answered '{}'", trim(vgs).substr(0, 80));
    BLANKET_TRY(state.size, parse_number(sizes[0], 0, UINT64_MAX, "vg_size"));
    BLANKET_TRY(state.free, parse_number(sizes[1], 0, UINT64_MAX, "vg_free"));
    for (const auto& line : split(lvs, '\n')) {
        if (trim(line).empty()) continue;
        const auto fields = split(trim(line), ';');
        if (fields.size() != 3) return fail(Kind::kInvalid, "lvs answered '{}'", line.substr(0, 80));
        state.data |= fields[0] == pool.data_lv();
        state.meta |= fields[0] == pool.meta_lv();
        if (fields[0] == pool.pool && fields[1] == "thin-pool") {
            state.lvm_pool = true;
            BLANKET_TRY(const auto count, parse_number(fields[2].empty() ? "0" : fields[2], 0, UINT32_MAX, "thin_count"));
            state.lvm_pool_volumes = static_cast<std::uint32_t>(count);
        }
    }
    return state;
}

Result<Plan> plan_pool_lvs(const PoolName& pool, const GroupState& state) {
    Plan plan;
    std::uint64_t free = state.free;
    if (!state.data && state.lvm_pool) {
        if (state.lvm_pool_volumes != 0)
            return fail_hint(Kind::kConflict, std::format("'{}/{}' is an LVM thin pool with {} volumes; blanketd needs a pool of its own", pool.group, pool.pool, state.lvm_pool_volumes),
                             "name another pool in [storage] pool, or move those volumes away and remove it with lvremove");
        plan.push_back({"lvremove", "--yes", pool.group + "/" + pool.pool});
        free = state.size;
    }
    if (state.data && !state.meta)
        return fail_hint(Kind::kConflict, std::format("LV '{}/{}' is missing, but '{}' exists", pool.group, pool.meta_lv(), pool.data_lv()),
                         "restore the metadata LV from a backup (vgcfgrestore); without it the volumes cannot be read");
    if (!state.data) {  // meta without data: a first boot that was cut off between the two; the new pool starts from a zeroed metadata LV
        if (state.meta) plan.push_back({"lvremove", "--yes", pool.group + "/" + pool.meta_lv()});
        if (free < kMinGroup)
            return fail_hint(Kind::kPrecondition, std::format("volume group '{}' has {} free, the pool needs {}", pool.group, format_bytes(free), format_bytes(kMinGroup)),
                             "give the machine a larger disk and add it: pvcreate DISK, vgextend " + pool.group + " DISK");
        const auto metadata = std::clamp(free / 512 / kExtent * kExtent, kMinMetadata, kMaxMetadata);
        plan.push_back(lvcreate(pool, "--size", std::format("{}b", metadata), pool.meta_lv()));
        plan.push_back(lvcreate(pool, "--extents", "95%FREE", pool.data_lv()));
    } else {
        plan.push_back({"lvchange", "--activate", "y", pool.group + "/" + pool.meta_lv(), pool.group + "/" + pool.data_lv()});
    }
    return plan;
}

Argv plan_create_pool(const PoolName& pool, std::uint64_t data_bytes) {
    return {"dmsetup", "create", pool.device(), "--uuid", device_uuid(pool.device()), "--table", pool_table(pool, data_bytes)};
}

Plan plan_grow_pool(const PoolName& pool, std::uint64_t data_bytes) {
    return {{"dmsetup", "load", pool.device(), "--table", pool_table(pool, data_bytes)}, suspend(pool.device()), resume(pool.device())};
}

Argv pool_message(const PoolName& pool, std::string text) { return {"dmsetup", "message", pool.device(), "0", std::move(text)}; }

Argv plan_thin_device(const PoolName& pool, const std::string& device, std::uint32_t thin_id, std::uint64_t size, bool readonly) {
    Argv argv{"dmsetup", "create", device, "--uuid", device_uuid(device)};
    if (readonly) argv.push_back("--readonly");
    argv.push_back("--table");
    argv.push_back(std::format("0 {} thin {} {}", size / kSector, mapper(pool.device()), thin_id));
    return argv;
}

Argv plan_new_thin(const PoolName& pool, std::uint32_t thin_id, std::optional<std::uint32_t> origin) {
    return pool_message(pool, origin ? std::format("create_snap {} {}", thin_id, *origin) : std::format("create_thin {}", thin_id));
}

Argv plan_delete_thin(const PoolName& pool, std::uint32_t thin_id) { return pool_message(pool, std::format("delete {}", thin_id)); }

std::string linear_table(std::uint64_t size, std::string_view device_path) { return std::format("0 {} linear {} 0", size / kSector, device_path); }

Plan plan_create_top(const std::string& id, std::uint64_t size) {
    const auto top = top_device(id);
    return {{"dmsetup", "create", top, "--uuid", device_uuid(top), "--table", linear_table(size, mapper(volume_device(id)))}, suspend(top)};
}

Argv suspend(const std::string& device) { return {"dmsetup", "suspend", "--nolockfs", device}; }
Argv resume(const std::string& device) { return {"dmsetup", "resume", device}; }
Argv remove(const std::string& device) { return {"dmsetup", "remove", device}; }
Argv clear(const std::string& device) { return {"dmsetup", "clear", device}; }

Argv plan_load_top(const std::string& id, std::uint64_t size, std::string_view lower_path) {
    return {"dmsetup", "load", top_device(id), "--table", linear_table(size, lower_path)};
}

Plan plan_snapshot_window(const PoolName& pool, const std::string& id, std::uint32_t origin, std::uint32_t snapshot, bool stay) {
    // Suspending top drains every bio; the thin device is suspended too, as dm-thin's document asks before create_snap of an active origin.
    Plan plan{suspend(top_device(id)), suspend(volume_device(id)), plan_new_thin(pool, snapshot, origin), resume(volume_device(id))};
    if (!stay) plan.push_back(resume(top_device(id)));
    return plan;
}

Argv plan_thin_delta(const PoolName& pool, std::uint32_t from, std::uint32_t to) {
    return {"thin_delta", "--metadata-snap", "--thin1", std::to_string(from), "--thin2", std::to_string(to), pool.lv_path(pool.meta_lv())};
}

Argv plan_thin_dump(const PoolName& pool, std::uint32_t thin_id) {
    return {"thin_dump", "--metadata-snap", "--dev-id", std::to_string(thin_id), "--format", "xml", pool.lv_path(pool.meta_lv())};
}

}  // namespace blanket::storage
