// SPDX-License-Identifier: GPL-2.0-or-later
// What a person sees while a job runs: a bar and the phase on a terminal, plain lines elsewhere; always on stderr. Called by run and `job watch`.
#pragma once

#include <string>

#include "toolstack/base/json.hpp"
#include "toolstack/cli/terminal.hpp"

namespace blanket::cli {

// Turns successive states of one job into text. Pure: what it returns is to be written to stderr as it is. Not thread safe.
class Progress final {
public:
    explicit Progress(const Terminal& terminal) : terminal_(terminal) {}
    std::string update(const Json& job, double elapsed_s);
    std::string clear();  // removes the bar

private:
    std::string news(const Json& job);
    std::string bar(const Json& job, double elapsed_s) const;
    std::string live_line(const Json& job);

    Terminal terminal_;
    std::size_t messages_ = 0;      // shown already
    std::size_t phases_begun_ = 0;  // of the job's phases
    std::size_t phases_ended_ = 0;
    std::string phase_;             // of `progress`, where the job keeps no list of phases
    bool bar_shown_ = false;
    std::string live_phase_;        // of the last line of figures
    double live_round_ = -1, live_ms_ = 0;
};

}  // namespace blanket::cli
