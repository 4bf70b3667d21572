// SPDX-License-Identifier: GPL-2.0-or-later
// Log lines to stderr with sd-daemon priorities (journald reads them). info = state changes that matter in production only.
#pragma once

#include <format>
#include <string_view>

namespace blanket::log {

enum class Level { kNone = 0, kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

void set_level(Level level);           // default kInfo
void set_plain(bool plain);            // true: no <N> prefix (programs on a terminal)
void write(Level level, std::string_view component, std::string_view text);  // thread safe, one line

template <typename... Args>
void error(std::string_view component, std::format_string<Args...> text, Args&&... args) {
    write(Level::kError, component, std::format(text, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(std::string_view component, std::format_string<Args...> text, Args&&... args) {
    write(Level::kWarning, component, std::format(text, std::forward<Args>(args)...));
}
template <typename... Args>
void info(std::string_view component, std::format_string<Args...> text, Args&&... args) {
    write(Level::kInfo, component, std::format(text, std::forward<Args>(args)...));
}
template <typename... Args>
void debug(std::string_view component, std::format_string<Args...> text, Args&&... args) {
    write(Level::kDebug, component, std::format(text, std::forward<Args>(args)...));
}

}  // namespace blanket::log
