// SPDX-License-Identifier: GPL-2.0-or-later
// Which versions this machine has, which of them runs, and which is started next.
#pragma once

#include <array>
#include <string>

#include "toolstack/base/json.hpp"
#include "toolstack/update/boot_env.hpp"

namespace blanket::update {

inline constexpr std::string_view kDisk = "/run/blanket-disk";  // the whole root file system, see scripts/blanket-slot of the initramfs
inline constexpr std::string_view kEnvFile = "/boot/grub/grubenv";
inline constexpr std::string_view kRefusedFile = "/var/lib/blanket/update-refused.json";

struct Slot {
    bool bootable = false;          // complete
    std::string version, id, time;  // time: when it was installed, RFC 3339; empty = with the disk
};

struct Status {
    char running = 0;       // 0: not started from a slot (a live system)
    bool on_trial = false;  // this is the only start of `running`, unless it is confirmed
    BootEnv env;
    std::array<Slot, 2> slots;  // a, b
    std::string refused, refused_file, refused_time;  // the last update that was not installed, and why; empty = none since the last that was

    [[nodiscard]] const Slot& slot(char name) const { return slots[name == 'b' ? 1 : 0]; }
    [[nodiscard]] char next() const;    // what GRUB will start; 0 without slots
    [[nodiscard]] bool failed() const;  // a trial was started and not confirmed, and this is not it
};

inline char other_slot(char name) { return name == 'a' ? 'b' : 'a'; }

// Never fails: what cannot be read stays empty. `root` is put before all paths.
Status read_status(const std::string& root = {});

Json to_json(const Status& status);  // {"running","next","slots":[{"slot","version","id","installed","state"}],"refused"?}

// Where an update goes: the slot that does not run. kConflict where that is the one that is known to work: while this one is on trial, or was chosen in GRUB's menu. kPrecondition without slots.
Result<char> slot_for_update(const Status& status);
// The grubenv that makes the running slot the one that is started from now on; kConflict when it is already.
Result<BootEnv> confirmed(const Status& status);
// The grubenv that starts the other version from now on. kConflict: there is none, or it was not confirmed.
Result<BootEnv> rolled_back(const Status& status);

}  // namespace blanket::update
