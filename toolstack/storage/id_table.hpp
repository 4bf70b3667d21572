// SPDX-License-Identifier: GPL-2.0-or-later
// IdTable: which thin device id belongs to what. blanketd owns the thin pool, so this small journal is the only place that knows. Pure; ThinStore saves it.
//
// Write-ahead rule: an id stands in the saved table as kMaking before the pool hears of it, and as kRemoving before the pool forgets it. After a crash, every
// entry that is not kReady, and every snapshot and staging entry, is deleted from the pool and from the table (garbage()); nothing else ever is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"

namespace blanket::storage {

enum class ThinKind : std::uint8_t { kImage, kVolume, kMeta, kSnapshot };
enum class ThinState : std::uint8_t { kMaking, kReady, kRemoving };

struct MirrorFacts {  // DRBD over a volume: what is needed to take it down after a crash of blanketd
    std::uint32_t minor = 0;
    std::string local, peer;  // "10.213.1.1"
    std::uint16_t port = 0;
    bool operator==(const MirrorFacts&) const = default;
};

struct ThinEntry {
    std::uint32_t id = 0;     // dm-thin's 24 bit device id
    ThinKind kind = ThinKind::kVolume;
    ThinState state = ThinState::kMaking;
    std::uint64_t size = 0;   // bytes, multiple of 64 KiB
    std::string sha256;       // image: its content; volume: its base, empty = blank
    std::uint64_t raw_size = 0;  // image: bytes of the raw content
    std::uint64_t epoch = 0;  // volume: the last epoch that opened it
    std::uint64_t first = 1;  // volume: the first epoch that may
    std::optional<MirrorFacts> mirror;  // volume
    bool operator==(const ThinEntry&) const = default;
};

struct IdTable {
    std::uint32_t next_id = 1;
    std::map<std::string, ThinEntry> entries;  // by key (names.hpp)

    // Adds `entry` under `key` with an id never used before (kMaking). kConflict when the key exists or the ids are used up.
    Result<ThinEntry> allocate(const std::string& key, ThinEntry entry);
    [[nodiscard]] const ThinEntry* find(const std::string& key) const;
    [[nodiscard]] std::vector<std::string> garbage() const;  // keys to delete at start, see above
    [[nodiscard]] std::vector<std::string> snapshots_of(std::string_view volume_id) const;
    bool operator==(const IdTable&) const = default;
};

Json to_json(const IdTable& table);
Result<IdTable> parse_id_table(std::string_view text);

}  // namespace blanket::storage
