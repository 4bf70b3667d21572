// SPDX-License-Identifier: GPL-2.0-or-later
// Who won: the one decision after a broken connection. The record is the only truth; both halves of a migration ask it here.
#pragma once

#include <functional>

#include "toolstack/core/ports.hpp"

namespace blanket::migrate {

enum class Outcome : std::uint8_t { kCommitted, kAborted };

// Source: asks the registry until it answers. If the record still names the migration, it is taken back (kSettling) by compare-and-swap, which makes the
// target's commit impossible from then on. A record that is gone because the VM was deleted had been given away before that: kCommitted; one that is
// missing without a trace is kNotFound, one that was edited to name another owner under the same epoch kConflict, and nobody may act on it. One that names `here`
// under a newer epoch was given away and taken over since: kCommitted for the copy of before. `give_up` is asked between tries; when it returns true the result is kUnavailable and nothing was decided.
Result<Outcome> settle_source(Registry& registry, TimeSource& clock, const VmRecord& vm, const std::string& here, const std::function<bool()>& give_up);

// Target: the commit. Success means that the record names `here` with epoch + 1 (kSettling), even when the first answer was lost.
Result<VmRecord> commit_target(Registry& registry, TimeSource& clock, const Versioned<VmRecord>& vm, const std::string& here, const std::function<bool()>& give_up);

// Either: everything is in place, kSettling becomes kRunning. Nothing when the record has moved on from vm.epoch.
Result<void> mark_settled(Registry& registry, const VmRecord& vm);

}  // namespace blanket::migrate
