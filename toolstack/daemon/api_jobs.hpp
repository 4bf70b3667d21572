// SPDX-License-Identifier: GPL-2.0-or-later
// The routes of what is waited for: jobs and events. A job that another site runs for a command given here is asked for, and ended, there.
#pragma once

#include <functional>

#include "toolstack/daemon/app.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {

void bind_jobs(RestServer& server, App& app, std::function<void()> look_at_all);

}  // namespace blanket
