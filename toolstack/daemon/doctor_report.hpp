// SPDX-License-Identifier: GPL-2.0-or-later
// GET /1.0/doctor: what the host shows (doctor_gather), what our ports know, judged by doctor.cpp.
#pragma once

#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/federation.hpp"

namespace blanket {

Json doctor_report(App& app, Federation& federation, const std::string& uplink);

}  // namespace blanket
