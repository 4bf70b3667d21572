// SPDX-License-Identifier: GPL-2.0-or-later
// What operators get wrong, and what only an operator can put right, on real machines: commands in the middle of a move, a registry that was put back to an
// older state, a record edited into nonsense, a site that is lost. fault-campaign runs them as moment "operator".
#pragma once

#include "tests/faults/campaign.hpp"

namespace blanket::lab {

struct OperatorCase {
    std::string name;
    // Does it, and says what was not as it should be; the campaign then waits until all is well.
    std::function<Result<std::vector<std::string>>(Scene&)> run;
    bool guest_dies = false;
};
const std::vector<OperatorCase>& operator_cases();
Result<FaultResult> run_operator_case(Clouds& clouds, const OperatorCase& which);

}  // namespace blanket::lab
