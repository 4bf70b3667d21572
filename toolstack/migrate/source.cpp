// SPDX-License-Identifier: GPL-2.0-or-later
// The order of the steps at the source, what happens after the commit, and the way back before it; see source.hpp.
#include "toolstack/migrate/source.hpp"

#include <algorithm>
#include <chrono>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/image_transfer.hpp"
#include "toolstack/migrate/outcome.hpp"
#include "toolstack/migrate/store_subject.hpp"

namespace blanket::migrate {
namespace {

constexpr auto kAnswer = std::chrono::seconds(60);   // a control answer under the slowest host
constexpr auto kQuiet = std::chrono::seconds(3);  // after the guest runs there: a client of it may be a guest here, and tidying up takes processor time
constexpr auto kCommit = std::chrono::seconds(180);  // restore's tail, a CAS, devices
constexpr auto kReport = std::chrono::seconds(10);   // the target's own times; nothing depends on them

}  // namespace

Source::Source(SitePorts ports, PeerLink& link, SourcePlan plan, Observer& observer) : ports_(ports), link_(link), plan_(std::move(plan)), told_(observer), observer_(observer, ports.clock), choice_(plan_.features.compression), pacer_(ports_.clock, plan_.bandwidth) {}
Source::~Source() = default;

Result<void> Source::check_cancelled() const {
    if (observer_.cancelled()) return fail(Kind::kCancelled, "the move of VM '{}' was cancelled", plan_.vm.value.name);
    return {};
}

Error Source::reason_of(Error error) {
    if (error.kind != Kind::kIo) return error;
    for (int left = 8; left > 0; --left) {
        const auto message = link_.receive(std::chrono::milliseconds(0));
        if (!message) break;
        if (static_cast<Type>(message->type) != Type::kError) continue;
        if (const auto body = payload_json(*message)) return error_from_json(*body);
    }
    return error;
}

Result<Stats> Source::run() {
    auto done = carry_out();
    told_.trace(trace_of(done.has_value()));
    return done;
}

MoveTrace Source::trace_of(bool moved) {
    MoveTrace trace;
    if (encoder_) {
        const MoveRecorder::Coded coded{stats_.memory_bytes, stats_.memory_wire_bytes, encoder_->counts(), encoder_->passes()};
        trace = observer_.finish(&coded);
    } else {
        trace = observer_.finish(nullptr);
    }
    trace.vm = plan_.vm.value.name;
    trace.from = plan_.here.name;
    trace.to = plan_.target.name;
    trace.moved = moved;
    trace.memory_mib = plan_.vm.value.memory_mib;
    if (observer_.times.hello_heard) trace.rtt_ms = stats_.rtt_ms;
    if (const auto health = link_.health()) trace.link = TraceLink{health->cuts, health->lost_ms, health->again_bytes, health->streams, health->congestion};
    return trace;
}

Result<Stats> Source::carry_out() {
    const auto steps = [&]() -> Result<void> {
        observer_.phase("prepare");
        BLANKET_CHECK(greet());
        BLANKET_CHECK(prepare());
        BLANKET_CHECK(begin());
        observer_.phase("disk");
        BLANKET_CHECK(move_disks());
        observer_.phase("memory");
        BLANKET_CHECK(move_memory());
        BLANKET_CHECK(hand_over());
        return await_commit();
    };
    if (auto done = steps(); !done && !committed_) {
        Error error = reason_of(std::move(done).error());
        // A refusal by the target says so itself; a lost connection says nothing, so the record decides.
        if (marked_) {
            observer_.phase("settle");
            const auto outcome = settle_source(ports_.registry, ports_.clock, plan_.vm.value, plan_.here.name, [] { return false; });
            if (outcome && *outcome == Outcome::kCommitted) {
                observer_.note("the connection broke after the commit: the VM belongs to " + plan_.target.name);
                committed_ = true;
            } else if (!outcome) {
                log::error("migrate", "VM {}: {}", plan_.vm.value.name, outcome.error().what);
                // Whose it is, nobody can say, or the record says otherwise than any program of ours: what is here is left as it is.
                if (outcome.error().kind == Kind::kNotFound || outcome.error().kind == Kind::kConflict) return std::unexpected(outcome.error());
            }
        }
        if (!committed_) {
            observer_.phase("roll-back");
            const std::string now = roll_back() ? "runs on" : "is put in order by recovery";
            return std::unexpected(std::move(error).context(std::format("moving VM '{}' to '{}' failed; it {} at '{}'", plan_.vm.value.name,
                                                                        plan_.target.name, now, plan_.here.name)));
        }
    }
    observer_.phase("clean-up");
    if (resumed_at_ != 0) ports_.clock.sleep(kQuiet);
    if (auto cleaned = clean_up(); !cleaned) {
        log::error("migrate", "VM {} runs at {}, but parts are left here: {}", plan_.vm.value.name, plan_.target.name, cleaned.error().what);
        observer_.note("left behind here, removed at the next reconciliation: " + cleaned.error().what);
    }
    hear_target();
    return stats_;
}

Result<void> Source::greet() {
    const auto before = ports_.clock.boottime_ms();
    const auto now = ports_.clock.unix_ms();
    observer_.times.hello_said = observer_.now();
    BLANKET_CHECK(send_json(link_, Type::kHello, {{"version", kProtocolVersion}, {"job", plan_.job}, {"time_ms", now}}));
    BLANKET_TRY(const Json hello, expect(link_, Type::kHello, kAnswer));
    stats_.rtt_ms = ports_.clock.boottime_ms() - before;
    observer_.times.hello_heard = observer_.now();
    if (json_number_or(hello, "version", 0) != kProtocolVersion)
        return fail_hint(Kind::kPrecondition, std::format("site '{}' speaks migration protocol {}, this site {}", plan_.target.name,
                                                          json_number_or(hello, "version", 0), kProtocolVersion),
                         "bring both sites to the same version of blanketd");
    return {};
}

Result<void> Source::prepare() {
    BLANKET_TRY(const auto disks, ports_.blocks.volumes());
    for (const auto& volume : plan_.vm.value.volumes)
        if (const auto at = std::ranges::find(disks, volume.id, &VolumeFacts::id); at != disks.end() && at->record_epoch() > plan_.vm.value.epoch)
            return fail_hint(Kind::kConflict, std::format("the disk of VM '{}' is of epoch {}, its record of epoch {}: the registry was put back to an older state", plan_.vm.value.name,
                                                          at->record_epoch(), plan_.vm.value.epoch),
                             "blanket vm recover " + plan_.vm.value.name);
    load_indexes();
    const std::uint64_t cache_pages = plan_.features.versions ? cache_pages_for(plan_.vm.value.memory_mib) : 0;
    BLANKET_CHECK(send_json(link_, Type::kPrepare, {{"record", to_json(plan_.vm.value)}, {"cache_pages", cache_pages}}));
    BLANKET_TRY(const Json ready, expect(link_, Type::kReady, kAnswer));
    BLANKET_TRY(cache_pages_, json_number(ready, "cache_pages"));
    if (cache_pages_ > cache_pages) return fail(Kind::kInvalid, "site '{}' wants {} pages to be kept where {} were offered", plan_.target.name, cache_pages_, cache_pages);
    if (const auto it = ready.find("missing"); it != ready.end() && it->is_array())
        for (const auto& item : *it)
            if (item.is_string()) missing_images_.push_back(item.get<std::string>());
    return check_cancelled();
}

Result<void> Source::begin() {
    VmRecord marked = plan_.vm.value;
    marked.phase = Phase::kMigrating;
    marked.migration = Migration{plan_.job, plan_.target.name};
    marked_ = true;  // before the call: an answer that is lost may still have marked it
    auto revision = ports_.registry.update_vm(marked, plan_.vm.revision);
    if (!revision) {
        marked_ = revision.error().kind != Kind::kConflict;
        return std::unexpected(std::move(revision).error());
    }
    plan_.vm = {marked, *revision};
    BLANKET_CHECK(send_json(link_, Type::kBegin, {{"revision", *revision}, {"pages", plan_.features.store}}));
    for (const auto& sha256 : missing_images_) {
        observer_.phase("image");
        observer_.note(std::format("'{}' lacks the base image {}: sending it", plan_.target.name, sha256.substr(0, 12)));
        const auto progress = [&](double percent) {
            observer_.progress(percent);
            pacer_.pace(link_.bytes_sent());
            return !observer_.cancelled();
        };
        BLANKET_CHECK(send_image(link_, ports_.blocks, sha256, progress));
    }
    BLANKET_TRY(const Json ready, expect(link_, Type::kAck, kAnswer));
    if (const auto it = ready.find("images"); it != ready.end() && it->is_array())
        for (const auto& item : *it)
            if (item.is_string()) referable_.push_back(item.get<std::string>());
    const auto offers = ready.find("offers");
    offers_ = plan_.features.store && offers != ready.end() && offers->is_boolean() && offers->get<bool>();
    if (offers_ && plan_.features.store_deltas && plan_.store != nullptr) {  // found while the disk moves
        auto versions = plan_.store->versions(subject_of(plan_.vm.value));
        if (versions) versions_ = std::move(*versions);
        else log::warning("migrate", "VM {}: what the last move brought is not known: {}", plan_.vm.value.name, versions.error().what);
    }
    return {};
}

Result<void> Source::hand_over() {
    // The guest is suspended and its memory is on its way: nothing may be written after this, and what was written must be on the target's disk.
    observer_.phase("drain");
    for (auto& move : moves_) BLANKET_CHECK(move->drain());
    BLANKET_CHECK(send_json(link_, Type::kDrained, Json::object()));
    observer_.phase("commit");
    observer_.times.drained = observer_.now();
    // Nothing to do here until the target answers. The copy is suspended; should it ever wake up unasked, nobody is to hear it.
    redirected_ = true;
    if (auto redirected = ports_.overlay.redirect(plan_.vm.value, plan_.target); !redirected)
        log::warning("migrate", "VM {}: its port here stays open until the commit is known: {}", plan_.vm.value.name, redirected.error().what);
    return {};
}

Result<void> Source::await_commit() {
    BLANKET_TRY(const Json committed, expect(link_, Type::kCommitted, kCommit));
    committed_ = true;
    stats_.epoch = json_number_or(committed, "epoch", 0);
    observer_.phase("resume");
    observer_.times.committed_heard = observer_.now();
    stats_.commit_ms = static_cast<std::int64_t>(json_number_or(committed, "record_ms", 0));
    observer_.note(std::format("committed: '{}' owns the VM, epoch {}; the compare-and-swap took {} ms", plan_.target.name, stats_.epoch, stats_.commit_ms));
    if (auto resumed = expect(link_, Type::kResumed, kCommit); resumed) {
        resumed_at_ = ports_.clock.boottime_ms();
        observer_.times.resumed_heard = observer_.since_begin(resumed_at_);
        stats_.open_ms = static_cast<std::int64_t>(json_number_or(*resumed, "disk_ms", 0));
        stats_.resume_ms = static_cast<std::int64_t>(json_number_or(*resumed, "resume_ms", 0));
        stats_.downtime_ms = resumed_at_ - suspended_at_ - stats_.rtt_ms / 2;
    } else {
        observer_.note("the target has not said yet that the VM runs: " + resumed.error().what);
    }
    return {};
}

// What the move took at the other end: sent once the guest's network is connected, so it is usually here by now.
void Source::hear_target() {
    if (resumed_at_ == 0) return;
    const auto body = expect(link_, Type::kTrace, kReport);
    auto report = body ? parse_target_report(*body) : Result<TargetReport>(std::unexpected(body.error()));
    if (report) observer_.target = std::move(*report);
    else log::info("migrate", "VM {}: what the move took at {} is not known: {}", plan_.vm.value.name, plan_.target.name, report.error().what);
}

Result<void> Source::clean_up() {
    Result<void> first{};
    const auto keep_first = [&](Result<void> result) {
        if (!result && first) first = std::move(result);
    };
    keep_first(ports_.ends.destroy_source(plan_.vm.value.uuid));
    for (auto& move : moves_) keep_first(move->finish(false, plan_.vm.value.epoch));
    const VmRecord& vm = plan_.vm.value;
    auto disks = disks_after_commit(ports_.registry, vm, plan_.here.name);
    if (!disks && stats_.epoch != 0) disks = vm.policy == kPause ? SourceDisks::kStandby : SourceDisks::kRemove;  // by the target's word: it has them whole
    if (!disks) {
        keep_first(std::unexpected(disks.error()));
        return first;
    }
    if (*disks == SourceDisks::kKeep) observer_.note("the record counts on the disk here, which stays");
    for (const auto& volume : vm.volumes) {
        if (*disks == SourceDisks::kStandby) keep_first(ports_.blocks.fence_volume(volume.id, vm.epoch + 2));
        if (*disks == SourceDisks::kRemove) keep_first(ports_.blocks.remove_volume(volume.id));
    }
    return first;
}

// A save that fails lets the guest run on, but the program that does so may have died, or may not have been able to. Where the guest does not stand still there
// is nothing to be done: it runs, or has ended meanwhile.
Result<void> Source::resume_after_failed_save() {
    auto resumed = ports_.ends.resume_source(plan_.vm.value.uuid);
    if (resumed) return resumed;
    const auto domains = ports_.hypervisor.list();
    if (!domains) return resumed;
    const auto at = std::ranges::find(*domains, plan_.vm.value.uuid, &DomainInfo::uuid);
    const bool stands = at != domains->end() && (at->state == DomainState::kSuspended || at->state == DomainState::kPaused);
    return stands ? resumed : Result<void>();
}

bool Source::roll_back() {
    bool whole = true;
    const auto report = [&](const char* what, const Result<void>& result) {
        if (result) return;
        whole = false;
        log::error("migrate", "VM {}: {}: {}", plan_.vm.value.name, what, result.error().what);
        observer_.note(std::format("{}: {}", what, result.error().what));
    };
    const auto begin = ports_.clock.boottime_ms();
    link_.shutdown();
    // The guest first, as it stands still: it can answer at once, and what it writes waits until its disk is back.
    if (redirected_) report("taking the network back", ports_.overlay.undo_redirect(plan_.vm.value));
    if (suspended_) {
        const auto resumed = ports_.ends.resume_source(plan_.vm.value.uuid);
        report("resuming the VM here", resumed);
        if (resumed) observer_.note(std::format("the guest runs again {} ms after the decision", ports_.clock.boottime_ms() - begin));
        if (resumed) observer_.times.resumed_here = observer_.now();
    } else if (stopping_) {
        report("resuming the VM here after the failed save", resume_after_failed_save());
    }
    for (auto& move : moves_) report("taking the disk back", move->finish(true, plan_.vm.value.epoch));
    moves_.clear();
    const bool in_place = whole;
    if (marked_ && whole) report("marking the record", mark_settled(ports_.registry, plan_.vm.value));  // else recovery ends it
    return in_place;
}

}  // namespace blanket::migrate
