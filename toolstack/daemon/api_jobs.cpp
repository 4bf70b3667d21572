// SPDX-License-Identifier: GPL-2.0-or-later
// See api_jobs.hpp.
#include "toolstack/daemon/api_jobs.hpp"

#include <algorithm>
#include <optional>

#include "toolstack/base/text.hpp"
#include "toolstack/daemon/api_vms.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr std::uint64_t kMaxWait = 55;  // seconds of a long poll

std::chrono::milliseconds wait_of(const RestRequest& request) {
    const auto it = request.query.find("wait_s");
    const auto seconds = it == request.query.end() ? Result<std::uint64_t>(0) : parse_number(it->second, 0, kMaxWait, "wait_s");
    return std::chrono::seconds(seconds ? *seconds : 0);
}

std::uint64_t after_of(const RestRequest& request) {
    const auto it = request.query.find("after");
    const auto after = it == request.query.end() ? Result<std::uint64_t>(0) : parse_number(it->second, 0, std::uint64_t{1} << 62, "after");
    return after ? *after : 0;
}

// The answer of the site that runs the job. Empty: it is this site's. What a site asks is never sent on: it knows whose the job is.
std::optional<Result<Json>> ask_its_site(App& app, const RestRequest& request, const std::string& rest = {}) {
    const std::string& id = request.matches.at(0);
    const std::string where = app.jobs.site_of(id);
    if (where.empty() || !request.local) return std::nullopt;
    const auto site = app.world.site(where);
    if (!site) return Result<Json>(std::unexpected(site.error()));
    return app.neighbours.call(*site, request.method, std::format("/1.0/jobs/{}{}", id, rest), nullptr);
}

}  // namespace

void bind_jobs(RestServer& server, App& app, std::function<void()> look_at_all) {
    server.route("GET", "/1.0/jobs", respond([&](const RestRequest&) -> Result<Json> { return Json{{"jobs", app.jobs.list()}}; }));
    server.route("GET", "/1.0/jobs/*", respond([&](const RestRequest& request) -> Result<Json> {
        const auto wait_s = std::min<long long>(wait_of(request) / std::chrono::seconds(1), 30);
        if (auto there = ask_its_site(app, request, std::format("?after={}&wait_s={}", after_of(request), wait_s))) return *there;
        BLANKET_TRY(const Json job, app.jobs.show(request.matches.at(0), after_of(request), wait_of(request)));
        return Json{{"job", job}};
    }));
    server.route("GET", "/1.0/jobs/*/trace", respond([&](const RestRequest& request) -> Result<Json> {
        if (auto there = ask_its_site(app, request, "/trace")) return *there;
        BLANKET_TRY(const Json trace, app.jobs.trace(request.matches.at(0)));
        return Json{{"trace", trace}};
    }));
    server.route("DELETE", "/1.0/jobs", respond([&, look_at_all = std::move(look_at_all)](const RestRequest& request) -> Result<Json> {
        if (is_dry_run(request)) return steps_json({"look at every VM of this site and put in order what broken actions left", "forget the jobs that have ended"});
        app.jobs.forget_ended();
        look_at_all();
        return Json::object();
    }), Access::kLocal);
    server.route("DELETE", "/1.0/jobs/*", respond([&](const RestRequest& request) -> Result<Json> {
        if (auto there = ask_its_site(app, request)) return *there;
        BLANKET_CHECK(app.jobs.cancel(request.matches.at(0)));
        return Json::object();
    }));
    server.route("GET", "/1.0/events", respond([&](const RestRequest& request) -> Result<Json> { return app.events.since(after_of(request), wait_of(request)); }));
}

}  // namespace blanket
