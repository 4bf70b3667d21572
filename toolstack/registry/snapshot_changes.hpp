// SPDX-License-Identifier: GPL-2.0-or-later
// How etcd's keys are a snapshot of the registry: one key more, or a change of one that the watch told. Pure; one thread at a time for each snapshot.
#pragma once

#include <span>

#include "toolstack/core/ports.hpp"
#include "toolstack/registry/etcd_client.hpp"

namespace blanket {

// The record of a key below vms/; kInvalid: it makes no sense.
Result<VmRecord> parse_vm_kv(const EtcdKv& kv);
// Puts the record in its place, in the order of the keys; one of the same key goes. A key that no snapshot has is left out. kInvalid: the value makes no sense, and nothing was done.
Result<void> put_into(Snapshot& snapshot, const EtcdKv& kv);
// The snapshot as it is after these events, which are those that followed its revision, or some before that, too. False: not to be had this way (a record that makes no sense, a
// renamed federation); the snapshot is not to be used, and all is to be read anew.
bool take_events(Snapshot& snapshot, std::span<const EtcdEvent> events);

}  // namespace blanket
