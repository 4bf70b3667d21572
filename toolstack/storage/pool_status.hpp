// SPDX-License-Identifier: GPL-2.0-or-later
// The status line of a dm-thin pool, read and judged. Pure. Used by ThinStore before it makes anything, and by `blanket doctor`.
#pragma once

#include <cstdint>
#include <string_view>

#include "toolstack/core/ports.hpp"

namespace blanket::storage {

struct PoolStatus {
    std::uint64_t transaction = 0;
    std::uint64_t used_metadata = 0, total_metadata = 0;  // 4 KiB blocks
    std::uint64_t used_data = 0, total_data = 0;          // 64 KiB blocks
    bool metadata_snapshot = false;  // one is held
    bool writable = false;           // rw (out_of_data_space counts as not)
    bool out_of_space = false;
    bool needs_check = false;
    bool failed = false;
    bool operator==(const PoolStatus&) const = default;
};

// "0 SECTORS thin-pool TRANSACTION USED/TOTAL USED/TOTAL ROOT|- rw|ro|out_of_data_space ... [needs_check] ..." or "... Fail"
Result<PoolStatus> parse_pool_status(std::string_view line);
PoolFacts facts_of(const PoolStatus& status);
// New images and volumes: kPrecondition from 90 % of data or metadata on, or when the pool is not healthy.
Result<void> admit_new(const PoolStatus& status);

}  // namespace blanket::storage
