// SPDX-License-Identifier: GPL-2.0-or-later
// Volumes and their move: 16 blocks that hold the number of the newest record, and a mirror that copies in order while it is joined.
#include <algorithm>
#include <cstring>

#include "tests/sim/ports.hpp"

namespace blanket::sim {
namespace {

class SimMove final : public DiskMove {
public:
    SimMove(World& world, int site, std::string id) : world_(world), site_(site), id_(std::move(id)) {}

    Result<void> write(const Extent& extent, std::span<const std::byte> data) override {
        BLANKET_CHECK(world_.enter(site_, "write block", 0, 5 * kMs));
        BLANKET_TRY(Disk* const disk, find());
        if (disk->open) world_.violation("a block from the peer was written under an open disk");
        for (std::uint64_t at = 0; at < extent.length; at += kBlock) {
            std::uint32_t value = 0;
            if (!data.empty()) std::memcpy(&value, data.data() + at, sizeof value);
            disk->block.at((extent.offset + at) / kBlock) = value;
        }
        return world_.done(site_);
    }
    Result<std::vector<Extent>> next_round() override {
        BLANKET_CHECK(world_.enter(site_, "snapshot of the disk", 20 * kMs, 200 * kMs));
        BLANKET_TRY(Disk* const disk, find());
        auto extents = take(*disk);
        BLANKET_CHECK(world_.done(site_));
        return extents;
    }
    Result<void> read_round(const Extent& extent, std::vector<std::byte>& out) override {
        out.assign(extent.length, std::byte{0});
        for (std::uint64_t at = 0; at < extent.length; at += kBlock) std::memcpy(out.data() + at, &snapshot_.at((extent.offset + at) / kBlock), sizeof(std::uint32_t));
        return {};
    }
    Result<std::uint16_t> take_port(std::span<const std::uint16_t> ports) override { return ports[0]; }
    Result<void> prepare_mirror(const std::string&, const std::string&, std::uint16_t) override {
        BLANKET_CHECK(world_.enter(site_, "join the mirror", 20 * kMs, 200 * kMs));
        BLANKET_CHECK(find());
        const Time until = world_.time.now() + 10 * kSecond;
        while (!partner()) {
            if (world_.time.now() >= until) return fail(Kind::kTimeout, "the mirror did not connect");
            world_.time.sleep(100 * kMs);
            if (world_.time.leaving()) return fail(Kind::kUnavailable, "dead");
        }
        return world_.done(site_);
    }
    Result<std::vector<Extent>> last_round() override {
        BLANKET_CHECK(world_.enter(site_, "suspend top", 5 * kMs, 50 * kMs));
        BLANKET_TRY(Disk* const disk, find());
        disk->open = false;
        auto extents = take(*disk);
        BLANKET_CHECK(world_.done(site_));
        return extents;
    }
    Result<void> attach_mirror(const std::string&, const std::string&, std::uint16_t, bool source) override {
        BLANKET_CHECK(world_.enter(site_, source ? "top over the mirror" : "mirror at the target", 20 * kMs, 200 * kMs));
        BLANKET_TRY(Disk* const disk, find());
        disk->pending.clear();
        disk->broken = false;
        if (!source) {
            disk->mirror = Disk::Mirror::kSecondary;
            disk->mirror_id = world_.calls();
            return world_.done(site_);
        }
        const Disk* other = partner();
        if (other == nullptr) return fail(Kind::kIo, "the mirror is not connected");
        disk->mirror = Disk::Mirror::kPrimary;
        disk->mirror_id = other->mirror_id;
        disk->open = true;
        return world_.done(site_);
    }
    Result<void> wait_connected(std::chrono::seconds) override { return {}; }
    Result<void> drain() override {
        BLANKET_CHECK(world_.enter(site_, "drain", 5 * kMs, 50 * kMs));
        BLANKET_TRY(Disk* disk, find());
        disk->open = false;
        const Time until = world_.time.now() + 30 * kSecond;
        for (;;) {
            if (auto again = find(); again) disk = *again;
            else return std::unexpected(again.error());
            if (disk->broken || disk->mirror != Disk::Mirror::kPrimary) return fail(Kind::kIo, "the mirror lost its peer before all writes were there");
            if (disk->pending.empty() && partner() != nullptr) break;
            if (world_.time.now() >= until) return fail(Kind::kTimeout, "the mirror was not drained within 30 s");
            world_.time.sleep(20 * kMs);
            if (world_.time.leaving()) return fail(Kind::kUnavailable, "dead");
        }
        disk->mirror = Disk::Mirror::kNone;
        return world_.done(site_);
    }
    Result<void> take_over(std::uint64_t epoch) override {
        BLANKET_CHECK(world_.enter(site_, "take the disk over", 5 * kMs, 100 * kMs));
        BLANKET_TRY(Disk* const disk, find());
        BLANKET_CHECK(open(*disk, epoch));
        return world_.done(site_);
    }
    Result<void> finish(bool keep, std::uint64_t epoch) override {
        BLANKET_CHECK(world_.enter(site_, "end of the mirror", 20 * kMs, 300 * kMs));
        BLANKET_TRY(Disk* const disk, find());
        disk->mirror = Disk::Mirror::kNone;
        disk->pending.clear();
        disk->broken = false;
        if (keep) BLANKET_CHECK(open(*disk, epoch));
        else disk->open = false;
        return world_.done(site_);
    }

private:
    Result<Disk*> find() {
        auto& disks = world_.hosts[static_cast<std::size_t>(site_)].disks;
        const auto at = disks.find(id_);
        if (at == disks.end()) return fail(Kind::kNotFound, "no volume '{}'", id_);
        return &at->second;
    }
    const Disk* partner() {
        auto& disks = world_.hosts[static_cast<std::size_t>(1 - site_)].disks;
        const auto at = disks.find(id_);
        return world_.joined(0, 1) && world_.executes(1 - site_) && at != disks.end() && at->second.mirror == Disk::Mirror::kSecondary ? &at->second : nullptr;
    }
    static Result<void> open(Disk& disk, std::uint64_t epoch) {
        if (epoch < std::max(disk.epoch, disk.first)) return fail(Kind::kConflict, "epoch {} is stale, the volume has {}", epoch, std::max(disk.epoch, disk.first));
        disk.mirror = Disk::Mirror::kNone;
        disk.epoch = epoch;
        disk.open = true;
        return {};
    }
    std::vector<Extent> take(Disk& disk) {
        std::vector<Extent> extents;
        for (unsigned index = 0; index < kBlocks; ++index)
            if (disk.dirty.contains(index) || (first_ && disk.block[index] != 0)) extents.push_back({index * kBlock, kBlock, false});
        first_ = false;
        disk.dirty.clear();
        snapshot_ = disk.block;
        return extents;
    }

