// SPDX-License-Identifier: GPL-2.0-or-later
// Help texts and the man page, made from the table of verbs. Pure. Called by run and verb_help.
#pragma once

#include <string>
#include <string_view>

#include "toolstack/cli/spec.hpp"

namespace blanket::cli {

std::string program_help();
std::string noun_help(std::string_view noun);
std::string verb_help(const VerbSpec& verb);
std::string man_page();        // roff for man(7), section 1
std::string markdown_table();  // the verbs' table of toolstack/README.md

}  // namespace blanket::cli
