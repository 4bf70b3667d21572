// SPDX-License-Identifier: GPL-2.0-or-later
// ThinStore's volumes and the clean-up at start; images are in images.cpp. See thin_store.hpp.
#include "toolstack/storage/thin_store.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/storage/mirror.hpp"

namespace blanket::storage {

Result<std::unique_ptr<ThinStore>> ThinStore::create(const std::string& pool, const std::string& table_path, std::shared_ptr<System> system) {
    BLANKET_TRY(auto name, parse_pool_name(pool));
    BLANKET_TRY(auto thin, ThinPool::open(std::move(name), table_path, std::move(system)));
    std::unique_ptr<ThinStore> store(new ThinStore(std::move(thin)));
    store->collect_garbage();
    return store;
}

void ThinStore::collect_garbage() {
    const IdTable table = thin_->table();
    for (const auto& key : table.garbage()) {
        const auto& entry = table.entries.at(key);
        const auto dash = key.find('-');
        std::string id = key.substr(dash + 1);
        Result<void> done;
        if (entry.kind == ThinKind::kVolume) {
            done = remove_volume(id);
        } else if (entry.kind == ThinKind::kSnapshot) {
            id = id.substr(0, id.rfind('-'));
            done = thin_->destroy(key, snapshot_device(id));
        } else {
            done = thin_->destroy(key, entry.kind == ThinKind::kImage ? image_device(entry.sha256) : meta_device(id));
        }
        if (done) log::info("storage", "removed '{}', left by an action that did not end", key);
        else log::warning("storage", "'{}', left by an action that did not end, cannot be removed yet: {}", key, done.error().what);
    }
}

Result<PoolFacts> ThinStore::pool() {
    BLANKET_TRY(const auto status, thin_->status());
    return facts_of(status);
}

Result<std::vector<VolumeFacts>> ThinStore::volumes() {
    std::vector<VolumeFacts> here;
    for (const auto& [key, entry] : thin_->table().entries)
        if (entry.kind == ThinKind::kVolume) here.push_back({key.substr(volume_key("").size()), entry.epoch, entry.first});
    return here;
}

Result<void> ThinStore::create_volume(const Volume& volume, std::uint64_t first_epoch) {
    BLANKET_CHECK(check_volume_id(volume.id));
    if (volume.size == 0 || volume.size % kBlock != 0 || volume.size > kMaxVolume)
        return fail_hint(Kind::kInvalid, std::format("a disk of {} bytes cannot be made", volume.size), "give a multiple of 64 KiB, at most 16 TiB");
    std::optional<std::uint32_t> origin;
    if (!volume.image.empty()) {
        BLANKET_TRY(const auto image, ready_image(volume.image));
        if (volume.size < image.size)
            return fail_hint(Kind::kInvalid, std::format("a disk of {} is smaller than its image ({})", format_bytes(volume.size), format_bytes(image.size)),
                             std::format("ask for at least {} bytes", image.size));
        origin = image.id;
    }
    BLANKET_TRY(const auto status, thin_->status());
    BLANKET_CHECK(admit_new(status));
    const auto key = volume_key(volume.id);
    auto reserved = thin_->reserve(key, {.kind = ThinKind::kVolume, .size = volume.size, .sha256 = volume.image, .first = std::max<std::uint64_t>(1, first_epoch), .mirror = {}});
    if (!reserved) return std::unexpected(std::move(reserved).error().context("making a volume"));
    const auto build = [&]() -> Result<void> {
        BLANKET_CHECK(thin_->make(*reserved, origin));
        BLANKET_CHECK(thin_->activate(volume_device(volume.id), *reserved));
        BLANKET_CHECK(apply(thin_->system(), plan_create_top(volume.id, volume.size)));
        return thin_->set_ready(key);
    };
    auto done = build();
    if (done) return {};
    if (auto undone = remove_volume(volume.id); !undone) log::warning("storage", "leftovers of volume '{}' stay until the next start: {}", volume.id, undone.error().what);
    return done;
}

Result<ThinEntry> ThinStore::activate_volume(const std::string& id) {
    BLANKET_CHECK(check_volume_id(id));
    BLANKET_TRY(auto entry, thin_->find(volume_key(id)));
    if (entry.state != ThinState::kReady) return fail(Kind::kConflict, "volume '{}' is being {}", id, entry.state == ThinState::kMaking ? "made" : "removed");
    BLANKET_CHECK(thin_->activate(volume_device(id), entry));
    BLANKET_TRY(const auto top, thin_->info(top_device(id)));
    if (!top) BLANKET_CHECK(apply(thin_->system(), plan_create_top(id, entry.size)));
    return entry;
}

Result<void> ThinStore::raise_epoch(const std::string& id, std::uint64_t epoch) {
    BLANKET_TRY(const auto entry, thin_->find(volume_key(id)));
    if (epoch < entry.epoch)
        return fail_hint(Kind::kConflict, std::format("volume '{}' was opened under epoch {}; epoch {} is stale", id, entry.epoch, epoch),
                         "the VM belongs to another site now: blanket vm show NAME");
    if (epoch < entry.first)
        return fail_hint(Kind::kConflict, std::format("volume '{}' is of a move that no commit has ended: epoch {} may open it, not {}", id, entry.first, epoch),
                         "blanket vm show NAME tells where the VM is");
    return thin_->update(volume_key(id), [&](ThinEntry& it) { it.epoch = epoch; });
}

Result<void> ThinStore::open_volume(const std::string& id, std::uint64_t epoch) {
    BLANKET_TRY(const auto entry, activate_volume(id));
    const auto top = top_device(id);
    BLANKET_TRY(const auto volume, thin_->info(volume_device(id)));
    BLANKET_TRY(const auto lower, thin_->lower_of(top));
    if (!volume || lower != std::format("{}:{}", volume->major, volume->minor))
        return fail_hint(Kind::kConflict, std::format("{} lies over {}, not over its volume: a move of volume '{}' has not ended", top, lower, id), "the move must be finished or given up first");
    BLANKET_CHECK(raise_epoch(id, epoch));
    BLANKET_TRY(const auto state, thin_->info(top));
    if (state && !state->suspended) return {};
    // A move that died may have left DRBD's table in the inactive slot: a resume would swap it in.
    BLANKET_CHECK(apply(thin_->system(), {clear(top), resume(top)}));
    return {};
}

Result<void> ThinStore::close_volume(const std::string& id) {
    BLANKET_CHECK(check_volume_id(id));
    const auto top = top_device(id);
    BLANKET_TRY(const auto state, thin_->info(top));
    if (!state || state->suspended) return {};
    BLANKET_CHECK(thin_->system().run(suspend(top)));
    return {};
}

Result<void> ThinStore::fence_volume(const std::string& id, std::uint64_t first_epoch) {
    BLANKET_CHECK(check_volume_id(id));
    if (!thin_->find(volume_key(id))) return {};
    return thin_->update(volume_key(id), [&](ThinEntry& it) { it.first = std::max(it.first, first_epoch); });
}

Result<void> ThinStore::remove_volume(const std::string& id) {
    BLANKET_CHECK(check_volume_id(id));
    const auto key = volume_key(id), top = top_device(id);
    BLANKET_TRY(const auto state, thin_->info(top));
    if (state && state->open_count != 0)
        return fail_hint(Kind::kConflict, std::format("volume '{}' is in use", id), "stop the VM first: blanket vm destroy NAME");
    if (!thin_->find(key)) return {};
    BLANKET_CHECK(thin_->update(key, [](ThinEntry& it) { it.state = ThinState::kRemoving; }));
    BLANKET_CHECK(thin_->remove_device(top));
    BLANKET_CHECK(Mirror(*thin_, id).down());
    for (const auto& snapshot : thin_->table().snapshots_of(id)) BLANKET_CHECK(thin_->destroy(snapshot, snapshot_device(id)));
    return thin_->destroy(key, volume_device(id));
}

}  // namespace blanket::storage
