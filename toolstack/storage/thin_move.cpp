// SPDX-License-Identifier: GPL-2.0-or-later
// The rounds of a move: snapshots, deltas, reading and writing extents. The mirror and the end are in move_mirror.cpp. See thin_move.hpp.
#include "toolstack/storage/thin_move.hpp"

#include "toolstack/base/log.hpp"
#include "toolstack/storage/delta.hpp"
#include "toolstack/storage/device_io.hpp"

namespace blanket::storage {

Result<std::unique_ptr<ThinMove>> ThinMove::create(ThinStore& store, const Volume& volume, bool source) {
    BLANKET_TRY(const auto entry, store.activate_volume(volume.id));
    if (entry.size != volume.size || entry.sha256 != volume.image)
        return fail(Kind::kConflict, "volume '{}' has {} bytes over image '{}', its record says {} over '{}'", volume.id, entry.size, entry.sha256.substr(0, 12), volume.size,
                    volume.image.substr(0, 12));
    return std::unique_ptr<ThinMove>(new ThinMove(store, volume, source));
}

Result<std::unique_ptr<ThinMove>> ThinMove::source(ThinStore& store, const Volume& volume) { return create(store, volume, true); }
Result<std::unique_ptr<ThinMove>> ThinMove::target(ThinStore& store, const Volume& volume) { return create(store, volume, false); }

Result<void> ThinMove::check_extent(const Extent& extent) const {
    if (extent.length == 0 || extent.length > kMaxExtent || extent.offset % kBlock != 0 || extent.length % 4096 != 0 || extent.offset >= size_ ||
        extent.length > size_ - extent.offset)
        return fail(Kind::kInvalid, "extent {}+{} does not fit volume '{}' of {} bytes", extent.offset, extent.length, id_, size_);
    return {};
}

Result<void> ThinMove::write(const Extent& extent, std::span<const std::byte> data) {
    if (source_) return fail(Kind::kInternal, "the source of a move writes nothing");
    BLANKET_CHECK(check_extent(extent));
    if (data.size() != (extent.zero ? 0 : extent.length))
        return fail(Kind::kInvalid, "extent {}+{} came with {} bytes", extent.offset, extent.length, data.size());
    if (!writer_) {
        BLANKET_TRY(const auto top, thin_.info(top_device(id_)));
        if (!top || !top->suspended) return fail(Kind::kConflict, "the volume '{}' is open here: nothing may be written below it", id_);
        BLANKET_TRY(writer_, thin_.system().open_device(volume_device(id_), true));
    }
    if (!extent.zero) return write_range(writer_.get(), extent.offset, data);
    return zero_range(writer_.get(), extent.offset, extent.length);
}

// What differs between two thin ids; no `from` = everything that is mapped.
Result<std::vector<Extent>> ThinMove::changes(std::optional<std::uint32_t> from, std::uint32_t to, const Argv& first) {
    const auto reader = from ? plan_thin_delta(thin_.name(), *from, to) : plan_thin_dump(thin_.name(), to);
    BLANKET_TRY(const auto xml, thin_.with_metadata_snapshot(reader, first));
    return from ? parse_thin_delta(xml, size_) : parse_thin_dump(xml, size_);
}

Result<void> ThinMove::remove_snapshots(std::optional<std::string> except) {
    for (const auto& key : thin_.table().snapshots_of(id_))
        if (key != except) BLANKET_CHECK(thin_.destroy(key, snapshot_device(id_)));
    return {};
}

Result<std::vector<Extent>> ThinMove::next_round() {
    if (!source_) return fail(Kind::kInternal, "only the source of a move has rounds");
    if (!begun_) {
        BLANKET_CHECK(remove_snapshots(std::nullopt));  // of an earlier move that died
        if (!base_.empty()) {
            BLANKET_TRY(const auto image, thin_.find(image_key(base_)));
            previous_ = image.id;
        }
        begun_ = true;
    }
    BLANKET_TRY(const auto volume, thin_.find(volume_key(id_)));
    BLANKET_TRY(const auto top, thin_.info(top_device(id_)));
    if (!top) return fail(Kind::kNotFound, "volume '{}' has no top", id_);
    const auto key = snapshot_key(id_, rounds_);
    BLANKET_TRY(const auto snapshot, thin_.reserve(key, {.kind = ThinKind::kSnapshot, .size = size_, .sha256 = {}, .mirror = {}}));
    // A stopped VM's top is suspended and stays so.
    if (auto done = apply(thin_.system(), plan_snapshot_window(thin_.name(), id_, volume.id, snapshot.id, top->suspended)); !done) {
        (void)thin_.system().run(resume(volume_device(id_)));
        if (!top->suspended) (void)thin_.system().run(resume(top_device(id_)));
        return std::unexpected(std::move(done).error());
    }
    reader_.reset();
    BLANKET_CHECK(thin_.remove_device(snapshot_device(id_)));
    BLANKET_CHECK(thin_.activate(snapshot_device(id_), snapshot, true));
    BLANKET_TRY(reader_, thin_.system().open_device(snapshot_device(id_), false));
    BLANKET_TRY(auto extents, changes(previous_, snapshot.id));
    // The older snapshot has served. Its key goes with an inactive device, so name one that is not there.
    for (const auto& old : thin_.table().snapshots_of(id_))
        if (old != key) BLANKET_CHECK(thin_.destroy(old, snapshot_device(id_) + "-old"));
    previous_ = snapshot.id;
    ++rounds_;
    return extents;
}

Result<void> ThinMove::read_round(const Extent& extent, std::vector<std::byte>& out) {
    BLANKET_CHECK(check_extent(extent));
    if (!reader_) return fail(Kind::kInternal, "no round of volume '{}' has begun", id_);
    out.resize(extent.length);
    return read_range(reader_.get(), extent.offset, out);
}

Result<std::vector<Extent>> ThinMove::last_round() {
    if (!source_ || !begun_) return fail(Kind::kInternal, "the last round comes after next_round()");
    BLANKET_TRY(const auto volume, thin_.find(volume_key(id_)));
    reader_.reset();
    BLANKET_TRY(reader_, thin_.system().open_device(volume_device(id_), false));
    // Suspended, the volume stands still, so no snapshot is needed: the delta is against the volume itself, and it is read directly.
    return changes(previous_, volume.id, suspend(top_device(id_)));
}

}  // namespace blanket::storage
