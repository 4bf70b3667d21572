// SPDX-License-Identifier: GPL-2.0-or-later
// Holds one domain back while it is saved live: a cap of Xen's credit2 scheduler, as a part of the processor time that the domain used until then. What its cap
// was before stands in xenstore (/libxl/DOMID/blanket-cap, dom0's alone, gone with the domain) for as long as ours is set, so that any later process can lift it.
// Used by live_save() and blanket-save. One thread.
#pragma once

#include <cstdint>

#include "toolstack/base/result.hpp"

struct xc_interface_core;

namespace blanket {

class ProcessorCap final {
public:
    // `control` must live longer. The domain's use of processors is measured from here on.
    ProcessorCap(xc_interface_core* control, std::uint32_t domid);
    ~ProcessorCap() { (void)lift(); }
    ProcessorCap(const ProcessorCap&) = delete;
    ProcessorCap& operator=(const ProcessorCap&) = delete;

    // `share` of what it used before it was first held back, at least 1 % of one processor. kUnavailable: another scheduler, or nothing was measured yet.
    Result<void> hold(double share);
    // Its own cap again; fine when none of ours is set, by whichever process.
    Result<void> lift();

private:
    struct Use {
        std::uint64_t cpu_ns = 0;
        std::int64_t at_ms = 0;
    };
    Use use() const;
    xc_interface_core* control_;
    std::uint32_t domid_;
    Use begin_;
    double used_percent_ = 0;  // of one processor; 0: not held back yet
};

}  // namespace blanket
