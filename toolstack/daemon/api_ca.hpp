// SPDX-License-Identifier: GPL-2.0-or-later
// The routes of a new CA for the federation, and its job.
#pragma once

#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {

void bind_ca(RestServer& server, App& app, Federation& federation);
// After a restart of blanketd in the middle of one: a new job goes on with it. Before the reconciler tells what became of interrupted jobs.
void resume_ca_rotation(App& app, Federation& federation);

}  // namespace blanket
