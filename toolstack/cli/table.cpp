// SPDX-License-Identifier: GPL-2.0-or-later
// See table.hpp.
#include "toolstack/cli/table.hpp"

#include <algorithm>

namespace blanket::cli {

std::string format_table(const Table& table, const Terminal& terminal) {
    const std::size_t count = table.columns.size();
    std::vector<bool> right(count);
    std::vector<std::vector<std::string>> lines(1);
    for (std::size_t i = 0; i < count; ++i) {
        right[i] = table.columns[i].starts_with('>');
        lines[0].push_back(table.columns[i].substr(right[i] ? 1 : 0));
    }
    for (const auto& row : table.rows) {
        auto& line = lines.emplace_back();
        for (std::size_t i = 0; i < count; ++i) line.push_back(i < row.size() && !row[i].empty() ? printable(row[i]) : "-");
    }
    std::vector<std::size_t> widths(count, 0);
    for (const auto& line : lines)
        for (std::size_t i = 0; i < count; ++i) widths[i] = std::max(widths[i], display_width(line[i]));
    std::string text;
    for (std::size_t l = 0; l < lines.size(); ++l) {
        std::string shown;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string pad(widths[i] - display_width(lines[l][i]), ' ');
            if (i != 0) shown += "  ";
            shown += right[i] ? pad + lines[l][i] : lines[l][i] + pad;
        }
        shown.erase(shown.find_last_not_of(' ') + 1);
        text += l == 0 && terminal.out_colour ? "\033[1m" + shown + "\033[0m\n" : shown + "\n";
    }
    return text;
}

std::string format_fields(const Fields& fields) {
    std::size_t width = 0;
    for (const auto& [name, value] : fields)
        if (!value.empty()) width = std::max(width, name.size());
    std::string text;
    for (const auto& [name, value] : fields)
        if (!value.empty()) text += name + ":" + std::string(width - name.size() + 2, ' ') + printable(value) + "\n";
    return text;
}

}  // namespace blanket::cli
