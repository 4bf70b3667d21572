// SPDX-License-Identifier: GPL-2.0-or-later
// The thin devices and the id table of thin_pool.hpp; the pool's own activation is in thin_pool_open.cpp.
#include <algorithm>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/storage/thin_pool.hpp"

namespace blanket::storage {

ThinPool::ThinPool(PoolName name, std::string table_path, std::shared_ptr<System> system)
    : name_(std::move(name)), table_path_(std::move(table_path)), system_(std::move(system)) {}

IdTable ThinPool::table() {
    const std::lock_guard lock(mutex_);
    return table_;
}

Result<ThinEntry> ThinPool::find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    if (const auto* entry = table_.find(key)) return *entry;
    return fail(Kind::kNotFound, "there is no '{}' in pool {}/{}", key, name_.group, name_.pool);
}

Result<void> ThinPool::save(IdTable next) {
    BLANKET_CHECK(write_file(table_path_, to_json(next).dump(1) + "\n", 0600));
    table_ = std::move(next);
    return {};
}

Result<ThinEntry> ThinPool::reserve(const std::string& key, ThinEntry entry) {
    const std::lock_guard lock(mutex_);
    IdTable next = table_;
    BLANKET_TRY(auto made, next.allocate(key, std::move(entry)));
    BLANKET_CHECK(save(std::move(next)));
    return made;
}

Result<void> ThinPool::make(const ThinEntry& entry, std::optional<std::uint32_t> origin) {
    BLANKET_CHECK(system_->run(plan_new_thin(name_, entry.id, origin)));
    return {};
}

Result<void> ThinPool::update(const std::string& key, const std::function<void(ThinEntry&)>& change) {
    const std::lock_guard lock(mutex_);
    IdTable next = table_;
    const auto at = next.entries.find(key);
    if (at == next.entries.end()) return fail(Kind::kNotFound, "there is no '{}' in pool {}/{}", key, name_.group, name_.pool);
    change(at->second);
    if (next == table_) return {};
    return save(std::move(next));
}

Result<void> ThinPool::set_ready(const std::string& key) {
    return update(key, [](ThinEntry& entry) { entry.state = ThinState::kReady; });
}

Result<void> ThinPool::destroy(const std::string& key, const std::string& device) {
    const auto entry = find(key);
    if (!entry) return {};
    BLANKET_CHECK(update(key, [](ThinEntry& it) { it.state = ThinState::kRemoving; }));
    BLANKET_CHECK(remove_device(device));
    if (auto done = system_->run(plan_delete_thin(name_, entry->id)); !done && done.error().kind != Kind::kNotFound)
        return std::unexpected(std::move(done).error().context(key));
    const std::lock_guard lock(mutex_);
    IdTable next = table_;
    next.entries.erase(key);
    return save(std::move(next));
}

Result<void> ThinPool::activate(const std::string& device, const ThinEntry& entry, bool readonly) {
    BLANKET_TRY(const auto present, info(device));
    if (present) return {};
    BLANKET_CHECK(system_->run(plan_thin_device(name_, device, entry.id, entry.size, readonly)));
    return {};
}

Result<std::optional<DmInfo>> ThinPool::info(const std::string& device) {
    auto line = system_->run({"dmsetup", "info", device});
    if (!line && line.error().kind == Kind::kNotFound) return std::nullopt;
    if (!line) return std::unexpected(std::move(line).error());
    BLANKET_TRY(auto facts, parse_dm_info(*line));
    if (facts.uuid != device_uuid(device))
        return fail_hint(Kind::kConflict, std::format("/dev/mapper/{} exists, but is not ours (UUID '{}')", device, facts.uuid), "remove it: dmsetup remove " + device);
    return facts;
}

Result<void> ThinPool::remove_device(const std::string& device) {
    BLANKET_TRY(const auto present, info(device));
    if (!present) return {};
    BLANKET_CHECK(system_->run(remove(device)));
    return {};
}

Result<std::string> ThinPool::lower_of(const std::string& device) {
    BLANKET_TRY(const auto line, system_->run({"dmsetup", "table", device}));
    BLANKET_TRY(const auto target, parse_dm_table(line));
    if (target.type != "linear") return fail(Kind::kConflict, "{} is not a linear device but '{}'", device, target.type);
    return target.params.substr(0, target.params.find(' '));
}

Result<std::string> ThinPool::with_metadata_snapshot(const Argv& reader, const Argv& first) {
    const std::lock_guard one_at_a_time(metadata_snapshot_);
    if (!first.empty()) BLANKET_CHECK(system_->run(first));
    if (auto reserved = system_->run(pool_message(name_, "reserve_metadata_snap")); !reserved) {
        if (reserved.error().kind != Kind::kConflict) return reserved;
        BLANKET_CHECK(apply(*system_, {pool_message(name_, "release_metadata_snap"), pool_message(name_, "reserve_metadata_snap")}));  // one that a failed release left
    }
    auto text = system_->run(reader, std::chrono::minutes(5));
    auto released = system_->run(pool_message(name_, "release_metadata_snap"));
    if (!released) log::warning("storage", "the pool's metadata snapshot stays until the next use: {}", released.error().what);
    return text;
}

Result<std::uint16_t> ThinPool::take_port(const std::string& key, std::span<const std::uint16_t> ports) {
    const std::lock_guard lock(mutex_);
    std::set<std::uint16_t> taken = ports_;
    for (const auto& [other, entry] : table_.entries)
        if (entry.mirror && other != key) taken.insert(entry.mirror->port);
    const auto free = std::ranges::find_if(ports, [&](std::uint16_t port) { return !taken.contains(port); });
    if (free == ports.end()) return fail(Kind::kConflict, "mirrors of other volumes have the TCP port, or all of those that there are");
    ports_.insert(*free);
    return *free;
}

void ThinPool::give_port_back(std::uint16_t port) {
    const std::lock_guard lock(mutex_);
    ports_.erase(port);
}

Result<MirrorFacts> ThinPool::reserve_mirror(const std::string& key, MirrorFacts facts, const std::set<std::uint32_t>& busy) {
    const std::lock_guard lock(mutex_);
    std::set<std::uint32_t> taken = busy;
    for (const auto& [other, entry] : table_.entries) {
        if (!entry.mirror) continue;
        taken.insert(entry.mirror->minor);
        if (other != key && entry.mirror->local == facts.local && entry.mirror->port == facts.port)
            return fail_hint(Kind::kConflict, std::format("the mirror of '{}' has TCP port {}", other, facts.port), "wait until the other migration has ended");
    }
    facts.minor = 0;
    while (taken.contains(facts.minor)) ++facts.minor;
    if (facts.minor > 255) return fail_hint(Kind::kConflict, "all DRBD minors 0..255 are in use", "wait until another migration has ended");
    IdTable next = table_;
    const auto at = next.entries.find(key);
    if (at == next.entries.end()) return fail(Kind::kNotFound, "there is no '{}'", key);
    at->second.mirror = facts;
    BLANKET_CHECK(save(std::move(next)));
    return facts;
}

}  // namespace blanket::storage