    World& world_;
    int site_;
    std::string id_;
    bool first_ = true;
    Blocks snapshot_{};
};

}  // namespace

Result<void> SimStorage::create_volume(const Volume& volume, std::uint64_t first_epoch) {
    BLANKET_CHECK(world_.enter(site_, "create volume", 50 * kMs, 300 * kMs));
    auto& disks = world_.hosts[static_cast<std::size_t>(site_)].disks;
    const auto [made, fresh] = disks.try_emplace(volume.id);
    if (!fresh) return fail(Kind::kConflict, "volume '{}' exists", volume.id);
    made->second.first = first_epoch;
    return world_.done(site_);
}

Result<void> SimStorage::open_volume(const std::string& id, std::uint64_t epoch) {
    BLANKET_CHECK(world_.enter(site_, "open volume", 5 * kMs, 100 * kMs));
    auto& disks = world_.hosts[static_cast<std::size_t>(site_)].disks;
    const auto at = disks.find(id);
    if (at == disks.end()) return fail(Kind::kNotFound, "no volume '{}'", id);
    if (at->second.mirror != Disk::Mirror::kNone) return fail(Kind::kConflict, "a move of volume '{}' has not ended", id);
    if (epoch < std::max(at->second.epoch, at->second.first)) return fail(Kind::kConflict, "epoch {} is stale, the volume has {}", epoch, std::max(at->second.epoch, at->second.first));
    at->second.epoch = epoch;
    at->second.open = true;
    return world_.done(site_);
}

Result<void> SimStorage::close_volume(const std::string& id) {
    BLANKET_CHECK(world_.enter(site_, "close volume", 5 * kMs, 50 * kMs));
    auto& disks = world_.hosts[static_cast<std::size_t>(site_)].disks;
    if (const auto at = disks.find(id); at != disks.end()) at->second.open = false;
    return world_.done(site_);
}

Result<void> SimStorage::fence_volume(const std::string& id, std::uint64_t first_epoch) {
    BLANKET_CHECK(world_.enter(site_, "fence volume", 1 * kMs, 10 * kMs));
    auto& disks = world_.hosts[static_cast<std::size_t>(site_)].disks;
    if (const auto at = disks.find(id); at != disks.end()) at->second.first = std::max(at->second.first, first_epoch);
    return world_.done(site_);
}

Result<std::vector<VolumeFacts>> SimStorage::volumes() {
    std::vector<VolumeFacts> here;
    for (const auto& [id, disk] : world_.hosts[static_cast<std::size_t>(site_)].disks) here.push_back({id, disk.epoch, disk.first});
    return here;
}

Result<void> SimStorage::remove_volume(const std::string& id) {
    BLANKET_CHECK(world_.enter(site_, "remove volume", 20 * kMs, 300 * kMs));
    Host& host = world_.hosts[static_cast<std::size_t>(site_)];
    for (const auto& [uuid, domain] : host.domains)
        if (domain.id >= 0) return fail(Kind::kConflict, "volume '{}' is in use", id);
    host.disks.erase(id);
    return world_.done(site_);
}

Result<std::unique_ptr<DiskMove>> SimStorage::source(const Volume& volume) { return std::make_unique<SimMove>(world_, site_, volume.id); }
Result<std::unique_ptr<DiskMove>> SimStorage::target(const Volume& volume) { return std::make_unique<SimMove>(world_, site_, volume.id); }

}  // namespace blanket::sim
