// SPDX-License-Identifier: GPL-2.0-or-later
// Bars as inline SVG, and text for HTML. Pure. Used by report_html.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blanket::cli {

// For an element's content and for attributes in quotes; control characters go.
std::string escape_html(std::string_view text);

struct BarSegment {
    double from = 0, to = 0;  // on the chart's axis
    std::string_view css;     // its class
    std::string title;        // shown on hover; escaped here
};

struct BarRow {
    std::string label;  // left of the bar; escaped here
    std::vector<BarSegment> segments;
    std::string text;   // at the right edge, right-aligned; escaped here
};

// Rows from top to bottom on an axis from 0 to `most`. `times`: the axis is in ms and has marks, and what is too short to be seen is drawn a hair wide.
std::string bar_svg(std::string_view what, const std::vector<BarRow>& rows, double most, bool times = false);

inline constexpr double kBarWidth = 650;  // user units that stand for `most`

}  // namespace blanket::cli
