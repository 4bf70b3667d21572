// SPDX-License-Identifier: GPL-2.0-or-later
// See api.hpp.
#include "toolstack/daemon/api.hpp"

#include <algorithm>
#include <memory>
#include <mutex>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/api_ca.hpp"
#include "toolstack/daemon/api_groups.hpp"
#include "toolstack/daemon/api_jobs.hpp"
#include "toolstack/daemon/api_vms.hpp"
#include "toolstack/daemon/images.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/paths.hpp"
#include "toolstack/daemon/uplinks.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/migrate/admission.hpp"

namespace blanket {
namespace {

template <typename T>
Json list_of(const std::vector<Versioned<T>>& items) {
    Json list = Json::array();
    for (const auto& item : items) list.push_back(to_json(item.value));
    return list;
}

Result<Json> admit_here(App& app, const RestRequest& request) {
    BLANKET_TRY(const Json body, request.json());
    const auto record = body.find("record");
    if (record == body.end()) return fail(Kind::kInvalid, "no record");
    BLANKET_TRY(const VmRecord vm, parse_vm(*record));
    migrate::Admission at{app.site, {}, {}, {}};
    BLANKET_TRY(at.host, app.hypervisor.facts());
    BLANKET_TRY(at.pool, app.blocks.pool());
    BLANKET_TRY(at.domains, app.hypervisor.list());
    BLANKET_CHECK(migrate::admit(vm, at));
    BLANKET_CHECK(check_nets_here(app, vm));
    Json missing = Json::array();
    for (const auto& volume : vm.volumes) {
        if (volume.image.empty()) continue;
        BLANKET_TRY(const bool present, app.blocks.has_image(volume.image));
        if (!present) missing.push_back(volume.image);
    }
    return Json{{"ok", true}, {"missing", missing}};
}

std::string not_listening(const Error& why) { return std::format("the other sites do not reach this one yet: {}; it is tried again, and blanket doctor tells", why.what); }

void bind_federation(RestServer& server, App& app, Federation& federation, const ApiHooks& hooks) {
    server.route("GET", "/1.0/federation", respond([&](const RestRequest&) -> Result<Json> {
        BLANKET_CHECK(federation.refuse_behind());
        return federation.show();
    }));
    server.route("POST", "/1.0/federation", respond([&, hooks](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string name, json_string(body, "name"));
        BLANKET_CHECK(check_name(name, "federation"));
        if (is_dry_run(request)) return steps_json({std::format("name the federation '{}'", name), std::format("listen for other sites on ports {} and {}", 7443, 7444)});
        BLANKET_TRY(const Json answer, federation.init(name));
        if (const auto listening = hooks.federated(); !listening) app.events.add("federation", name, not_listening(listening.error()));
        (void)app.world.refresh();
        return answer;
    }), Access::kLocal);
    server.route("GET", "/1.0/sites", respond([&](const RestRequest&) -> Result<Json> {
        if (const auto cut = federation.revoked())
            return fail_hint(Kind::kDenied, std::format("this site, '{}', was revoked by '{}' at {}: the federation has cut it off, for good", app.site, cut->by, cut->since),
                             "its VMs belong to the others; reinstall the machine to join again, under another name");
        BLANKET_CHECK(federation.refuse_behind());
        BLANKET_CHECK(app.world.refresh());
        Json sites = list_of(app.world.snapshot().sites);
        for (auto& site : sites) {  // of this one we know more than its record says
            if (json_string_or(site, "name", "") != app.site) continue;
            const Uplinks uplinks = gather_uplinks();
            site["uplinks"] = Json::array();
            for (const auto& one : uplinks.list) {
                const std::string better = better_way(one, uplinks);
                site["uplinks"].push_back(better.empty() ? summary(one) : std::format("{} ({})", summary(one), better));
            }
        }
        return Json{{"sites", std::move(sites)}};
    }));
    server.route("POST", "/1.0/sites/*/revoke", respond([&](const RestRequest& request) -> Result<Json> {
        const std::string& name = request.matches.at(0);
        BLANKET_TRY(const Json body, request.json());
        const bool unknown = json_bool_or(body, "unknown", false);
        if (is_dry_run(request)) {
            BLANKET_TRY(const auto steps, federation.plan_revoke(name, unknown));
            return steps_json(steps);
        }
        BLANKET_TRY(Json answer, federation.revoke(name, [&](const std::string& text) { app.events.add("site", name, text); }, unknown));
        (void)app.world.refresh();
        return answer;
    }), Access::kLocal);
    server.route("POST", "/1.0/site/rotate-key", respond([&app, hooks, one = std::make_shared<std::mutex>()](const RestRequest& request) -> Result<Json> {
        if (is_dry_run(request)) return steps_json({"make a WireGuard key", "give it to this site's tunnel", "name it in this site's record, where the other sites find it"});
        const std::scoped_lock lock(*one);
        BLANKET_TRY(const Json answer, hooks.rotate_key());
        app.events.add("site", app.site, "its WireGuard key was replaced");
        (void)app.world.refresh();
        return Json{{"rotated", {{"site", app.site}, {"key", answer.at("key")}}}};
    }), Access::kLocal);
    server.route("POST", "/1.0/peer/revoked", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_CHECK(federation.accept_revocation(body));
        return Json::object();
    }), Access::kMembers);
    server.route("POST", "/1.0/peer/renew", respond([&](const RestRequest& request) -> Result<Json> {
        if (request.peer_site.empty()) return fail(Kind::kDenied, "only another site asks for this, with its certificate");
        BLANKET_TRY(const Json body, request.json());
        return federation.handle_renew(Subject{request.peer_site, request.peer_address, request.signed_role}, body);
    }), Access::kMembers);
    server.route("GET", "/1.0/peer/standing", respond([&](const RestRequest& request) -> Result<Json> {
        const auto name = request.query.find("site");
        if (name == request.query.end()) return fail(Kind::kInvalid, "which site? (?site=NAME)");
        BLANKET_CHECK(check_name(name->second, "site"));
        return federation.standing(name->second);
    }), Access::kOpen);
    server.route("POST", "/1.0/tokens", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        const std::string role = json_string_or(body, "role", "site"), name = json_string_or(body, "name", "");
        const std::uint64_t ttl = json_number_or(body, "ttl_s", 3600);
        if (role != "site" && role != "witness") return fail(Kind::kInvalid, "role '{}' is neither site nor witness", role.substr(0, 30));
        if (!name.empty()) BLANKET_CHECK(check_name(name, "site"));
        if (ttl < 1 || ttl > 30 * 86400) return fail(Kind::kInvalid, "a token lives from 1 s to 30 days, not {} s", ttl);
        if (is_dry_run(request)) return steps_json({std::format("record a one-time token for a {} that expires in {} s", role, ttl)});
        return federation.make_token(role, name, std::chrono::seconds(ttl));
    }), Access::kLocal);
    server.route("POST", "/1.0/join", respond_job([&, hooks](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string token, json_string(body, "token"));
        if (is_dry_run(request)) {
            BLANKET_TRY(const auto steps, federation.plan_join(token));
            return Answer{nullptr, steps};
        }
        BLANKET_TRY(auto job, app.jobs.start("join", "site/" + app.site, [&, hooks, token](Job& self) -> Result<Json> {
            self.phase("join");
            BLANKET_CHECK(federation.join(token, [&self](const std::string& text) { self.note(text); }));
            self.phase("listen");
            if (const auto listening = hooks.federated(); !listening) self.note(not_listening(listening.error()));
            BLANKET_CHECK(app.world.refresh());
            for (const auto& why : unserved_nets(app).unused) self.note("warning: " + why + ": no VM of it can come here");
            return federation.show();
        }));
        return Answer{job, {}};
    }), Access::kLocal);
    server.route("POST", "/1.0/peer/join", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        return federation.handle_join(body);
    }), Access::kOpen);
    server.route("POST", "/1.0/peer/admit", respond([&](const RestRequest& request) { return admit_here(app, request); }));
}

