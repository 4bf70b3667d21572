// SPDX-License-Identifier: GPL-2.0-or-later
// The VM routes, and the small helpers that all routes share.
#pragma once

#include <functional>

#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {

void bind_vms(RestServer& server, App& app);
// The record with `state` and `host_id`, as this site knows them; `domains`: those of its hypervisor.
Json vm_view(const VmRecord& vm, const std::vector<DomainInfo>& domains, const std::string& here);

bool is_dry_run(const RestRequest& request);
Json steps_json(const std::vector<std::string>& steps);
RestServer::Handler respond(std::function<Result<Json>(const RestRequest&)> handler);
RestServer::Handler respond_job(std::function<Result<Answer>(const RestRequest&)> handler);  // 202 with the job, or 200 with the steps

}  // namespace blanket
