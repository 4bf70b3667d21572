// SPDX-License-Identifier: GPL-2.0-or-later
// ThinPool: the dm-thin pool and its id table as one thing: every thin device is made and removed through it, with the table written ahead.
// Owned by ThinStore; ThinMove and Mirror use it too. Thread safe; nobody else may work on the same volume at the same time.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "toolstack/storage/dm_ioctl.hpp"
#include "toolstack/storage/id_table.hpp"
#include "toolstack/storage/names.hpp"
#include "toolstack/storage/pool_status.hpp"
#include "toolstack/storage/system.hpp"
#include "toolstack/storage/thin_plan.hpp"

namespace blanket::storage {

class ThinPool final {
public:
    // Makes the LVs if absent, activates the pool, reads the id table. Does not collect garbage (ThinStore does, it knows the devices above).
    static Result<std::unique_ptr<ThinPool>> open(PoolName name, std::string table_path, std::shared_ptr<System> system);

    [[nodiscard]] const PoolName& name() const { return name_; }
    [[nodiscard]] System& system() { return *system_; }
    [[nodiscard]] IdTable table();                             // a copy
    Result<ThinEntry> find(const std::string& key);            // kNotFound
    Result<PoolStatus> status();

    // Journal only: `key` gets an id (kMaking). Done ahead of a suspend window.
    Result<ThinEntry> reserve(const std::string& key, ThinEntry entry);
    // Tells the pool: empty, or a snapshot of `origin`.
    Result<void> make(const ThinEntry& entry, std::optional<std::uint32_t> origin);
    // Changes an entry and saves the table; the change is lost when saving fails.
    Result<void> update(const std::string& key, const std::function<void(ThinEntry&)>& change);
    Result<void> set_ready(const std::string& key);
    // Journal, device away, pool forgets it, journal. Absent is fine. kConflict when `device` is in use.
    Result<void> destroy(const std::string& key, const std::string& device);

    // Activates the thin device `device` for `entry` when it is not there.
    Result<void> activate(const std::string& device, const ThinEntry& entry, bool readonly = false);
    Result<std::optional<DmInfo>> info(const std::string& device);  // empty = absent
    Result<void> remove_device(const std::string& device);          // absent is fine
    // What lies below a dm-linear device: "253:7".
    Result<std::string> lower_of(const std::string& device);

    // Runs `reader` while the pool holds a metadata snapshot for thin_delta and thin_dump; one at a time. `first`, where there is one, is run once it is our turn,
    // and before that snapshot: another volume's reader may take minutes, and nobody's writes are to wait for it.
    Result<std::string> with_metadata_snapshot(const Argv& reader, const Argv& first = {});
    // The first of these TCP ports that no other volume's mirror has and nobody has taken; taken until it is given back. kConflict: there is none.
    // In memory only: once a mirror uses it, the table says so.
    Result<std::uint16_t> take_port(const std::string& key, std::span<const std::uint16_t> ports);
    void give_port_back(std::uint16_t port);
    // Takes the lowest DRBD minor from 0..255 that is neither in `busy` nor in the table, and writes it into the volume's entry. kConflict: there is none, or
    // another mirror has this port, which DRBD would refuse.
    Result<MirrorFacts> reserve_mirror(const std::string& key, MirrorFacts facts, const std::set<std::uint32_t>& busy);

private:
    ThinPool(PoolName name, std::string table_path, std::shared_ptr<System> system);
    Result<void> make_logical_volumes();
    Result<void> activate_pool();
    Result<void> load_table();
    Result<void> save(IdTable next);  // with mutex_ held; table_ changes only when the file did

    PoolName name_;
    std::string table_path_;
    std::shared_ptr<System> system_;
    std::mutex mutex_;  // table_, ports_
    IdTable table_;
    std::set<std::uint16_t> ports_;  // taken for mirrors that are not in the table yet, and for those that are
    std::mutex metadata_snapshot_;
};

}  // namespace blanket::storage
