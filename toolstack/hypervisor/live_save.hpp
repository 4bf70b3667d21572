// SPDX-License-Identifier: GPL-2.0-or-later
// The live save of one PV domain by libxenguest, with a policy of our own for its rounds. Used by blanket-save.
//
// The stream is libxl's (docs/specs/libxl-migration-stream of Xen 4.20), as `xl save` and `virsh save` write it for a PV guest and as libxl's restore reads
// it: head, LIBXC_CONTEXT record, libxenguest's image, END record. libxl's own save cannot be told when to stop copying, and needs a second process that it
// talks to at every step.
#pragma once

#include <functional>

#include "toolstack/core/ports.hpp"
#include "toolstack/hypervisor/xen_domain.hpp"

namespace blanket {

struct LiveSaveHooks {
    std::function<bool()> given_up;                  // asked between rounds and while the guest is asked to stop
    std::function<void(const SaveProgress&)> tell;   // at every step; returns before the guest is asked to stop
};

// kCancelled when given up; any error leaves the guest running or suspended: call run_on().
Result<void> live_save(XenDomainHandle& domain, XenLog& log, int fd, const SaveLimits& limits, const LiveSaveHooks& hooks);

}  // namespace blanket
