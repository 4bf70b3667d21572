// SPDX-License-Identifier: GPL-2.0-or-later
// The alarm words; see console_scan.hpp.
#include "tests/lab/console_scan.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

constexpr std::size_t kMaxConsole = 64u << 20;
constexpr std::array<std::string_view, 5> kAlarms{"BUG:", "Oops", "Call Trace", "segfault at", "general protection fault"};
constexpr std::array<std::string_view, 3> kXenAlarms{"ASSERT", "BUG", "Assertion"};

bool has_panic(std::string_view line) {
    for (const std::string_view word : {"panic", "Panic"}) {
        for (auto at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
            const char next = at + word.size() < line.size() ? line[at + word.size()] : ' ';
            if (next != '=' && next != '_' && next != '.') return true;  // "panic=10" is a setting
        }
    }
    return false;
}

}  // namespace

bool is_alarming(std::string_view line) {
    const auto within = [&](std::string_view word) { return line.find(word) != std::string_view::npos; };
    if (std::ranges::any_of(kAlarms, within) || has_panic(line)) return true;
    return within("(XEN)") && std::ranges::any_of(kXenAlarms, within);
}

std::vector<std::string> alarming_lines(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty() && lines.size() < 50) {
        const auto end = text.find('\n');
        const std::string_view line = text.substr(0, end);
        if (is_alarming(line)) {
            std::string printable(trim(line));
            std::erase_if(printable, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
            lines.push_back(std::move(printable));
        }
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return lines;
}

Result<std::vector<std::string>> scan_console(const std::string& path, std::uint64_t offset) {
    auto text = read_file(path, kMaxConsole);
    if (!text && text.error().kind == Kind::kNotFound) return std::vector<std::string>();
    if (!text) return std::unexpected(std::move(text).error());
    return alarming_lines(std::string_view(*text).substr(std::min<std::size_t>(offset, text->size())));
}

}  // namespace blanket::lab
