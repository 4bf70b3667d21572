// SPDX-License-Identifier: GPL-2.0-or-later
// The report's two drawings as inline SVG. Pure; used by report_html.cpp.
#pragma once

#include <string>
#include <string_view>

#include "tests/lab/demo_result.hpp"

namespace blanket::lab {

std::string escape_html(std::string_view text);
std::string latency_plot(const DemoResult& result);  // latency (log scale) over time; the moves are shaded
std::string phases_plot(const DemoResult& result);   // one bar per phase of each move

}  // namespace blanket::lab