void bind_lists(RestServer& server, App& app, const ApiHooks& hooks) {
    server.route("GET", "/1.0/images", respond([&](const RestRequest&) -> Result<Json> {
        BLANKET_CHECK(app.world.refresh());
        return Json{{"images", list_of(app.world.snapshot().images)}};
    }));
    server.route("POST", "/1.0/images", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string name, json_string(body, "name"));
        BLANKET_TRY(const std::string path, json_string(body, "path"));
        return add_image(app, name, path, is_dry_run(request));
    }), Access::kLocal);
    server.route("GET", "/1.0/nets", respond([&](const RestRequest&) -> Result<Json> {
        BLANKET_CHECK(app.world.refresh());
        return Json{{"nets", list_of(app.world.snapshot().nets)}};
    }));
    server.route("POST", "/1.0/nets", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        return create_net(app, body, is_dry_run(request));
    }), Access::kLocal);
    server.route("GET", "/1.0/nets/*", respond([&](const RestRequest& request) { return show_net(app, request.matches.at(0)); }));
    server.route("POST", "/1.0/vms/*/expose", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        return expose_vm(app, request.matches.at(0), body, is_dry_run(request));
    }), Access::kLocal);
    server.route("POST", "/1.0/vms/*/unexpose", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        return unexpose_vm(app, request.matches.at(0), body, is_dry_run(request));
    }), Access::kLocal);
    server.route("DELETE", "/1.0/nets/*", respond([&](const RestRequest& request) { return delete_net(app, request.matches.at(0), is_dry_run(request)); }), Access::kLocal);
    server.route("GET", "/1.0/trace", respond([hooks](const RestRequest& request) { return hooks.trace(request.query); }), Access::kLocal);
}

}  // namespace

