// SPDX-License-Identifier: GPL-2.0-or-later
// One writev per line; control characters are replaced so that a hostile string cannot forge lines.
#include "toolstack/base/log.hpp"

#include <atomic>
#include <string>
#include <unistd.h>

namespace blanket::log {
namespace {
std::atomic<Level> g_level{Level::kInfo};
std::atomic<bool> g_plain{false};
}  // namespace

void set_level(Level level) { g_level = level; }
void set_plain(bool plain) { g_plain = plain; }

void write(Level level, std::string_view component, std::string_view text) {
    if (level > g_level.load()) return;
    std::string line = g_plain ? std::string() : std::format("<{}>", static_cast<int>(level));
    line += component;
    line += ": ";
    for (const char c : text) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    line += '\n';
    const ssize_t put = ::write(STDERR_FILENO, line.data(), line.size());
    (void)put;  // nowhere left to report it
}

}  // namespace blanket::log
