// SPDX-License-Identifier: GPL-2.0-or-later
// The demo of two clouds and one live migration there and back; `blanket-lab demo`.
#pragma once

#include <string>

#include "tests/lab/lab.hpp"

namespace blanket::lab {

struct DemoOptions {
    LabOptions lab;
    std::string domu;    // the guest image, raw or raw.zst
    std::string report;  // JSON file, empty = none; the HTML page goes beside it
    bool south = true;   // boot the third site and try the move that must be refused
};

// Tells the story on standard output. Returns 0 when everything held, 1 when not; an error when the lab itself could not be made.
Result<int> run_demo(DemoOptions options);

}  // namespace blanket::lab
