// SPDX-License-Identifier: GPL-2.0-or-later
// See drain.hpp.
#include "toolstack/daemon/drain.hpp"

#include <algorithm>
#include <map>

#include "toolstack/base/text.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr std::uint64_t kBesideMib = 32;  // what a VM takes of its host beside its own memory, about
constexpr const char* kGoesOn = "blanket host drain goes on with those that are left";
constexpr auto kLook = std::chrono::milliseconds(500);

bool to_be_moved(const VmRecord& vm, const std::string& here) {
    return vm.owner == here && (vm.phase == Phase::kRunning || vm.phase == Phase::kSettling || vm.phase == Phase::kMigrating);
}

DrainStep plan_one(VmRecord vm, std::vector<std::string> sites, std::map<std::string, std::uint64_t>& planned, const AskSite& ask) {
    DrainStep step{vm.uuid, vm.name, vm.memory_mib, {}, {}, {}};
    if (vm.phase == Phase::kMigrating) {
        step.refusal = std::format("it is moving to '{}' already", vm.migration->target);
        step.hint = "blanket job watch " + vm.migration->id;
        return step;
    }
    std::ranges::sort(sites, {}, [&](const std::string& site) { return std::pair(planned[site], site); });
    for (const auto& site : sites) {
        vm.memory_mib = step.memory_mib + planned[site];
        const auto taken = ask(vm, site);
        if (taken) {
            step.target = site;
            step.refusal.clear();
            step.hint.clear();
            planned[site] += step.memory_mib + kBesideMib;
            return step;
        }
        const std::string beside = planned[site] == 0 ? std::string() : std::format(" ({} MiB of it for VMs that go there before it)", planned[site]);
        const std::string why = taken.error().what + beside;
        if (!step.refusal.contains(why)) step.refusal += (step.refusal.empty() ? "" : "; ") + why;
        if (step.hint.empty()) step.hint = taken.error().hint;
    }
    if (sites.empty()) {
        step.refusal = "there is no such site that has joined and runs VMs";
        step.hint = "join one: blanket site token, or stop the VM: blanket vm stop " + step.name;
    }
    return step;
}

Result<void> refuse_if_any_stays(const std::vector<DrainStep>& steps) {
    std::string reasons, hint;
    std::size_t stay = 0;
    for (const auto& step : steps) {
        if (!step.target.empty()) continue;
        ++stay;
        reasons += std::format("; '{}': {}", step.name, step.refusal);
        if (hint.empty()) hint = step.hint;
    }
    if (stay == 0) return {};
    return fail_hint(Kind::kPrecondition, std::format("{} of {} running VMs cannot move, so none is moved{}", stay, steps.size(), reasons),
                     std::format("{}{}or stop those VMs: blanket vm stop NAME", hint, hint.empty() ? "" : "; "));
}

// One VM, by an ordinary job, which the end of this one ends too.
Result<void> move_one(App& app, const DrainStep& step, Job& self) {
    BLANKET_CHECK(app.world.refresh());
    const auto vm = app.world.vm(step.uuid);
    if (!vm || !to_be_moved(vm->value, app.site)) {
        self.note(std::format("VM '{}' does not run here any more", step.name));
        return {};
    }
    BLANKET_TRY(const Answer answer, migrate_vm(app, vm->value, step.target, MoveLimits{}, false));
    std::uint64_t seen = 0;
    while (!answer.job->ended()) {
        seen = answer.job->wait(seen, kLook);
        if (self.cancelled()) answer.job->cancel();
    }
    const Json ended = answer.job->to_json();
    if (json_string_or(ended, "state", "") != "done") return std::unexpected(error_from_json({{"error", ended["error"]}}));
    self.note(std::format("VM '{}' runs at '{}' (job {})", step.name, step.target, answer.job->id()));
    return {};
}

