// SPDX-License-Identifier: GPL-2.0-or-later
// See api_ca.hpp.
#include "toolstack/daemon/api_ca.hpp"

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/api_vms.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr const char* kRotateCa = "rotate-ca";
constexpr std::uint64_t kPatience = 600, kMostPatience = 7 * 86400;  // seconds
constexpr std::size_t kMostLeftOut = 254;

Result<std::vector<std::string>> left_out(const Json& body) {
    std::vector<std::string> names;
    const auto list = body.find("without");
    if (list == body.end()) return names;
    if (!list->is_array() || list->size() > kMostLeftOut) return fail(Kind::kInvalid, "the sites to leave behind are no list");
    for (const auto& item : *list) {
        if (!item.is_string()) return fail(Kind::kInvalid, "a site to leave behind is no text");
        names.push_back(item.get<std::string>());
        BLANKET_CHECK(check_name(names.back(), "site"));
    }
    return names;
}

Result<std::shared_ptr<Job>> start_ca_rotation(App& app, Federation& federation, const std::vector<std::string>& without, std::chrono::seconds patience) {
    return app.jobs.start(kRotateCa, "federation/ca", [&app, &federation, without, patience](Job& self) -> Result<Json> {
        CaRotation how;
        how.without = without;
        how.patience = patience;
        how.phase = [&self](const std::string& name) { self.phase(name); };
        how.note = [&self](const std::string& text) { self.note(text); };
        how.progress = [&self](double percent) { self.progress(percent); };
        how.cancelled = [&self] { return self.cancelled(); };
        auto done = federation.rotate_ca(std::move(how));
        app.events.add("federation", app.site, done ? "its CA was replaced" : "its CA is not replaced yet: " + done.error().what);
        (void)app.world.refresh();
        return done;
    });
}

}  // namespace

void bind_ca(RestServer& server, App& app, Federation& federation) {
    server.route("POST", "/1.0/federation/rotate-ca", respond_job([&](const RestRequest& request) -> Result<Answer> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const auto without, left_out(body));
        const std::uint64_t patience = json_number_or(body, "patience_s", kPatience);
        if (patience < 1 || patience > kMostPatience) return fail(Kind::kInvalid, "a patience of {} s is not within 1 s and 7 days", patience);
        BLANKET_TRY(const auto steps, federation.plan_rotate_ca(without));
        if (is_dry_run(request)) return Answer{nullptr, steps};
        BLANKET_TRY(auto job, start_ca_rotation(app, federation, without, std::chrono::seconds(patience)));
        return Answer{job, {}};
    }), Access::kLocal);
    server.route("GET", "/1.0/peer/ca", respond([&](const RestRequest&) -> Result<Json> { return federation.ca_statements(); }), Access::kOpen);
    server.route("POST", "/1.0/peer/readmit", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        return federation.handle_readmit(body);
    }), Access::kOpen);
}

void resume_ca_rotation(App& app, Federation& federation) {
    for (const auto& job : app.jobs.interrupted()) {
        if (job.verb != kRotateCa || !federation.ca_rotation_waits()) continue;
        std::vector<std::string> without;
        if (const auto last = federation.ca_statements(); !last["statements"].empty())
            if (const auto statement = parse_ca_statement(last["statements"].back())) without = statement->without;
        const auto started = start_ca_rotation(app, federation, without, std::chrono::seconds(kPatience));
        if (!started) {
            log::warning("federation", "the rollover of the CA does not go on yet: {}", started.error().what);
            continue;
        }
        app.jobs.resolve(job.id, fail_hint(Kind::kUnavailable, std::format("blanketd was restarted while this job ran: job {} goes on with it", (*started)->id()),
                                           std::format("blanket job watch {}", (*started)->id())));
    }
}

}  // namespace blanket
