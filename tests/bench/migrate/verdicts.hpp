// SPDX-License-Identifier: GPL-2.0-or-later
// What the rows of bench-migrate say of the goals. Pure.
#pragma once

#include <optional>
#include <span>

#include "tests/bench/migrate/runs.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::bench {

const Row* find_row(std::span<const Row> rows, std::string_view what, std::string_view load, std::string_view link, std::string_view method);
double geometric_mean(std::span<const double> values);  // 0 of none

// As lab::metric makes them. A goal whose rows are not there is left out.
Json verdicts(std::span<const Row> rows, const Settings& settings);
// Goals of the issue that this bench does not judge, and where they are.
Json not_judged();

}  // namespace blanket::bench
