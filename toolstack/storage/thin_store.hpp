// SPDX-License-Identifier: GPL-2.0-or-later
// ThinStore: images and volumes on a dm-thin pool that blanketd owns. Made once at blanketd's start; implements the port BlockStore.
//
// blanketd owns the pool, not LVM: LVM makes two plain LVs (pool-data, pool-meta) on an empty volume group, everything above them is dm-thin driven by
// ioctls, with thin ids in a small write-ahead table (id_table.hpp). A snapshot costs an ioctl, not an LVM command of half a second, and thin_delta
// needs the ids anyway. Opening is idempotent: after a reboot it activates the pool, after a crash it removes what was half made.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "toolstack/core/ports.hpp"
#include "toolstack/storage/thin_pool.hpp"

namespace blanket::storage {

inline constexpr const char* kTablePath = "/var/lib/blanket/state/storage.json";

class ThinStore final : public BlockStore {
public:
    // `pool` = "group/pool" ([storage] pool). Errors: kPrecondition = no volume group or too small; kConflict = the pool is not ours or its table is lost.
    static Result<std::unique_ptr<ThinStore>> create(const std::string& pool, const std::string& table_path = kTablePath,
                                                     std::shared_ptr<System> system = std::make_shared<LiveSystem>());

    Result<PoolFacts> pool() override;
    Result<bool> has_image(const std::string& sha256) override;
    Result<void> import_image(const std::string& sha256, std::uint64_t size, ImageReader& content) override;
    Result<std::vector<Extent>> image_extents(const std::string& sha256) override;
    Result<UniqueFd> open_image(const std::string& sha256) override;
    Result<void> create_volume(const Volume& volume, std::uint64_t first_epoch = 1) override;
    Result<void> open_volume(const std::string& id, std::uint64_t epoch) override;
    Result<void> close_volume(const std::string& id) override;
    Result<void> fence_volume(const std::string& id, std::uint64_t first_epoch) override;
    Result<std::vector<VolumeFacts>> volumes() override;
    Result<void> remove_volume(const std::string& id) override;

    // For ThinMove and Mirror.
    [[nodiscard]] ThinPool& thin() { return *thin_; }
    // Thin device and top are there (top suspended when it had to be made). kNotFound when the volume does not exist.
    Result<ThinEntry> activate_volume(const std::string& id);
    // `epoch` becomes the volume's; kConflict when it is lower than the last one, or than the first one allowed.
    Result<void> raise_epoch(const std::string& id, std::uint64_t epoch);

private:
    class ImportTurn;
    explicit ThinStore(std::unique_ptr<ThinPool> thin) : thin_(std::move(thin)) {}
    Result<ThinEntry> ready_image(const std::string& sha256);
    void collect_garbage();

    std::unique_ptr<ThinPool> thin_;
    std::mutex opening_;  // an image's device is looked for and made by one at a time
    std::mutex imports_;
    std::condition_variable imported_;
    std::set<std::string> importing_;  // hashes
};

// Writes the blocks that are not zero to `device`, returns the content's identity (content_hash.hpp). kInvalid: pieces out of order or beyond `size`.
Result<std::string> copy_sparse(ImageReader& content, std::uint64_t size, int device);

}  // namespace blanket::storage
