// SPDX-License-Identifier: GPL-2.0-or-later
// The file that a person names with --out.
#pragma once

#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::cli {

// A regular file is replaced as a whole (write_file) and keeps its mode; anything else (a device, a pipe, a link) is written to as it is, and stays.
Result<void> write_output(const std::string& path, std::string_view data);

}  // namespace blanket::cli
