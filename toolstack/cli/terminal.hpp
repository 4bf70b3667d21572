// SPDX-License-Identifier: GPL-2.0-or-later
// What the terminal can show. A plain value, so that rendering stays pure. Made once by main.
#pragma once

#include <string>
#include <string_view>

namespace blanket::cli {

struct Terminal {
    bool out = false, err = false;                // stdout, stderr are terminals
    bool out_colour = false, err_colour = false;  // never off a terminal, with NO_COLOR, or on TERM=dumb
    bool utf8 = false;                            // of the locale
    int width = 80;                               // columns of stderr
};

Terminal detect_terminal();

// Control characters (of names and texts from guests, peers and files) become '?', so that they cannot drive the terminal. Newlines stay when asked for.
std::string printable(std::string_view text, bool keep_newlines = false);
std::size_t display_width(std::string_view text);  // code points of UTF-8

}  // namespace blanket::cli
