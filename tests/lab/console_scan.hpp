// SPDX-License-Identifier: GPL-2.0-or-later
// Reads what a machine said on its serial console and names the lines that no healthy machine prints. Pure but for scan_console. Used after every test.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

// True for kernel BUG, Oops, call traces, panics, processes that crash, and for the hypervisor's ASSERT and BUG lines.
bool is_alarming(std::string_view line);
std::vector<std::string> alarming_lines(std::string_view text);  // at most 50, without control characters
// Of a file's part from `offset` on (a test looks at its own part only); absent = empty.
Result<std::vector<std::string>> scan_console(const std::string& path, std::uint64_t offset = 0);

}  // namespace blanket::lab
