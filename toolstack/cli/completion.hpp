// SPDX-License-Identifier: GPL-2.0-or-later
// Completion scripts for bash, zsh and fish, made from the table of verbs. Pure. Called by verb_help.
#pragma once

#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::cli {

Result<std::string> completion_script(std::string_view shell);  // kInvalid for another shell

}  // namespace blanket::cli
