// SPDX-License-Identifier: GPL-2.0-or-later
// Aligned text tables. Pure. Called by render and the verbs.
#pragma once

#include <string>
#include <vector>

#include "toolstack/cli/terminal.hpp"

namespace blanket::cli {

struct Table {
    std::vector<std::string> columns;            // headings; a leading '>' aligns the column to the right
    std::vector<std::vector<std::string>> rows;  // as many cells as columns; an empty cell shows as "-"
};
std::string format_table(const Table& table, const Terminal& terminal);

// "name:   web" lines; empty values are left out.
using Fields = std::vector<std::pair<std::string, std::string>>;
std::string format_fields(const Fields& fields);

}  // namespace blanket::cli
