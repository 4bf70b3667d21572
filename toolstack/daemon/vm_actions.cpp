// SPDX-License-Identifier: GPL-2.0-or-later
// Starting, stopping and moving a VM.
#include "toolstack/daemon/vm_actions.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/records_edit.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/migrate/link_session.hpp"
#include "toolstack/migrate/source.hpp"

namespace blanket {
namespace {

constexpr auto kConnect = std::chrono::seconds(20), kConnectAgain = std::chrono::seconds(5);

Result<void> refuse_moving(const VmRecord& vm) {
    if (vm.phase != Phase::kMigrating) return {};
    return fail_hint(Kind::kConflict, std::format("VM '{}' is moving to '{}'", vm.name, vm.migration->target), std::format("blanket job watch {}", vm.migration->id));
}

// What the guest's stop costs besides its last pages: as at the last move to that site. 0: there was none, or it is forgotten.
std::int64_t fixed_cost_of(App& app, const std::string& target) {
    std::int64_t cost = 0;
    for (const auto& job : app.jobs.list()) {  // in the order of time
        const Json result = job.value("result", Json());
        if (json_string_or(job, "verb", "") == "migrate" && result.is_object() && json_string_or(result, "to", "") == target) cost = static_cast<std::int64_t>(json_number_or(result, "fixed_ms", 0));
    }
    return cost;
}

Json rounds_json(const std::vector<SaveRound>& rounds) {
    Json list = Json::array();
    for (const auto& round : rounds) list.push_back({{"round", round.round}, {"pages", round.pages}, {"ms", round.ms}, {"dirty", round.dirty}});
    return list;
}

// How many pages of each class, or the bytes that they cost.
Json classes_json(const stream::PageCounts& pages, std::uint64_t stream::ClassCount::* which) {
    return {{"zero", pages.zero.*which}, {"same", pages.same.*which}, {"delta", pages.delta.*which}, {"reference", pages.reference.*which}, {"store", pages.store.*which}, {"store_delta", pages.store_delta.*which}, {"raw", pages.raw.*which}};
}

Result<Json> migrate_now(App& app, const std::string& uuid, const Site& here, const Site& target, const MoveLimits& limits, Job& job) {
    BLANKET_TRY(const auto vm, owned_vm(app, uuid));
    if (vm.value.phase != Phase::kRunning)
        return fail_hint(Kind::kConflict, std::format("VM '{}' is {}", vm.value.name, to_string(vm.value.phase)), "start it first: blanket vm start " + vm.value.name);
    job.phase("connect");
    if (auto led = app.neighbours.lead_near(target); !led) log::warning("migrate", "the registry's leader stays where it is: {}", led.error().what);
    migrate::ResumableLink::Options options;
    options.times.patience = limits.patience;
    options.streams = limits.streams;
    options.ended = [&job] { return job.cancelled(); };
    options.lost = [&job](const migrate::LinkLoss& loss) { job.link(loss); };
    const auto dial = [&app, target](std::chrono::seconds deadline) { return [&app, target, deadline] { return app.neighbours.link(target, deadline); }; };
    BLANKET_TRY(const auto link, migrate::open_session(dial(kConnect), dial(kConnectAgain), std::move(options)));
    const auto begun = app.clock.boottime_ms();
    migrate::SourcePlan plan{.job = job.id(), .vm = vm, .here = here, .target = target, .limits = limits.save, .bandwidth = limits.bandwidth};
    plan.limits.fixed_ms = fixed_cost_of(app, target.name);
    plan.indexes = app.indexes;
    plan.features = limits.features;
    plan.store = app.store;
    migrate::Source source(app, *link, std::move(plan), job);
    auto stats = source.run();
    (void)app.world.refresh();
    if (!stats) return std::unexpected(std::move(stats).error());
    const double total = static_cast<double>(app.clock.boottime_ms() - begun) / 1000.0;
    job.note(std::format("VM '{}' runs at '{}': {:.1f} s in all, down for {} ms, memory {} and disk {} on the wire", vm.value.name, target.name, total,
                         stats->downtime_ms, format_bytes(stats->memory_wire_bytes), format_bytes(stats->disk_wire_bytes)));
    return Json{{"from", here.name}, {"to", target.name}, {"ok", true}, {"total_s", total}, {"downtime_ms", stats->downtime_ms},
                {"commit_ms", stats->commit_ms}, {"open_ms", stats->open_ms}, {"resume_ms", stats->resume_ms},
                {"memory_wire_bytes", stats->memory_wire_bytes}, {"memory_bytes", stats->memory_bytes},
                {"memory_pages", classes_json(stats->pages, &stream::ClassCount::pages)}, {"memory_class_bytes", classes_json(stats->pages, &stream::ClassCount::wire_bytes)}, {"disk_wire_bytes", stats->disk_wire_bytes},
                {"disk_bytes", stats->disk_bytes}, {"rounds", stats->rounds}, {"memory_rounds", rounds_json(stats->memory_rounds)}, {"stopped_because", stats->stopped_because},
                {"forecast_ms", stats->forecast_ms}, {"last_pages_ms", stats->last_pages_ms}, {"fixed_ms", std::max<std::int64_t>(stats->downtime_ms - stats->last_pages_ms, 0)},
                {"disk_rounds", stats->disk_rounds}, {"rtt_ms", stats->rtt_ms}, {"epoch", stats->epoch}};
}

}  // namespace

Result<Json> start_now(App& app, const std::string& uuid, Job* job, StartFailure failure) {
    const auto phase = [&](const char* name) {
        if (job != nullptr) job->phase(name);
    };
    BLANKET_TRY(const VmRecord vm, start_here(app, app.site, uuid, failure, phase));
    (void)app.world.refresh();
    BLANKET_CHECK(app.overlay.activate(vm));
    return to_json(vm);
}

Result<Answer> start_vm(App& app, const VmRecord& vm, bool dry_run) {
    BLANKET_CHECK(refuse_moving(vm));
    BLANKET_TRY(const auto domains, app.hypervisor.list());
    for (const auto& domain : domains)
        if (domain.uuid == vm.uuid && domain.id >= 0)
            return fail_hint(Kind::kConflict, std::format("VM '{}' runs already", vm.name), "blanket vm show " + vm.name);
    if (dry_run) return Answer{nullptr, {"set the record's phase to running", "open its disk under epoch " + std::to_string(vm.phase == Phase::kStopped ? vm.epoch : vm.epoch + 1), "start the domain"}};
    BLANKET_TRY(auto job, app.jobs.start("start", "vm/" + vm.name, [&app, uuid = vm.uuid](Job& self) {
        auto started = start_now(app, uuid, &self);
        if (!started) app.look_again(uuid);  // an answer may be lost: then the record says that it runs
        return started;
    }));
    return Answer{job, {}};
}

Result<Answer> stop_vm(App& app, const VmRecord& vm, StopMode mode, std::chrono::seconds deadline, bool dry_run) {
    BLANKET_CHECK(refuse_moving(vm));
    if (dry_run)
        return Answer{nullptr, {mode == StopMode::kShutdown ? std::format("ask the guest to shut down, for up to {} s", deadline.count()) : "power the guest off",
                                "set the record's phase to stopped", "close its disk"}};
    BLANKET_TRY(auto job, app.jobs.start(mode == StopMode::kShutdown ? "stop" : "destroy", "vm/" + vm.name,
                                         [&app, uuid = vm.uuid, mode, deadline](Job& self) -> Result<Json> {
        BLANKET_TRY(const VmRecord record, stop_here(app, app.site, uuid, mode, deadline, [&](const char* phase) { self.phase(phase); }));
        (void)app.world.refresh();
        return to_json(record);
    }));
    return Answer{job, {}};
}

Result<Json> set_policy(App& app, const VmRecord& vm, const std::string& policy, bool dry_run) {
    BLANKET_CHECK(check_policy(policy));
    if (dry_run) return Json{{"steps", {std::format("set the policy of VM '{}' from {} to {}", vm.name, vm.policy, policy)}}};
    BLANKET_TRY(const auto changed, change_vm(app, vm.uuid, [&](VmRecord& edit) -> Result<void> {
        BLANKET_CHECK(refuse_moving(edit));  // its two ends hold a revision of the record
        edit.policy = policy;
        if (policy != kPause) edit.standby.reset();  // its site removes that disk then
        return {};
    }));
    (void)app.world.refresh();
    return Json{{"vm", to_json(changed.value)}};
}

namespace {

Result<void> leave_out(const std::string& feature, MoveLimits& limits) {
    constexpr std::int64_t kLibxlRounds = 5;
    if (feature == "references") limits.features.references = false;
    else if (feature == "store") limits.features.store = false;
    else if (feature == "store-deltas") limits.features.store_deltas = false;
    else if (feature == "versions") limits.features.versions = false;
    else if (feature == "compression") limits.features.compression = stream::CodingChoice::Rule::kNever;
    else if (feature == "measuring") limits.features.compression = stream::CodingChoice::Rule::kAlways;
    else if (feature == "policy") limits.save.rounds = kLibxlRounds;
    else if (feature == "throttle") limits.save.throttle = false;
    else return fail_hint(Kind::kInvalid, std::format("a move cannot do without '{}'", feature.substr(0, 40)), "one of: references, store, store-deltas, versions, compression, measuring, policy, throttle");
    return {};
}

}  // namespace

Result<MoveLimits> parse_move_limits(const Json& body) {
    constexpr std::uint64_t kHour = 3'600'000, kMaxMbit = 1'000'000;
    MoveLimits limits;
    const auto read = [&](const char* key, std::uint64_t most, std::int64_t& into) -> Result<void> {
        if (!body.contains(key)) return {};
        BLANKET_TRY(const std::uint64_t value, json_number(body, key));
        if (value > most) return fail(Kind::kInvalid, "{} is {}, at most {}", key, value, most);
        into = static_cast<std::int64_t>(value);
        return {};
    };
    std::int64_t mbit = 0, patience_ms = limits.patience.count();
    BLANKET_CHECK(read("downtime_target_ms", kHour, limits.save.downtime_target_ms));
    BLANKET_CHECK(read("max_downtime_ms", kHour, limits.save.max_downtime_ms));
    BLANKET_CHECK(read("max_time_ms", 24 * kHour, limits.save.max_time_ms));
    BLANKET_CHECK(read("bandwidth_mbit", kMaxMbit, mbit));
    BLANKET_CHECK(read("patience_ms", static_cast<std::uint64_t>(std::chrono::milliseconds(migrate::kMostPatience).count()), patience_ms));
    limits.patience = std::chrono::milliseconds(patience_ms);
    std::int64_t streams = limits.streams;
    BLANKET_CHECK(read("streams", migrate::kMostStreams, streams));
    if (streams == 0) return fail(Kind::kInvalid, "a move over no connection");
    limits.streams = static_cast<unsigned>(streams);
    if (limits.save.max_downtime_ms > 0 && limits.save.downtime_target_ms > limits.save.max_downtime_ms)
        return fail(Kind::kInvalid, "the downtime to work towards, {} ms, is above the most that is allowed, {} ms", limits.save.downtime_target_ms, limits.save.max_downtime_ms);
    limits.bandwidth = static_cast<std::uint64_t>(mbit) * 125'000;
    const Json without = body.value("without", Json::array());
    if (!without.is_array()) return fail(Kind::kInvalid, "'without' is not a list");
    for (const Json& one : without) BLANKET_CHECK(leave_out(one.is_string() ? one.get<std::string>() : one.dump(), limits));
    return limits;
}

Result<Answer> migrate_vm(App& app, const VmRecord& vm, const std::string& target_name, const MoveLimits& limits, bool dry_run) {
    BLANKET_CHECK(refuse_moving(vm));
    BLANKET_TRY(const Site target, app.world.site(target_name));
    BLANKET_TRY(const Site here, app.world.site(app.site));
    if (target.name == app.site)
        return fail_hint(Kind::kInvalid, std::format("VM '{}' is at '{}' already", vm.name, app.site), "choose another site: blanket site list");
    if (target.role == "witness") return fail_hint(Kind::kInvalid, std::format("'{}' is a witness: it runs no VMs", target.name), "choose another site: blanket site list");
    if (vm.phase != Phase::kRunning && vm.phase != Phase::kSettling)  // the job waits until it has settled
        return fail_hint(Kind::kConflict, std::format("VM '{}' is {}", vm.name, to_string(vm.phase)), "start it first: blanket vm start " + vm.name);
    std::size_t voters = 0;
    for (const auto& site : app.world.snapshot().sites) voters += site.value.role == "client" ? 0 : 1;
    if (voters < 3)
        return fail_hint(Kind::kPrecondition, std::format("the federation has {} voters; a move needs three, so that the loss of one site cannot stop its commit", voters),
                         "add a witness: blanket site token --witness, then on any Linux machine: blanket-witness join TOKEN");
    const Json body{{"record", to_json(vm)}};
    BLANKET_TRY(const Json answer, app.neighbours.call(target, "POST", "/1.0/peer/admit", &body));  // refused before anything begins
    if (dry_run) {
        Answer plan;
        plan.steps.push_back(std::format("mark the record: migrating to '{}'", target.name));
        if (const auto it = answer.find("missing"); it != answer.end() && it->is_array())
            for (const auto& item : *it)
                if (item.is_string()) plan.steps.push_back(std::format("send base image {} once", item.get<std::string>().substr(0, 12)));
        for (const auto& volume : vm.volumes)
            plan.steps.push_back(std::format("ship the delta of volume '{}' in rounds, then mirror its writes with DRBD (protocol A)", volume.id));
        plan.steps.push_back(std::format("send {} MiB of memory while it runs, then suspend it", vm.memory_mib));
        plan.steps.push_back(std::format("commit: owner '{}', epoch {}", target.name, vm.epoch + 1));
        plan.steps.push_back(std::format("resume at '{}', remove the copy at '{}'", target.name, app.site));
        return plan;
    }
    BLANKET_TRY(auto job, app.jobs.start("migrate", "vm/" + vm.name, [&app, uuid = vm.uuid, here, target, limits](Job& self) { return migrate_now(app, uuid, here, target, limits, self); }));
    return Answer{job, {}};
}

}  // namespace blanket