// Sites that do not answer make this long: a job does it, not the request. `ended`: nothing more is asked.
Result<std::vector<DrainStep>> plan_now(App& app, const std::string& to, const std::function<bool()>& ended) {
    const auto ask = [&](const VmRecord& vm, const std::string& target) -> Result<void> {
        if (ended()) return fail(Kind::kCancelled, "not asked any more");
        BLANKET_CHECK(migrate_vm(app, vm, target, MoveLimits{}, true));
        return {};
    };
    auto steps = plan_drain(app.world.snapshot(), app.site, to, ask);
    if (ended()) return fail_hint(Kind::kCancelled, "ended before anything was moved", "blanket host drain");
    BLANKET_CHECK(refuse_if_any_stays(steps));
    return steps;
}

Result<Json> drain_now(App& app, const std::string& to, Job& self) {
    self.phase("plan");
    BLANKET_TRY(const auto steps, plan_now(app, to, [&self] { return self.cancelled(); }));
    Json moved = Json::array();
    for (const auto& step : steps) {
        if (self.cancelled()) return fail_hint(Kind::kCancelled, std::format("{} of {} VMs have moved, the others run here", moved.size(), steps.size()), kGoesOn);
        self.phase(std::format("{} to {}", step.name, step.target));
        self.progress(100.0 * static_cast<double>(moved.size()) / static_cast<double>(steps.size()));
        if (auto done = move_one(app, step, self); !done) {
            Error error = std::move(done).error();
            if (error.hint.empty()) error.hint = kGoesOn;
            return std::unexpected(std::move(error).context(std::format("{} of {} VMs have moved, the others run here", moved.size(), steps.size())));
        }
        moved.push_back(std::format("{} to {}", step.name, step.target));
    }
    return Json{{"moved", moved}};
}

}  // namespace

std::vector<DrainStep> plan_drain(const Snapshot& now, const std::string& here, const std::string& to, const AskSite& ask) {
    std::vector<std::string> sites;
    for (const auto& site : now.sites)
        if (site.value.name != here && site.value.role != "witness" && site.value.state == "joined" && (to.empty() || site.value.name == to)) sites.push_back(site.value.name);
    std::vector<VmRecord> vms;
    for (const auto& vm : now.vms)
        if (to_be_moved(vm.value, here)) vms.push_back(vm.value);
    // The largest first: what is left fits more easily.
    std::ranges::sort(vms, [](const VmRecord& a, const VmRecord& b) { return std::pair(b.memory_mib, a.name) < std::pair(a.memory_mib, b.name); });
    std::map<std::string, Error> silent;  // to find that out takes long: once is enough
    const auto ask_once = [&](const VmRecord& vm, const std::string& site) -> Result<void> {
        if (const auto at = silent.find(site); at != silent.end()) return std::unexpected(at->second);
        auto taken = ask(vm, site);
        if (!taken && (taken.error().kind == Kind::kUnavailable || taken.error().kind == Kind::kTimeout)) silent.emplace(site, taken.error());
        return taken;
    };
    std::map<std::string, std::uint64_t> planned;
    std::vector<DrainStep> steps;
    for (const auto& vm : vms) steps.push_back(plan_one(vm, sites, planned, ask_once));
    return steps;
}

Result<Answer> drain_host(App& app, const std::string& to, bool dry_run) {
    BLANKET_CHECK(app.world.refresh());
    if (!to.empty()) {
        BLANKET_TRY(const Site target, app.world.site(to));
        if (target.name == app.site) return fail_hint(Kind::kInvalid, std::format("'{}' is this site", to), "choose another site: blanket site list");
        if (target.role == "witness") return fail_hint(Kind::kInvalid, std::format("'{}' is a witness: it runs no VMs", to), "choose another site: blanket site list");
    }
    if (dry_run) {
        BLANKET_TRY(const auto steps, plan_now(app, to, [] { return false; }));
        Answer plan;
        for (const auto& step : steps) plan.steps.push_back(std::format("move VM '{}' ({} MiB) to '{}'", step.name, step.memory_mib, step.target));
        return plan;
    }
    BLANKET_TRY(auto job, app.jobs.start("drain", "host/" + app.site, [&app, to](Job& self) { return drain_now(app, to, self); }));
    return Answer{job, {}};
}

}  // namespace blanket
