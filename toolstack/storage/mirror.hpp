// SPDX-License-Identifier: GPL-2.0-or-later
// Mirror: DRBD 8.4 over one volume while a move is on. Works from what the id table and /proc/drbd say, so another Mirror object, after a crash of blanketd,
// can take down what the first one set up. Used by ThinMove and by remove_volume. One thread per volume.
//
//   connect()          both ends     under + metadata + resource + connection; the volume's top is not touched, the guest writes on
//   declare_equal()    source        top suspended, both sides equal: no block is synced; primary
//   settle()           source        top suspended again: every write is on the peer's disk when it returns
//   cut(), down()      either end    at any time and in any state
#pragma once

#include <chrono>
#include <string>

#include "toolstack/storage/drbd_plan.hpp"
#include "toolstack/storage/drbd_status.hpp"
#include "toolstack/storage/thin_pool.hpp"

namespace blanket::storage {

class Mirror final {
public:
    Mirror(ThinPool& thin, std::string id) : thin_(thin), id_(std::move(id)) {}

    // Idempotent for the same addresses; kConflict for others.
    Result<void> connect(const std::string& local, const std::string& peer, std::uint16_t port);
    Result<void> wait_connected(std::chrono::milliseconds deadline);
    Result<void> declare_equal();
    Result<void> reconnect();  // source: the two ends shake hands anew; what was written meanwhile is synced by it
    Result<void> settle();
    Result<void> cut();   // the connection goes at once; absent is fine
    Result<void> down();  // everything of DRBD goes; the device must not be open; absent is fine
    // Compares both ends while they run: number of 4 KiB blocks that differ (the source's view).
    Result<std::uint64_t> verify(std::chrono::milliseconds deadline);

    Result<DrbdStatus> status();
    [[nodiscard]] bool present();        // the table says that there is one
    Result<MirrorFacts> facts();         // kConflict when there is none

private:
    Result<std::map<std::uint32_t, DrbdStatus>> all();
    Result<void> load_module();

    ThinPool& thin_;
    std::string id_;
};

}  // namespace blanket::storage
