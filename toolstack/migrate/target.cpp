// SPDX-License-Identifier: GPL-2.0-or-later
// The conversation's order at the target, the commit, and what is taken away again on an error; see target.hpp.
#include "toolstack/migrate/target.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "toolstack/base/log.hpp"
#include "toolstack/migrate/admission.hpp"
#include "toolstack/migrate/image_transfer.hpp"
#include "toolstack/migrate/outcome.hpp"

namespace blanket::migrate {
namespace {

constexpr auto kControl = std::chrono::seconds(60);
constexpr std::chrono::milliseconds kRecord{30'000}, kRecordRetry{500};  // the source waits 60 s for an answer

class Stopwatch final {
public:
    explicit Stopwatch(TimeSource& clock) : clock_(clock) {}
    std::int64_t lap_ms() {
        const auto now = clock_.boottime_ms();
        return now - std::exchange(last_, now);
    }

private:
    TimeSource& clock_;
    std::int64_t last_ = clock_.boottime_ms();
};

}  // namespace

Target::Target(SitePorts ports, PeerLink& link, std::string here, std::function<bool()> give_up, std::function<Result<void>(const std::string&)> coming, stream::ContentStore* store,
               std::chrono::milliseconds for_pages)
    : ports_(ports), link_(link), here_(std::move(here)), give_up_(std::move(give_up)), coming_(std::move(coming)), store_(store), for_pages_(for_pages), log_(ports.clock) {}

Target::~Target() {
    if (offer_ && offer_told_) store_->took(*offer_);
    if (committed_ && feed_) feed_->arrived();
}

Result<void> Target::serve() {
    const auto steps = [&]() -> Result<void> {
        log_.begin("prepare");
        BLANKET_CHECK(greet());
        BLANKET_CHECK(prepare());
        BLANKET_CHECK(begin());
        log_.begin("disk");
        BLANKET_CHECK(receive_disks());
        log_.begin("memory");
        BLANKET_CHECK(receive_memory());
        times_.complete = log_.now();
        log_.begin("commit");
        return commit();
    };
    auto done = steps();
    if (done || committed_ || undecided_) return done;
    (void)send_error(link_, done.error());  // a source that has gone needs no answer
    discard();
    return done;
}

Result<Message> Target::next(std::chrono::milliseconds deadline) {
    BLANKET_TRY(Message message, link_.receive(deadline));
    const auto type = static_cast<Type>(message.type);
    if (type == Type::kAbort) return fail(Kind::kCancelled, "site '{}' gave up the migration", link_.peer());
    if (type == Type::kError) {
        BLANKET_TRY(const Json body, payload_json(message));
        return std::unexpected(error_from_json(body));
    }
    return message;
}

bool Target::taken_back() const {
    Marked marked;
    {
        const std::scoped_lock lock(marked_mutex_);
        marked = marked_;
    }
    if (marked.revision == 0) return false;
    const auto now = ports_.registry.vm(marked.uuid);
    if (!now || (*now && (*now)->revision == marked.revision)) return false;
    const std::scoped_lock lock(marked_mutex_);
    return marked_.revision != 0;  // else it was us
}

Result<void> Target::greet() {
    BLANKET_TRY(const Json hello, expect(link_, Type::kHello, kControl));
    times_.hello_heard = log_.now();
    if (const auto version = json_number_or(hello, "version", 0); version != kProtocolVersion)
        return fail_hint(Kind::kPrecondition, std::format("site '{}' speaks migration protocol {}, site '{}' {}", link_.peer(), version, here_, kProtocolVersion),
                         "bring both sites to the same version of blanketd");
    BLANKET_TRY(const std::uint64_t theirs, json_number(hello, "time_ms"));
    if (theirs > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return fail(Kind::kInvalid, "the time of site '{}' is {} ms", link_.peer(), theirs);
    const std::int64_t skew = ports_.clock.unix_ms() - static_cast<std::int64_t>(theirs);
    if (skew > kMaxClockSkewMs || skew < -kMaxClockSkewMs)
        return fail_hint(Kind::kPrecondition, std::format("the clocks of '{}' and '{}' differ by {} s", link_.peer(), here_, skew / 1000),
                         "let both synchronise: timedatectl status");
    times_.hello_said = log_.now();
    return send_json(link_, Type::kHello, {{"version", kProtocolVersion}, {"time_ms", ports_.clock.unix_ms()}});
}

Result<void> Target::prepare() {
    BLANKET_TRY(const Json request, expect(link_, Type::kPrepare, kControl));
    const auto record = request.find("record");
    if (record == request.end()) return fail(Kind::kInvalid, "a prepare message without a record");
    BLANKET_TRY(vm_.value, parse_vm(*record));
    if (vm_.value.owner != link_.peer())
        return fail(Kind::kDenied, "site '{}' offers VM '{}', which belongs to '{}'", link_.peer(), vm_.value.name, vm_.value.owner);
    if (coming_) BLANKET_CHECK(coming_(vm_.value.name));
    BLANKET_TRY(const std::uint64_t offered, json_number(request, "cache_pages"));
    cache_pages_ = std::min(offered, cache_pages_for(vm_.value.memory_mib));
    Admission at{here_, {}, {}, {}};
    BLANKET_TRY(at.host, ports_.hypervisor.facts());
    BLANKET_TRY(at.pool, ports_.blocks.pool());
    BLANKET_TRY(at.domains, ports_.hypervisor.list());
    BLANKET_CHECK(admit(vm_.value, at));
    Json missing = Json::array();
    for (const auto& volume : vm_.value.volumes) {
        if (volume.image.empty()) continue;
        BLANKET_TRY(const bool present, ports_.blocks.has_image(volume.image));
        if (present) continue;
        missing_images_.push_back(volume.image);
        missing.push_back(volume.image);
    }
    return send_json(link_, Type::kReady, {{"missing", missing}, {"cache_pages", cache_pages_}});
}

// The registry may be silent for a moment, as while its leader changes; nobody stands still yet.
Result<std::optional<Versioned<VmRecord>>> Target::read_record() {
    for (const std::int64_t until = ports_.clock.boottime_ms() + kRecord.count();; ports_.clock.sleep(kRecordRetry)) {
        auto found = ports_.registry.vm(vm_.value.uuid);
        if (found || found.error().kind != Kind::kUnavailable || give_up_() || ports_.clock.boottime_ms() >= until) return found;
        log::info("migrate", "VM {}: its record is asked for again: {}", vm_.value.name, found.error().what);
    }
}

Result<void> Target::begin() {
    BLANKET_TRY(const Json request, expect(link_, Type::kBegin, kControl));
    BLANKET_TRY(const std::uint64_t revision, json_number(request, "revision"));
    // The registry's word, not the peer's, is what we work from.
    BLANKET_TRY(const auto found, read_record());
    if (!found) return fail(Kind::kNotFound, "the registry knows no VM '{}'", vm_.value.name);
    vm_ = *found;
    const auto& migration = vm_.value.migration;
    if (vm_.revision != revision || !migration || migration->target != here_ || vm_.value.owner != link_.peer())
        return fail(Kind::kConflict, "the record of VM '{}' does not say that '{}' moves it to '{}'", vm_.value.name, link_.peer(), here_);
    if (const auto wanted = request.find("pages"); wanted != request.end() && *wanted == true) begin_offer();
    {
        const std::scoped_lock lock(marked_mutex_);
        marked_ = {vm_.value.uuid, vm_.revision};
    }
    for (const auto& sha256 : missing_images_) BLANKET_CHECK(receive_image(link_, ports_.blocks, sha256));
    BLANKET_TRY(const auto disks, ports_.blocks.volumes());
    for (const auto& volume : vm_.value.volumes) {
        if (const auto at = std::ranges::find(disks, volume.id, &VolumeFacts::id); at != disks.end()) {
            if (at->record_epoch() > vm_.value.epoch)
                return fail_hint(Kind::kConflict, std::format("site '{}' has a newer state of VM '{}' (epoch {}) than its record (epoch {})", here_, vm_.value.name, at->record_epoch(), vm_.value.epoch),
                                 std::format("at '{}': blanket vm recover {}", here_, vm_.value.name));
            BLANKET_CHECK(ports_.blocks.remove_volume(volume.id));  // an older state of it: this site's as its standby, or left by a move
        }
        BLANKET_CHECK(ports_.blocks.create_volume(volume, vm_.value.epoch + 1));
        volumes_made_.push_back(volume.id);
        BLANKET_TRY(auto move, ports_.moves.target(volume));
        moves_.push_back(std::move(move));
    }
    // From here on nothing that is sent to the VM is lost while it stands still. Without it the move is worse, not wrong.
    if (auto held = ports_.overlay.hold_frames(vm_.value); !held) log::warning("migrate", "VM {}: frames will not wait for it: {}", vm_.value.name, held.error().what);
    Json names = Json::array();
    for (const auto& volume : vm_.value.volumes) {
        if (volume.image.empty() || std::ranges::contains(images_, volume.image, &stream::BaseImage::sha256)) continue;
        auto image = stream::BaseImage::open(ports_.blocks, volume.image);
        if (!image) {
            log::warning("migrate", "VM {}: its memory cannot refer to base image {}: {}", vm_.value.name, volume.image.substr(0, 12), image.error().what);
            continue;
        }
        images_.push_back(std::move(*image));
        names.push_back(volume.image);
    }
    return send_json(link_, Type::kAck, {{"images", names}, {"offers", offer_ != nullptr}});
}

Result<void> Target::commit() {
    // Here the whole state is at this site: memory restored and paused, every write on our disk. The source may vanish now and the VM is safe.
    Stopwatch watch(ports_.clock);
    {
        const std::scoped_lock lock(marked_mutex_);
        marked_.revision = 0;
    }
    auto committed = commit_target(ports_.registry, ports_.clock, vm_, here_, give_up_);
    if (!committed) {
        // Nobody knows whether it took place: then nothing is taken away here. It may be the only copy; recovery asks the record.
        undecided_ = committed.error().kind == Kind::kUnavailable;
        return std::unexpected(std::move(committed).error());
    }
    const VmRecord won = std::move(*committed);
    committed_ = true;
    const auto record_ms = watch.lap_ms();
    times_.committed = log_.now();
    log_.begin("resume");
    (void)send_json(link_, Type::kCommitted, {{"epoch", won.epoch}, {"record_ms", std::max<std::int64_t>(0, record_ms)}});  // a source that does not hear it reads the record
    Result<void> first{};
    const auto keep_first = [&](Result<void> result) {
        if (!result && first) first = std::move(result);
    };
    for (auto& move : moves_) keep_first(move->take_over(won.epoch));
    const auto disk_ms = watch.lap_ms();
    keep_first(ports_.ends.resume_target(won.uuid));
    const auto resume_ms = watch.lap_ms();
    times_.resumed = log_.now();
    times_.disk_opened = *times_.resumed - std::max<std::int64_t>(0, resume_ms);
    log::info("migrate", "VM {}: committed in {} ms, disk opened in {} ms, resumed in {} ms", won.name, record_ms, disk_ms, resume_ms);
    if (first) first = send_json(link_, Type::kResumed, {{"disk_ms", std::max<std::int64_t>(0, disk_ms)}, {"resume_ms", std::max<std::int64_t>(0, resume_ms)}});
    if (auto connected = ports_.overlay.release_frames(won); !connected)
        log::error("migrate", "VM {}: {}", won.name, connected.error().what);  // apply() repairs it; the guest runs
    else times_.connected = log_.now();
    log_.end();
    if (first) (void)send_json(link_, Type::kTrace, to_json(TargetReport{log_.phases(), times_}));
    // The rest is repeated by recovery when it fails, or when we die here: until then the record says kSettling.
    for (auto& move : moves_) keep_first(move->finish(true, won.epoch));
    if (first) first = mark_settled(ports_.registry, won);
    if (!first) log::error("migrate", "VM {} is ours, but not all is in place: {}", won.name, first.error().what);
    return first;
}

void Target::discard() {
    const auto report = [&](const Result<void>& result) {
        if (!result) log::error("migrate", "VM {}: taking it away again: {}", vm_.value.name, result.error().what);
    };
    report(ports_.overlay.drop_frames(vm_.value.uuid));
    if (restored_) report(ports_.ends.discard_target(vm_.value.uuid));
    for (auto& move : moves_) report(move->finish(false, vm_.value.epoch));
    moves_.clear();
    for (const auto& id : volumes_made_) report(ports_.blocks.remove_volume(id));
}

}  // namespace blanket::migrate
