// SPDX-License-Identifier: GPL-2.0-or-later
// The source's half of a live migration. daemon/ makes one per job and calls run(); any error before the commit leaves the VM running here.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/disk_pace.hpp"
#include "toolstack/migrate/move_recorder.hpp"
#include "toolstack/migrate/pacer.hpp"
#include "toolstack/migrate/protocol.hpp"
#include "toolstack/stream/encoder.hpp"
#include "toolstack/stream/features.hpp"
#include "toolstack/stream/index_shelf.hpp"

namespace blanket::migrate {

struct SourcePlan {
    std::string job;
    Versioned<VmRecord> vm;
    Site here, target;
    std::uint16_t mirror_port = 7800;  // first of a hundred for DRBD; each volume takes one that is free at both sites
    SaveLimits limits = {};
    std::uint64_t bandwidth = 0;       // bytes per second while the guest runs; 0: what the link takes
    const stream::IndexShelf* indexes = nullptr;  // of this site's base images; null: memory does not refer to them
    stream::Features features = {};
    stream::ContentStore* store = nullptr;  // this site's: it is fed with what leaves; null: none
    std::chrono::milliseconds for_versions = std::chrono::seconds(1);  // what of its versions has not been found by then, while the disk moved, is not used
};

class Source final {
public:
    Source(SitePorts ports, PeerLink& link, SourcePlan plan, Observer& observer);
    ~Source();
    // Blocks until the VM runs at the target and nothing is left here, or until it runs here again. Thread rule: one call, one thread.
    Result<Stats> run();

private:
    Result<Stats> carry_out();
    MoveTrace trace_of(bool moved);
    // The steps, in order (ARCHITECTURE.md, "The life of a migration").
    Result<void> greet();
    Result<void> prepare();
    Result<void> begin();
    Result<void> move_disks();
    Result<DiskPace> ship_rounds(std::uint32_t index, DiskMove& mover);
    Error written_too_fast(const std::string& disk, const DiskPace& pace, std::int64_t wait_ms) const;
    Result<void> ship(std::uint32_t index, DiskMove& move, const std::vector<Extent>& extents);
    Result<void> end_round(std::uint32_t index);
    Result<std::uint16_t> prepare_mirror(std::uint32_t index, DiskMove& move);
    Result<void> await_mirrors();
    void load_indexes();
    Result<std::optional<stream::KnownPages>> ask_for_pages();
    Result<void> begin_memory();
    Result<void> move_memory();
    Result<void> send_memory(std::span<const std::byte> plain, StreamDigest& digest);
    Result<void> hand_over();
    Result<void> await_commit();
    // After the commit, and before it.
    Result<void> clean_up();
    void hear_target();
    bool roll_back();  // whether all is in place here again
    Result<void> resume_after_failed_save();
    Result<void> check_cancelled() const;
    Error reason_of(Error error);  // what the target said before it closed, where it said something

    SitePorts ports_;
    PeerLink& link_;
    SourcePlan plan_;
    Observer& told_;
    MoveRecorder observer_;
    Stats stats_;
    std::vector<std::string> missing_images_, referable_;  // base images that the target lacked; that it can be referred to
    std::vector<stream::ImageIndex> indexes_;  // of the VM's base images
    std::uint64_t cache_pages_ = 0;             // that both ends keep
    bool offers_ = false;                       // the target has pages in its content store
    std::unique_ptr<stream::ContentStore::Feed> feed_;
    std::unique_ptr<stream::StoredVersions> versions_;  // what the last move brought here, for differences from what the target has too
    stream::CodingChoice choice_;
    std::unique_ptr<stream::Encoder> encoder_;  // lives as long as the source: giving its memory back takes time that the guest's stop has not
    std::vector<std::unique_ptr<DiskMove>> moves_;
    std::int64_t suspended_at_ = 0, resumed_at_ = 0;  // CLOCK_BOOTTIME, ms
    bool marked_ = false;      // the record says kMigrating by our hand
    bool suspended_ = false;  // the guest does not run; after a save that failed it may be so all the same, see stopping_
    Pacer pacer_;
    std::atomic<bool> stopping_ = false;  // the guest is asked to stop: read where the save's bytes come
    std::uint64_t mirrors_seen_ = 0;      // the link's cuts that the mirrors are known to have got over
    std::atomic<std::uint64_t> memory_bytes_ = 0, memory_wire_ = 0;  // counted where the save's bytes come, read where its progress comes
    bool redirected_ = false;  // late frames go to the target
    bool committed_ = false;
};

}  // namespace blanket::migrate
