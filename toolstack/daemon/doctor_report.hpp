// SPDX-License-Identifier: GPL-2.0-or-later
// GET /1.0/doctor: what the host shows (doctor_gather), what our ports know, judged by doctor.cpp.
#pragma once

#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/daemon/net_trace.hpp"

namespace blanket {

// `shut`: why this site does not listen for the others; empty: it does, or is in no federation. `way`: by which the tunnel to a site goes.
Json doctor_report(App& app, Federation& federation, const std::string& uplink, const std::string& shut, const WayTo& way);

}  // namespace blanket
