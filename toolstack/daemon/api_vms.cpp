// SPDX-License-Identifier: GPL-2.0-or-later
// See api_vms.hpp.
#include "toolstack/daemon/api_vms.hpp"

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/drain.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr std::uint64_t kMaxStop = 3600;

std::string query_of(const RestRequest& request) {
    std::string text;
    for (const auto& [key, value] : request.query)
        if (key == "dry_run") text = "?dry_run=" + std::string(value == "0" ? "0" : "1");
    return text;
}

// Runs `here` when this site owns the VM; else sends the request to the owner, once (a peer's request is never sent on again).
RestServer::Handler at_owner(App& app, std::function<RestResponse(const RestRequest&, const VmRecord&)> here) {
    return [&app, here = std::move(here)](const RestRequest& request) {
        if (auto refreshed = app.world.refresh(); !refreshed) log::warning("api", "{}", refreshed.error().what);
        const auto vm = app.world.vm(request.matches.at(0));
        if (!vm) return RestResponse::of(vm.error());
        if (vm->value.owner == app.site) return here(request, vm->value);
        if (!request.local)
            return RestResponse::of(Error{Kind::kConflict, std::format("VM '{}' belongs to '{}'", vm->value.name, vm->value.owner), "try again"});
        const auto site = app.world.site(vm->value.owner);
        if (!site) return RestResponse::of(site.error());
        const auto body = request.json();
        if (!body) return RestResponse::of(body.error());
        auto answer = app.neighbours.call(*site, request.method, request.path + query_of(request), &*body);
        if (!answer) return RestResponse::of(answer.error());
        if (answer->contains("job")) {
            (*answer)["job"]["site"] = vm->value.owner;
            app.jobs.remember(json_string_or((*answer)["job"], "id", ""), vm->value.owner);
        }
        return RestResponse::of(*answer, answer->contains("job") ? 202 : 200);
    };
}

using Act = std::function<Result<Answer>(const RestRequest&, const VmRecord&)>;

RestServer::Handler act_at_owner(App& app, Act act) {
    return at_owner(app, [&app, act = std::move(act)](const RestRequest& request, const VmRecord& vm) {
        return respond_job([&](const RestRequest& inner) -> Result<Answer> {
            BLANKET_TRY(Answer answer, act(inner, vm));
            if (answer.job && !inner.peer_site.empty()) {
                const std::string text = std::format("asked for by site '{}': {} {}", inner.peer_site, inner.method, inner.path);
                answer.job->note(text);
                app.events.add("vm", vm.name, text);
            }
            return answer;
        })(request);
    });
}

}  // namespace

Json vm_view(const VmRecord& vm, const std::vector<DomainInfo>& domains, const std::string& here) {
    Json value = to_json(vm);
    value["state"] = vm.owner == here ? "shutoff" : to_string(vm.phase);
    value["host_id"] = -1;
    if (vm.owner != here && vm.phase == Phase::kStopped) value["state"] = "shutoff";
    for (const auto& domain : domains)
        if (domain.uuid == vm.uuid && vm.owner == here) {
            value["state"] = to_string(domain.state);
            value["host_id"] = domain.id;
        }
    return value;
}

void bind_vms(RestServer& server, App& app) {
    server.route("GET", "/1.0/vms", respond([&](const RestRequest&) -> Result<Json> {
        BLANKET_CHECK(app.world.refresh());
        BLANKET_TRY(const auto domains, app.hypervisor.list());
        Json list = Json::array();
        for (const auto& vm : app.world.snapshot().vms) list.push_back(vm_view(vm.value, domains, app.site));
        return Json{{"vms", list}};
    }));
    server.route("GET", "/1.0/vms/*", at_owner(app, [&](const RestRequest&, const VmRecord& vm) {
        const auto domains = app.hypervisor.list();
        return domains ? RestResponse::of(vm_view(vm, *domains, app.site)) : RestResponse::of(domains.error());
    }));
    server.route("POST", "/1.0/vms", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const CreateRequest create, parse_create(body));
        BLANKET_CHECK(app.world.refresh());
        return create_vm(app, create, is_dry_run(request));
    }), Access::kLocal);
    server.route("POST", "/1.0/import", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_CHECK(app.world.refresh());
        return import_vm(app, body, is_dry_run(request));
    }), Access::kLocal);
    server.route("POST", "/1.0/drain", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        return drain_host(app, json_string_or(body, "to", ""), is_dry_run(request));
    }), Access::kLocal);
    // Here, whoever the owner is.
    server.route("POST", "/1.0/vms/*/recover", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_CHECK(app.world.refresh());
        BLANKET_TRY(const auto vm, app.world.vm(request.matches.at(0)));
        return recover_vm(app, vm, json_bool_or(body, "accept_loss", false), is_dry_run(request));
    }), Access::kLocal);
    server.route("POST", "/1.0/vms/*/drop-fork", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_CHECK(app.world.refresh());
        BLANKET_TRY(const auto vm, app.world.vm(request.matches.at(0)));
        return drop_fork(app, vm.value, is_dry_run(request));
    }), Access::kLocal);
    server.route("POST", "/1.0/peer/drop-standby", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string uuid, json_string(body, "uuid"));
        return drop_standby(app, uuid);
    }));
    server.route("POST", "/1.0/peer/disks", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        return disk_epochs(app, body);
    }));
    server.route("POST", "/1.0/vms/*/start", act_at_owner(app, [&](const RestRequest& request, const VmRecord& vm) { return start_vm(app, vm, is_dry_run(request)); }));
    server.route("POST", "/1.0/vms/*/stop", act_at_owner(app, [&](const RestRequest& request, const VmRecord& vm) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        const std::uint64_t seconds = json_number_or(body, "timeout_s", 60);
        if (seconds < 1 || seconds > kMaxStop) return fail(Kind::kInvalid, "a time-out of {} s is outside of 1 to {}", seconds, kMaxStop);
        return stop_vm(app, vm, StopMode::kShutdown, std::chrono::seconds(seconds), is_dry_run(request));
    }));
    server.route("POST", "/1.0/vms/*/destroy", act_at_owner(app, [&](const RestRequest& request, const VmRecord& vm) {
        return stop_vm(app, vm, StopMode::kDestroy, std::chrono::seconds(60), is_dry_run(request));
    }));
    server.route("POST", "/1.0/vms/*/policy", at_owner(app, [&](const RestRequest& request, const VmRecord& vm) {
        return respond([&](const RestRequest& inner) -> Result<Json> {
            BLANKET_TRY(const Json body, inner.json());
            BLANKET_TRY(const std::string policy, json_string(body, "policy"));
            if (!inner.peer_site.empty() && !is_dry_run(inner)) app.events.add("vm", vm.name, std::format("site '{}' asks for the policy '{}'", inner.peer_site, policy.substr(0, 40)));
            return set_policy(app, vm, policy, is_dry_run(inner));
        })(request);
    }));
    server.route("DELETE", "/1.0/vms/*", act_at_owner(app, [&](const RestRequest& request, const VmRecord& vm) { return delete_vm(app, vm, is_dry_run(request)); }));
    server.route("POST", "/1.0/vms/*/migrate", act_at_owner(app, [&](const RestRequest& request, const VmRecord& vm) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string target, json_string(body, "target"));
        BLANKET_TRY(const MoveLimits limits, parse_move_limits(body));
        return migrate_vm(app, vm, target, limits, is_dry_run(request));
    }));
}

}  // namespace blanket
