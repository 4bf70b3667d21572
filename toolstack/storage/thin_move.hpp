// SPDX-License-Identifier: GPL-2.0-or-later
// ThinMove: one volume's way to another site while its VM runs (port DiskMove). One object per volume and migration at either end; one thread.
//
//   source                                     target
//   next_round() read_round()...  --extents--> write()...          top runs over -vol / top suspended
//   prepare_mirror()              <--DRBD-->   attach_mirror()     DRBD beside the running top; optional, saves the connect from the window
//   last_round()                  --extents--> write()...          top suspended: both sides are equal now
//   attach_mirror()               <--DRBD-->                       0 blocks synced, primary, top over DRBD, runs
//   drain()                       ---------->                      top suspended: all is on the target's disk
//   ---- the commit (registry) ----
//                                              take_over()        top runs
//   finish(false)                              finish(true)       DRBD goes
// Before the commit, finish(true) at the source and finish(false) at the target undo everything, in whatever state the two are; a later object of the same
// volume can do it as well (after a crash of blanketd). The destructor does nothing to the volume; it gives the mirror's port back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "toolstack/core/ports.hpp"
#include "toolstack/storage/mirror.hpp"
#include "toolstack/storage/thin_store.hpp"

namespace blanket::storage {

class ThinMove final : public DiskMove {
public:
    static Result<std::unique_ptr<ThinMove>> source(ThinStore& store, const Volume& volume);
    static Result<std::unique_ptr<ThinMove>> target(ThinStore& store, const Volume& volume);

    ~ThinMove() override;
    ThinMove(const ThinMove&) = delete;
    ThinMove& operator=(const ThinMove&) = delete;

    Result<void> write(const Extent& extent, std::span<const std::byte> data) override;
    Result<std::vector<Extent>> next_round() override;
    Result<void> read_round(const Extent& extent, std::vector<std::byte>& out) override;
    Result<std::uint16_t> take_port(std::span<const std::uint16_t> ports) override;
    Result<void> prepare_mirror(const std::string& local_ip, const std::string& peer_ip, std::uint16_t port) override;
    Result<std::vector<Extent>> last_round() override;
    Result<void> attach_mirror(const std::string& local_ip, const std::string& peer_ip, std::uint16_t port, bool source) override;
    Result<void> wait_connected(std::chrono::seconds deadline) override;
    Result<void> drain() override;
    Result<void> take_over(std::uint64_t epoch) override;
    Result<void> finish(bool keep, std::uint64_t epoch) override;

    // Tests: compares both ends while the mirror is on; number of 4 KiB blocks that differ.
    Result<std::uint64_t> verify(std::chrono::milliseconds deadline);

private:
    ThinMove(ThinStore& store, const Volume& volume, bool source)
        : store_(store), thin_(store.thin()), id_(volume.id), size_(volume.size), base_(volume.image), source_(source), mirror_(thin_, volume.id) {}
    static Result<std::unique_ptr<ThinMove>> create(ThinStore& store, const Volume& volume, bool source);
    Result<void> check_extent(const Extent& extent) const;
    Result<std::vector<Extent>> changes(std::optional<std::uint32_t> from, std::uint32_t to, const Argv& first = {});
    Result<void> remove_snapshots(std::optional<std::string> except);
    Result<void> put_top_back(bool open);
    Result<void> finish_source(bool keep, std::uint64_t epoch);
    Result<void> finish_target(bool keep, std::uint64_t epoch);

    ThinStore& store_;
    ThinPool& thin_;
    std::string id_;
    std::uint64_t size_;
    std::string base_;
    bool source_;
    bool taken_over_ = false;
    Mirror mirror_;
    std::uint16_t port_ = 0;  // taken
    std::uint32_t rounds_ = 0;
    std::optional<std::uint32_t> previous_;  // thin id of the last round's snapshot, at first of the base image
    bool begun_ = false;
    UniqueFd reader_, writer_;
};

}  // namespace blanket::storage
