// SPDX-License-Identifier: GPL-2.0-or-later
// Small files: bounded reads, atomic and durable writes with a stated mode.
#pragma once

#include <string>
#include <string_view>
#include <sys/types.h>

#include "toolstack/base/result.hpp"

namespace blanket {

// Whole file; kNotFound when absent, kIo when longer than `max` bytes.
Result<std::string> read_file(const std::string& path, std::size_t max = 4u << 20);
// Temporary file in the same folder, fsync, rename, fsync of the folder: the old or the new content, never a mixture.
Result<void> write_file(const std::string& path, std::string_view data, mode_t mode = 0644);
// In place, in one write: for files of /proc and /sys, where nothing can be made or renamed. The file must be there.
Result<void> write_control(const std::string& path, std::string_view text);
// mkdir -p; the last component gets `mode`.
Result<void> make_dirs(const std::string& path, mode_t mode = 0755);
Result<void> remove_file(const std::string& path);  // absent is fine

}  // namespace blanket
