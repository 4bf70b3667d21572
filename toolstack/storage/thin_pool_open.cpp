// SPDX-License-Identifier: GPL-2.0-or-later
// How the pool comes up at blanketd's start: LVs (made on an empty volume group), pool device, id table. See thin_pool.hpp.
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/storage/thin_pool.hpp"

namespace blanket::storage {
namespace {

Result<std::uint64_t> device_size(System& system, const std::string& path) {
    BLANKET_TRY(const UniqueFd fd, system.open_device(path, false));
    const off_t end = ::lseek(fd.get(), 0, SEEK_END);
    if (end <= 0) return fail_errno("lseek", path);
    return static_cast<std::uint64_t>(end);
}

}  // namespace

Result<std::unique_ptr<ThinPool>> ThinPool::open(PoolName name, std::string table_path, std::shared_ptr<System> system) {
    std::unique_ptr<ThinPool> pool(new ThinPool(std::move(name), std::move(table_path), std::move(system)));
    BLANKET_CHECK(pool->activate_pool());
    BLANKET_CHECK(pool->load_table());
    return pool;
}

Result<void> ThinPool::make_logical_volumes() {
    if (system_->exists(name_.lv_path(name_.data_lv())) && system_->exists(name_.lv_path(name_.meta_lv()))) return {};
    constexpr auto kSlow = std::chrono::minutes(2);
    const auto query = plan_query_group(name_);
    auto groups = system_->run(query[0], kSlow);
    if (!groups)
        return fail_hint(Kind::kPrecondition, std::format("volume group '{}' cannot be read: {}", name_.group, groups.error().what),
                         std::format("make it on a free disk or partition: vgcreate {} DISK", name_.group));
    BLANKET_TRY(const auto volumes, system_->run(query[1], kSlow));
    BLANKET_TRY(const auto state, parse_group(*groups, volumes, name_));
    BLANKET_TRY(const auto plan, plan_pool_lvs(name_, state));
    for (const auto& argv : plan) log::info("storage", "{}", to_string(argv));
    return apply(*system_, plan, kSlow);
}

Result<void> ThinPool::activate_pool() {
    if (auto done = system_->run({"modprobe", "dm_thin_pool"}); !done) log::warning("storage", "{}", done.error().what);
    // A full pool holds writes back until space is added; the kernel's default fails them after 60 s.
    if (auto done = system_->write_text("/sys/module/dm_thin_pool/parameters/no_space_timeout", "0"); !done)
        log::warning("storage", "a full pool will fail writes after a minute: {}", done.error().what);
    BLANKET_CHECK(make_logical_volumes());
    BLANKET_TRY(const auto bytes, device_size(*system_, name_.lv_path(name_.data_lv())));
    BLANKET_TRY(const auto present, info(name_.device()));
    if (!present) {
        BLANKET_CHECK(system_->run(plan_create_pool(name_, bytes)));
    } else {
        BLANKET_TRY(const auto line, system_->run({"dmsetup", "table", name_.device()}));
        BLANKET_TRY(const auto target, parse_dm_table(line));
        if (target.sectors + kBlock / kSector <= bytes / kSector) BLANKET_CHECK(apply(*system_, plan_grow_pool(name_, bytes)));
    }
    BLANKET_TRY(const auto now, status());
    if (now.failed)
        return fail_hint(Kind::kIo, std::format("the thin pool {}/{} has failed", name_.group, name_.pool),
                         std::format("stop blanketd, run thin_check {}, and thin_repair if it finds errors", name_.lv_path(name_.meta_lv())));
    if (now.metadata_snapshot) BLANKET_CHECK(system_->run(pool_message(name_, "release_metadata_snap")));  // of a blanketd that died
    return {};
}

Result<PoolStatus> ThinPool::status() {
    BLANKET_TRY(const auto line, system_->run({"dmsetup", "status", name_.device()}));
    return parse_pool_status(line);
}

Result<void> ThinPool::load_table() {
    const auto text = read_file(table_path_, 64u << 20);
    const std::lock_guard lock(mutex_);
    if (!text && text.error().kind == Kind::kNotFound) {
        BLANKET_TRY(const auto now, status());
        if (now.used_data != 0)
            return fail_hint(Kind::kConflict, std::format("the pool holds {} of data, but its table {} is missing", format_bytes(now.used_data * kBlock), table_path_),
                             std::format("restore {} from a backup, or wipe the pool: lvremove {}/{} {}/{}", table_path_, name_.group, name_.data_lv(), name_.group, name_.meta_lv()));
        return save(IdTable{});
    }
    if (!text) return std::unexpected(text.error());
    auto table = parse_id_table(*text);
    if (!table) return std::unexpected(std::move(table).error().context(table_path_));
    table_ = std::move(*table);
    return {};
}

}  // namespace blanket::storage
