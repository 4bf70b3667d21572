// SPDX-License-Identifier: GPL-2.0-or-later
// grubenv: what GRUB remembers from one start to the next. image-builder/grub.cfg.in reads and writes it, and libexec/blanket/boot-tries. Pure, but for write_boot_env.
#pragma once

#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::update {

struct BootEnv {
    char slot = 'a';      // what is started
    unsigned tries = 0;   // starts of Xen that nobody confirmed, 0 to 3
    char trial = 0;       // a new version's slot until it is confirmed; 0 = none
    bool armed = false;   // the trial is to be started next; false with a trial: it was, and its start is the last one
};

inline constexpr std::size_t kBootEnvSize = 1024;

// What is damaged or missing counts as GRUB counts it: slot a, no trial.
BootEnv parse_boot_env(std::string_view text);
std::string format_boot_env(const BootEnv& env);  // kBootEnvSize bytes

// Over the old content: GRUB knows the file by its blocks. Durable when it returns.
Result<void> write_boot_env(const std::string& path, const BootEnv& env);

}  // namespace blanket::update
