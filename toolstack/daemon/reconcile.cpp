// SPDX-License-Identifier: GPL-2.0-or-later
// The queue of VMs to look at; see reconcile.hpp. One VM at a time, on one thread.
#include "toolstack/daemon/reconcile.hpp"

#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/hypervisor/domain_xml.hpp"
#include "toolstack/hypervisor/import.hpp"

namespace blanket {
namespace {

// Not at once: one change comes as several events, and a look in the middle of a move would take processor time from a guest that stands still.
constexpr auto kSettle = std::chrono::milliseconds(3000);
constexpr auto kRetry = std::chrono::seconds(5);  // after a look that could not decide or not act; doubled each time
constexpr unsigned kMostDoublings = 6;

auto backoff(unsigned failed) { return kRetry * (1u << std::min(failed, kMostDoublings)); }

}  // namespace

Reconciler::Reconciler(App& app)
    : app_(app), recovery_(app, app.site, *this),
      thread_([this](const std::stop_token& stop) { loop(stop); }) {}
Reconciler::~Reconciler() = default;

void Reconciler::stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

void Reconciler::look(const std::string& uuid, Cause cause) { push(uuid, cause, cause == Cause::kRestart ? Clock::duration::zero() : Clock::duration(kSettle), 0); }

void Reconciler::push(const std::string& uuid, Cause cause, Clock::duration wait, unsigned failed) {
    const std::lock_guard lock(mutex_);
    const auto same = [&](const Item& item) { return item.uuid == uuid && item.cause == cause; };
    if (std::ranges::none_of(queue_, same)) queue_.push_back({uuid, cause, Clock::now() + wait, failed});
    wake_.notify_all();
}

void Reconciler::loop(const std::stop_token& stop) {
    for (;;) {
        Item item;
        {
            std::unique_lock lock(mutex_);
            if (!wake_.wait(lock, stop, [&] { return !queue_.empty(); })) return;
            const auto first = std::ranges::min_element(queue_, {}, &Item::due);
            if (const auto due = first->due; due > Clock::now()) {
                wake_.wait_until(lock, stop, due, [] { return false; });
                if (stop.stop_requested()) return;  // or the wait above would end at once, again and again
                continue;
            }
            item = *first;
            queue_.erase(first);
        }
        if (stop.stop_requested()) return;
        if (!item.uuid.empty()) {
            look_now(item.uuid, item.cause, item.failed);
            continue;
        }
        const auto all = recovery_.all();
        if (!all) {
            log::warning("reconcile", "{}", all.error().what);
            push({}, item.cause, kRetry, 0);
            continue;
        }
        for (const auto& uuid : *all) {
            if (stop.stop_requested()) return;
            look_now(uuid, item.cause, 0);
        }
        if (item.cause == Cause::kRestart) resolve_jobs_without_vm();
    }
}

// A look that fails is repeated with its cause: what a restart left behind stays a restart's affair, however long the registry is away.
void Reconciler::look_now(const std::string& uuid, Cause cause, unsigned failed) {
    // A VM that a job works on is not even looked at: in a move that would take processor time while it stands still.
    for (const auto& vm : app_.world.snapshot().vms)
        if (vm.value.uuid == uuid && app_.jobs.busy("vm/" + vm.value.name)) return push(uuid, cause, kRetry, failed);
    const auto done = recovery_.look(uuid, cause);
    if (done && *done == Action::kLater) return push(uuid, cause, kRetry, failed);
    if (done) {
        if (cause != Cause::kRestart || app_.jobs.interrupted().empty()) return;
        if (const auto now = app_.registry.vm(uuid); now && *now) resolve_jobs((*now)->value.name, (*now)->value);
        return;
    }
    log::warning("reconcile", "{}", done.error().what);
    push(uuid, cause, backoff(failed), failed + 1);
}

// Tells what became of the jobs that a restart interrupted, once their VM is in order again.
void Reconciler::resolve_jobs(const std::string& name, const std::optional<VmRecord>& record) {
    for (const auto& job : app_.jobs.interrupted()) {
        if (job.subject != "vm/" + name) continue;
        const auto done = [&] { app_.jobs.resolve(job.id, record ? to_json(*record) : Json{{"name", name}}); };
        const auto undone = [&](const std::string& how) {
            app_.jobs.resolve(job.id, fail_hint(Kind::kUnavailable, "blanketd was restarted while this job ran: " + how, record ? "blanket vm show " + name : "blanket vm list"));
        };
        if (!record) {
            if (job.verb == "delete") done();
            else undone(std::format("nothing of VM '{}' is left", name));
        } else if (job.verb == "create" || job.verb == "import") {
            // Half made, or made and not yet said so: either way it is as if it had not been asked for.
            if (record->owner == app_.site && record->phase == Phase::kStopped && record->created >= job.created) (void)delete_vm(app_, *record, false);
            undone(std::format("VM '{}' is removed again", name));
        } else if (record->phase == Phase::kMigrating || record->phase == Phase::kSettling) {
            // Recovery is still at it; it comes by again.
        } else if (job.verb == "migrate" || job.verb == "recover") {
            if ((record->owner != app_.site) == (job.verb == "migrate")) done();
            else undone(std::format("VM '{}' is {} at '{}'", name, to_string(record->phase), record->owner));
        } else if (job.verb == "delete" && record->phase == Phase::kDeleting) {
            undone("the deletion is carried on");
        } else if ((record->phase == Phase::kRunning && job.verb == "start") || (record->phase == Phase::kStopped && (job.verb == "stop" || job.verb == "destroy"))) {
            done();
        } else {
            undone(std::format("VM '{}' is {} at '{}'", name, to_string(record->phase), record->owner));
        }
    }
}

void Reconciler::resolve_jobs_without_vm() {
    const Snapshot now = app_.world.snapshot();
    for (const auto& job : app_.jobs.interrupted()) {
        const std::string name = job.subject.starts_with("vm/") ? job.subject.substr(3) : std::string();
        if (name.empty()) app_.jobs.resolve(job.id, fail_hint(Kind::kUnavailable, "blanketd was restarted while this job ran; what was half done is removed", "try again"));
        else if (std::ranges::none_of(now.vms, [&](const auto& vm) { return vm.value.name == name; })) resolve_jobs(name, std::nullopt);
    }
}

std::unique_ptr<Claimed> Reconciler::claim(const std::string& vm) { return app_.jobs.claim("vm/" + vm); }
void Reconciler::tell(const std::string& vm, const std::string& text) { app_.events.add("vm", vm, text); }
void Reconciler::look_again(const std::string& uuid, Cause cause) { look(uuid, cause); }

Result<void> Reconciler::start(const VmRecord& vm) {
    return app_.jobs.start("start", "vm/" + vm.name, [this, uuid = vm.uuid](Job& job) -> Result<Json> {
        auto started = start_now(app_, uuid, &job, StartFailure::kTryAgain);
        const std::lock_guard lock(mutex_);
        unsigned& failed = starts_failed_[uuid];
        if (started) failed = 0;
        else queue_.push_back({uuid, Cause::kRestart, Clock::now() + backoff(failed++), 0});
        wake_.notify_all();
        return started;
    }).transform([](const auto&) {});
}

Result<void> Reconciler::finish_delete(const VmRecord& vm) { return delete_vm(app_, vm, false).transform([](const auto&) {}); }

// The record of a domain that somebody else made; an error says why it cannot be one of ours.
Result<VmRecord> Reconciler::record_of(const DomainInfo& domain, const std::string& xml) {
    BLANKET_TRY(const ImportedVm imported, parse_libvirt_xml(xml));
    BLANKET_CHECK(check_adoptable(imported));
    BLANKET_CHECK(check_name(imported.name, "VM"));
    if (app_.world.vm(imported.name)) return fail(Kind::kConflict, "a VM named '{}' exists already", imported.name);
    // Its disks are volumes of ours; one that a recorded VM uses is not free for another.
    VmRecord record;
    record.uuid = domain.uuid;
    record.name = imported.name;
    record.memory_mib = imported.memory_mib;
    record.vcpus = imported.vcpus;
    record.definition = xml;
    for (const auto& disk : imported.disks) {
        const Snapshot now = app_.world.snapshot();
        for (const auto& vm : now.vms)
            for (const auto& volume : vm.value.volumes)
                if (top_device(volume.id) == disk.path) return fail(Kind::kConflict, "its disk {} belongs to VM '{}'", disk.path, vm.value.name);
        return fail(Kind::kPrecondition, "its disk {} is a volume without a record of its base image", disk.path);
    }
    return record;
}

Result<void> Reconciler::adopt(const DomainInfo& domain) {
    BLANKET_TRY(const std::string xml, app_.hypervisor.definition(domain.uuid));
    auto record = record_of(domain, xml);
    if (!record) {
        if (std::ranges::contains(refused_, domain.uuid)) return {};
        refused_.push_back(domain.uuid);
        app_.events.add("vm", domain.name, std::format("not adopted: {}; it runs as libvirt says, but cannot move (blanket vm import makes a VM of it that can)", record.error().what));
        return {};
    }
    record->owner = app_.site;
    record->phase = domain.id >= 0 ? Phase::kRunning : Phase::kStopped;
    record->created = rfc3339_now();
    if (domain.id >= 0) {
        BLANKET_TRY(const HostFacts facts, app_.hypervisor.facts());
        record->cpu_features = facts.cpu_features;
    }
    BLANKET_CHECK(app_.registry.create_vm(*record));
    app_.events.add("vm", domain.name, "adopted from libvirt");
    return {};
}

}  // namespace blanket
