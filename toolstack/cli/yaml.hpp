// SPDX-License-Identifier: GPL-2.0-or-later
// JSON values as YAML 1.2 text. Pure. Called by render.
#pragma once

#include <string>

#include "toolstack/base/json.hpp"

namespace blanket::cli {

std::string to_yaml(const Json& value);  // ends with a newline

}  // namespace blanket::cli
