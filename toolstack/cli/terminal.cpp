// SPDX-License-Identifier: GPL-2.0-or-later
// See terminal.hpp.
#include "toolstack/cli/terminal.hpp"

#include <algorithm>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

namespace blanket::cli {
namespace {

std::string_view environment(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

}  // namespace

Terminal detect_terminal() {
    Terminal terminal;
    const std::string_view term = environment("TERM");
    const bool able = !term.empty() && term != "dumb";
    const bool colour = able && environment("NO_COLOR").empty();
    terminal.out = ::isatty(STDOUT_FILENO) == 1;
    terminal.err = ::isatty(STDERR_FILENO) == 1 && able;  // a dumb terminal gets plain lines instead of a bar
    terminal.out_colour = terminal.out && colour;
    terminal.err_colour = terminal.err && colour;
    std::string_view locale = environment("LC_ALL");
    if (locale.empty()) locale = environment("LC_CTYPE");
    if (locale.empty()) locale = environment("LANG");
    std::string lower(locale);
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    terminal.utf8 = lower.contains("utf-8") || lower.contains("utf8");
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.width = size.ws_col;
    return terminal;
}

std::string printable(std::string_view text, bool keep_newlines) {
    std::string clean;
    clean.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\n' && keep_newlines) clean += '\n';
        else if (c == '\n' || c == '\t') clean += ' ';
        else if (c < 0x20 || c == 0x7f) clean += '?';
        else if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {  // C1 controls, U+0080..U+009F
            clean += '?';
            ++i;
        } else clean += text[i];
    }
    return clean;
}

std::size_t display_width(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace blanket::cli
