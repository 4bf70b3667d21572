// SPDX-License-Identifier: GPL-2.0-or-later
// A migration's trace as one HTML page for people: no scripts, nothing from elsewhere, light and dark. Pure. Called by `job report`.
#pragma once

#include <string>

#include "toolstack/core/move_trace.hpp"

namespace blanket::cli {

struct ReportHead {
    std::string job, state, error, hint;  // the last two of a job that failed; any text: all is escaped
};

std::string report_html(const ReportHead& head, const MoveTrace& trace);

}  // namespace blanket::cli
