// SPDX-License-Identifier: GPL-2.0-or-later
// Why a frame was dropped, in an operator's words. Part of trace.hpp.
#pragma once

#include "net/model.hpp"
#include "net/walk.hpp"

namespace blanket::net {

struct DropReason {
    std::string reason, next;
};

// `step`: the last one of a walk in `world`; `all`: resolve(world). `speaker`: whose frame it is; `from_site`: which site sent it by the tunnel.
DropReason explain_drop(const World& world, const WalkStep& step, const Frame& frame, const std::vector<Endpoint>& all, const Endpoint& speaker,
                        const std::string& from_site);
// Why a VM without a port says and hears nothing.
DropReason explain_unplugged(const World& world, const Endpoint& endpoint);

}  // namespace blanket::net
