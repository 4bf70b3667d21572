// SPDX-License-Identifier: GPL-2.0-or-later
// What bench-migrate prints, and its report: JSON, and a page with drawings beside it. Pure.
#pragma once

#include <span>
#include <string>

#include "tests/bench/migrate/runs.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::bench {

std::string line_of(const Row& row);
Json links_json(const Settings& settings);  // with the bounds of the model for one and for several connections
// Without the machine's facts, which the caller adds.
Json report_json(std::span<const Row> rows, const Settings& settings);
std::string report_html(const Json& report);

}  // namespace blanket::bench