bool is_dry_run(const RestRequest& request) {
    const auto it = request.query.find("dry_run");
    return it != request.query.end() && it->second != "0";
}

Json steps_json(const std::vector<std::string>& steps) { return {{"steps", steps}}; }

RestServer::Handler respond(std::function<Result<Json>(const RestRequest&)> handler) {
    return [handler = std::move(handler)](const RestRequest& request) {
        const auto answer = handler(request);
        return answer ? RestResponse::of(*answer) : RestResponse::of(answer.error());
    };
}

RestServer::Handler respond_job(std::function<Result<Answer>(const RestRequest&)> handler) {
    return [handler = std::move(handler)](const RestRequest& request) {
        const auto answer = handler(request);
        if (!answer) return RestResponse::of(answer.error());
        if (!answer->job) return RestResponse::of(steps_json(answer->steps));
        return RestResponse::of(Json{{"job", answer->job->to_json()}}, 202);
    };
}

void bind_routes(RestServer& server, App& app, Federation& federation, ApiHooks hooks) {
    server.route("GET", "/1.0", respond([&](const RestRequest&) -> Result<Json> {
        const Snapshot now = app.world.snapshot();
        return Json{{"api", "1.0"}, {"version", app.version}, {"site", app.site},
                    {"federation", now.federation_name.empty() ? Json(nullptr) : Json(now.federation_name)}};
    }));
    server.route("GET", "/1.0/doctor", respond([hooks](const RestRequest&) -> Result<Json> { return hooks.doctor(); }));
    server.route("GET", "/1.0/paths", respond([&, hooks](const RestRequest&) -> Result<Json> {
        std::vector<Site> sites;
        for (const auto& site : app.world.snapshot().sites) sites.push_back(site.value);
        auto paths = gather_paths(sites, app.site, app.clock.unix_ms() / 1000);
        for (auto& path : paths)
            if (auto known = hooks.way(path.site)) {
                path.way = std::move(known->way);
                path.why = std::move(known->why);
            }
        return to_json(paths);
    }));
    server.route("GET", "/1.0/uplinks", respond([](const RestRequest&) -> Result<Json> { return to_json(gather_uplinks()); }));
    bind_federation(server, app, federation, hooks);
    bind_ca(server, app, federation);
    bind_lists(server, app, hooks);
    bind_jobs(server, app, hooks.look_at_all);
    bind_vms(server, app);
    bind_groups(server, app);
}

}  // namespace blanket
