// SPDX-License-Identifier: GPL-2.0-or-later
// See ports.hpp. The disk's mover is in disk_move.cpp.
#include "tests/sim/ports.hpp"

#include <algorithm>
#include <cstring>

#include "toolstack/core/transitions.hpp"

namespace blanket::sim {
namespace {

constexpr std::uint32_t kEndMark = 0x444e4521;
constexpr Time kWireDelay = 25 * kMs, kWirePatience = 90 * kSecond, kUrgentPatience = 10 * kSecond, kWireAsks = 2 * kSecond, kWireSilence = 6 * kSecond;

}  // namespace

// ---------------------------------------------------------------- registry
Result<void> SimRegistry::reach(const char* what) {
    if (auto entered = world_.enter(site_, what, 2 * kMs, 120 * kMs); !entered) return fail(Kind::kUnavailable, "{}", entered.error().what);
    if (world_.quorum(site_)) {
        world_.hosts[static_cast<std::size_t>(site_)].without_quorum_since = -1;  // between two ticks of the checker, in a flapping cut
        return {};
    }
    world_.time.sleep(world_.time.between(kSecond, 5 * kSecond));
    return fail(Kind::kUnavailable, "no quorum");
}

Result<void> SimRegistry::answer() {
    BLANKET_CHECK(world_.done(site_));
    if (!world_.time.leaving() && !world_.quorum(site_)) return fail(Kind::kUnavailable, "the answer did not come");
    return {};
}

Result<Snapshot> SimRegistry::snapshot() {
    BLANKET_CHECK(reach("snapshot"));
    Snapshot all;
    all.revision = world_.revision;
    if (world_.gone) all.gone.push_back(*world_.gone);
    if (world_.record) all.vms.push_back(*world_.record);
    BLANKET_CHECK(answer());
    return all;
}

Result<std::optional<Versioned<VmRecord>>> SimRegistry::vm(const std::string& uuid) {
    BLANKET_CHECK(reach("read"));
    auto found = world_.record && world_.record->value.uuid == uuid ? world_.record : std::nullopt;
    BLANKET_CHECK(answer());
    return found;
}

Result<std::uint64_t> SimRegistry::create_vm(const VmRecord&) { return fail(Kind::kInternal, "not simulated"); }

// The store's own side of a write: checked against what is there when it is carried out.
Result<std::uint64_t> SimRegistry::write(const char* what, Write change) {
    BLANKET_CHECK(reach(what));
    if (const auto late = world_.take_late()) {
        world_.time.at(world_.time.now() + *late, [&world = world_, site = site_, change] {
            world.note(site, "*** the late write is carried out");
            (void)change(world);
        });
        world_.time.sleep(world_.time.between(kSecond, 5 * kSecond));
        return fail(Kind::kUnavailable, "no answer in time");
    }
    if (const auto twice = world_.take_twice())
        world_.time.at(world_.time.now() + *twice, [&world = world_, change] { (void)change(world); });
    const auto revision = change(world_);
    if (!revision) return revision;
    BLANKET_CHECK(answer());
    return revision;
}

namespace {

Result<std::uint64_t> swap(World& world, int site, const VmRecord& vm, std::uint64_t expected_revision) {
    if (!world.record || world.record->revision != expected_revision) return fail(Kind::kConflict, "revision {} is not the present one", expected_revision);
    const VmRecord& old = world.record->value;
    if (!allowed(old, vm))
        world.violation(std::format("no transition: {} at '{}', epoch {} -> {} at '{}', epoch {}", to_string(old.phase), old.owner, old.epoch, to_string(vm.phase), vm.owner, vm.epoch));
    world.write_record(site, vm);
    return world.revision;
}

}  // namespace

Result<void> SimRegistry::remove_vm(const VmRecord&, std::uint64_t expected_revision) {
    return write("remove", [site = site_, expected_revision](World& world) -> Result<std::uint64_t> {
               if (!world.record || world.record->revision != expected_revision) return fail(Kind::kConflict, "revision {} is not the present one", expected_revision);
               if (world.record->value.phase != Phase::kDeleting) world.violation("removed without having been marked");
               world.remove_record(site);
               return world.revision;
           })
        .transform([](std::uint64_t) {});
}

Result<std::optional<Gone>> SimRegistry::gone(const std::string&) {
    BLANKET_CHECK(reach("read what is gone"));
    auto found = world_.gone;
    BLANKET_CHECK(answer());
    return found;
}

Result<std::uint64_t> SimRegistry::update_vm(const VmRecord& vm, std::uint64_t expected_revision) {
    return write("compare-and-swap", [site = site_, vm, expected_revision](World& world) {
        // An operator's take-over: his word is what may be lost.
        if (world.record && world.record->revision == expected_revision && vm.forks.size() > world.record->value.forks.size()) world.taken_over(vm);
        return swap(world, site, vm, expected_revision);
    });
}

Result<void> SimRegistry::beat(const std::string&, bool leaving) {
    return write("beat", [site = site_, leaving](World& world) -> Result<std::uint64_t> {
               world.beats[static_cast<std::size_t>(site)] = Beat{++world.revision, leaving};
               return world.revision;
           })
        .transform([](std::uint64_t) {});
}

Result<std::optional<Beat>> SimRegistry::last_beat(const std::string& site) {
    BLANKET_CHECK(reach("read a beat"));
    const auto beat = world_.beats[site == site_name(0) ? 0 : 1];
    BLANKET_CHECK(answer());
    return beat;
}

Result<std::uint64_t> SimRegistry::take_over_vm(const VmRecord& vm, std::uint64_t expected_revision, const std::string& silent, std::uint64_t beat) {
    return write("take over", [site = site_, vm, expected_revision, from = silent == site_name(0) ? 0U : 1U, beat](World& world) -> Result<std::uint64_t> {
        const auto& last = world.beats[from];
        if ((last ? last->revision : 0) != beat) return fail(Kind::kConflict, "'{}' has beaten since", site_name(static_cast<int>(from)));
        if (world.record && world.record->revision == expected_revision) world.taken_over(vm);
        return swap(world, site, vm, expected_revision);
    });
}

// ---------------------------------------------------------------- hypervisor
Domain* SimHypervisor::find(const std::string& uuid) {
    const auto at = host().domains.find(uuid);
    return at == host().domains.end() ? nullptr : &at->second;
}

Result<HostFacts> SimHypervisor::facts() {
    return HostFacts{.memory_mib = 4096, .free_mib = 2048, .cpus = 2, .cpu_features = {"sse2"}, .cpu_model = "sim", .xen_version = "4.20", .libvirt_version = "11", .log_dirty = true};
}

Result<std::vector<DomainInfo>> SimHypervisor::list() {
    BLANKET_CHECK(world_.enter(site_, "list", 1 * kMs, 20 * kMs));
    std::vector<DomainInfo> all;
    for (const auto& [uuid, domain] : host().domains) all.push_back({.uuid = uuid, .name = kVm, .id = domain.id, .state = domain.state, .memory_mib = 256, .vcpus = 1});
    BLANKET_CHECK(world_.done(site_));
    return all;
}

Result<void> SimHypervisor::define(const std::string& xml) {
    BLANKET_CHECK(world_.enter(site_, "define", 1 * kMs, 50 * kMs));
    host().domains.try_emplace(xml);
    return world_.done(site_);
}

Result<std::uint32_t> SimHypervisor::watchdog(std::uint32_t, std::chrono::seconds time) {
    host().watchdog_until = time.count() == 0 ? 0 : world_.time.now() + time.count() * kSecond;
    return time.count() == 0 ? 0 : 1;
}

Result<void> SimHypervisor::undefine(const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, "undefine", 1 * kMs, 50 * kMs));
    if (const Domain* domain = find(uuid); domain != nullptr && domain->id >= 0) return fail(Kind::kConflict, "it runs");
    host().domains.erase(uuid);
    return world_.done(site_);
}

Result<void> SimHypervisor::start(const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, "start", 50 * kMs, 500 * kMs));
    Domain* domain = find(uuid);
    if (domain == nullptr) return fail(Kind::kNotFound, "no domain {}", uuid);
    if (domain->id >= 0) return fail(Kind::kConflict, "it runs already");
    *domain = {.state = DomainState::kRunning, .id = static_cast<int>(world_.calls() % 30000) + 1, .next = 0};
    world_.guest_boots(site_, *domain);
    world_.changed_domain(site_);
    return world_.done(site_);
}

Result<void> SimHypervisor::stop(const std::string& uuid, StopMode, std::chrono::seconds) {
    BLANKET_CHECK(world_.enter(site_, "stop", 10 * kMs, 200 * kMs));
    Domain* domain = find(uuid);
    if (domain == nullptr) return fail(Kind::kNotFound, "no domain {}", uuid);
    *domain = {};
    world_.changed_domain(site_);
    return world_.done(site_);
}

Result<void> SimHypervisor::pause(const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, "pause", 5 * kMs, 100 * kMs));
    Domain* domain = find(uuid);
    if (domain == nullptr || domain->id < 0) return fail(Kind::kNotFound, "no domain {}", uuid);
    if (domain->state == DomainState::kRunning) domain->state = DomainState::kPaused;
    world_.changed_domain(site_);
    return world_.done(site_);
}

Result<void> SimHypervisor::unpause(const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, "unpause", 5 * kMs, 100 * kMs));
    if (Domain* domain = find(uuid); domain != nullptr && domain->state == DomainState::kPaused) {
        domain->state = DomainState::kRunning;
        world_.guest_resumes(site_, *domain);
        world_.changed_domain(site_);
    }
    return world_.done(site_);
}

namespace {

Result<void> put(const ByteSink& sink, std::uint32_t a, std::uint32_t b) {
    const std::uint32_t words[2] = {a, b};
    return sink(std::as_bytes(std::span(words)));
}

}  // namespace

Result<void> SimHypervisor::save_live(const std::string& uuid, const SaveLimits&, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) {
    BLANKET_CHECK(world_.enter(site_, "save", 10 * kMs, 100 * kMs));
    const auto running = [&] { const Domain* domain = find(uuid); return domain != nullptr && domain->state == DomainState::kRunning; };
    if (!running()) return fail(Kind::kConflict, "it does not run");
    SaveProgress progress;
    const auto wake = [&] {
        if (Domain* domain = find(uuid); domain != nullptr && domain->state == DomainState::kSuspended) {
            domain->state = DomainState::kRunning;
            world_.guest_resumes(site_, *domain);
        }
    };
    bool ended = false;
    struct AtExit {  // the saving process is a child: when blanketd dies it may notice in time and wake the guest, or it may have been done
        const bool& ended;
        World& world;
        const std::function<void()> wake;
        ~AtExit() {
            if (!ended && world.time.chance(50)) wake();
        }
    } at_exit{ended, world_, wake};
    const auto give_up = [&](Error error) -> Result<void> {
        ended = true;
        if (!world_.time.chance(30)) wake();  // it may have been killed, or not able to
        return std::unexpected(std::move(error));
    };
    for (; progress.round < 3; ++progress.round) {
        if (auto step = world_.enter(site_, "pre-copy round", 50 * kMs, 400 * kMs); !step) return give_up(step.error());
        if (!running()) {
            ended = true;
            return fail(Kind::kIo, "the domain ended during its save");
        }
        if (on_progress && !on_progress(progress)) return give_up({Kind::kCancelled, "given up", {}});
        if (auto sent = put(sink, 0, progress.round); !sent) return give_up(sent.error());
        if (auto step = world_.done(site_); !step) return give_up(step.error());
    }
    progress.stopping = true;
    if (on_progress && !on_progress(progress)) return give_up({Kind::kCancelled, "given up", {}});
    if (auto step = world_.enter(site_, "suspend", 5 * kMs, 50 * kMs); !step) return give_up(step.error());
    if (!running()) {
        ended = true;
        return fail(Kind::kIo, "the domain ended during its save");
    }
    find(uuid)->state = DomainState::kSuspended;
    const std::uint32_t next = find(uuid)->next;
    world_.changed_domain(site_);
    progress.suspended = true;
    if (on_progress) on_progress(progress);
    if (auto step = world_.done(site_); !step) return give_up(step.error());
    if (auto sent = put(sink, 1, next); !sent) return give_up(sent.error());
    if (auto step = world_.enter(site_, "last pages", 50 * kMs, 400 * kMs); !step) return give_up(step.error());
    if (auto sent = put(sink, kEndMark, next); !sent) return give_up(sent.error());
    if (auto step = world_.done(site_); !step) return give_up(step.error());
    ended = true;
    if (const Domain* domain = find(uuid); domain == nullptr || domain->state != DomainState::kSuspended) return fail(Kind::kIo, "the suspended domain is gone");
    return {};
}

Result<void> SimHypervisor::resume_source(const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, "resume source", 5 * kMs, 100 * kMs));
    Domain* domain = find(uuid);
    if (domain == nullptr || domain->id < 0) return fail(Kind::kConflict, "it does not run here");
    if (domain->state == DomainState::kSuspended) {
        domain->state = DomainState::kRunning;
        world_.guest_resumes(site_, *domain);
        world_.changed_domain(site_);
    }
    return world_.done(site_);
}

Result<void> SimHypervisor::remove(const char* what, const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, what, 10 * kMs, 200 * kMs));
    if (host().domains.erase(uuid) > 0) world_.changed_domain(site_);
    return world_.done(site_);
}

Result<void> SimHypervisor::destroy_source(const std::string& uuid) { return remove("destroy source", uuid); }
Result<void> SimHypervisor::discard_target(const std::string& uuid) { return remove("discard target", uuid); }

Result<void> SimHypervisor::restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) {
    BLANKET_CHECK(world_.enter(site_, "restore", 10 * kMs, 100 * kMs));
    if (const Domain* domain = find(uuid); domain != nullptr && domain->id >= 0) return fail(Kind::kConflict, "it is here already");
    host().domains[xml] = {.state = DomainState::kPaused, .id = static_cast<int>(world_.calls() % 30000) + 1, .next = 0};
    // When blanketd dies, libvirt's restore fails at the broken stream; the definition may stay.
    struct AtExit {
        Host& host;
        World& world;
        const std::string& uuid;
        bool ended = false;
        ~AtExit() {
            if (ended) return;
            if (world.time.leaving() && world.time.chance(50)) host.domains[uuid] = {};
            else host.domains.erase(uuid);
        }
    } at_exit{host(), world_, uuid};
    std::uint32_t words[2]{};
    for (;;) {
        std::span<std::byte> rest = std::as_writable_bytes(std::span(words));
        while (!rest.empty()) {
            const auto got = source(rest);
            if (!got && got.error().kind == Kind::kTimeout) {
                if (world_.time.leaving()) return fail(Kind::kUnavailable, "dead");
                continue;
            }
            if (!got) return std::unexpected(got.error());
            if (*got == 0) return fail(Kind::kIo, "the stream ended early");
            rest = rest.subspan(*got);
        }
        if (words[0] == kEndMark) break;
    }
    BLANKET_CHECK(world_.enter(site_, "restore's devices", 20 * kMs, 2000 * kMs));
    Domain* domain = find(uuid);
    if (domain == nullptr) return fail(Kind::kIo, "the domain vanished during its restore");
    domain->next = words[1];
    BLANKET_CHECK(world_.done(site_));
    at_exit.ended = true;
    return {};
}

Result<void> SimHypervisor::resume_target(const std::string& uuid) {
    BLANKET_CHECK(world_.enter(site_, "resume target", 5 * kMs, 150 * kMs));
    Domain* domain = find(uuid);
    if (domain == nullptr || domain->id < 0) return fail(Kind::kConflict, "it is not here");
    if (domain->state == DomainState::kPaused) {
        domain->state = DomainState::kRunning;
        world_.guest_resumes(site_, *domain);
        world_.changed_domain(site_);
    }
    return world_.done(site_);
}

// ---------------------------------------------------------------- link
void SimLink::deliver(World& world, const std::shared_ptr<Wire>& wire, int side) {
    if (wire->under_way[side].empty()) return;
    // One way only: what is under way arrives, but no acknowledgement comes back, and the connection ends after a while.
    if (!wire->silent && world.linked(side, 1 - side) && (world.joined(0, 1) || world.time.chance(50))) {
        if (world.joined(0, 1)) wire->cut_since = 0;
        else if (wire->cut_since == 0) wire->cut_since = world.time.now(), ++wire->cuts;
        wire->arrived[1 - side].push_back(std::move(wire->under_way[side].front()));
        wire->under_way[side].pop_front();
        world.time.notify(wire->signal[1 - side]);
        return;
    }
    if (wire->cut_since == 0) {
        wire->cut_since = world.time.now();
        ++wire->cuts;
    }
    if (late(world, *wire)) return break_off(world, *wire);
    world.time.at(world.time.now() + 500 * kMs, [&world, wire, side] { deliver(world, wire, side); });
}

bool SimLink::late(World& world, const Wire& wire) {
    const Time since = wire.urgent ? std::max(wire.cut_since, wire.urgent_since) : wire.cut_since;
    return world.time.now() - since > (wire.urgent ? kUrgentPatience : kWirePatience);
}

void SimLink::break_off(World& world, Wire& wire) {
    wire.broken = true;
    for (auto& signal : wire.signal) world.time.notify(signal);
}

void SimLink::urgent(bool on) {
    if (on && !wire_->urgent) wire_->urgent_since = world_.time.now();
    wire_->urgent = on;
}

// A moment of a cut; somebody may know that there is nothing to wait for.
Result<void> SimLink::wait_out_cut(Time slice) {
    (void)world_.time.wait(wire_->signal[side_], [&] { return wire_->broken; }, world_.time.now() + slice);
    if (world_.time.leaving()) return fail(Kind::kUnavailable, "dead");
    // Nothing is under way that could show it: the signs of life do.
    if (!wire_->silent && world_.answers(site_, 1 - site_) && wire_->under_way[0].empty() && wire_->under_way[1].empty()) wire_->cut_since = 0;
    if (!wire_->broken && wire_->cut_since != 0 && late(world_, *wire_)) break_off(world_, *wire_);
    if (wire_->broken || wire_->cut_since == 0 || (wire_->urgent && side_ == 0) || !ended || !ended()) return {};
    break_off(world_, *wire_);
    return fail(Kind::kCancelled, "the wait for the lost link was ended");
}

// A peer that gives no sign of life counts as cut off, whether or not anything is under way to it.
void SimLink::listen(Time slice) {
    if (!wire_->silent && world_.answers(site_, 1 - site_)) {
        quiet_ = 0;
    } else if ((quiet_ += slice) >= kWireSilence && wire_->cut_since == 0) {
        quiet_ = 0;
        wire_->cut_since = world_.time.now();
        ++wire_->cuts;
    }
}

Result<void> SimLink::send(std::uint32_t type, std::span<const std::byte> payload) {
    if (auto step = world_.enter(site_, "send", 0, 2 * kMs); !step) return step;
    // The source's messages are large: it waits. Those of the target are not, nor what is said of a guest that has stopped.
    while (side_ == 0 && !wire_->urgent && wire_->cut_since != 0 && !wire_->broken) BLANKET_CHECK(wait_out_cut(kWireAsks));
    if (wire_->broken) return fail(Kind::kIo, "closed by the peer");
    sent_ += payload.size() + 8;
    wire_->under_way[side_].push_back({type, {payload.begin(), payload.end()}});
    world_.time.at(world_.time.now() + kWireDelay, [&world = world_, wire = wire_, side = side_] { deliver(world, wire, side); });
    return world_.done(site_);
}

Result<Message> SimLink::receive(std::chrono::milliseconds deadline) {
    if (auto step = world_.enter(site_, "receive", 0, 2 * kMs); !step) {
        shutdown();  // a fault of the connection ends it
        return std::unexpected(step.error());
    }
    auto& queue = wire_->arrived[side_];
    const auto came = [&] { return !queue.empty() || wire_->broken; };
    Time left = deadline.count() * kMs;
    bool ready = came();
    while (!ready && left > 0 && !world_.time.leaving()) {
        if (wire_->cut_since != 0) {  // the deadline stands still
            BLANKET_CHECK(wait_out_cut(kWireAsks));
            ready = came();
            continue;
        }
        const Time slice = std::min(left, kWireAsks);
        ready = world_.time.wait(wire_->signal[side_], came, world_.time.now() + slice);
        left -= slice;
        listen(slice);
    }
    if (world_.time.leaving()) return fail(Kind::kUnavailable, "dead");
    if (!ready) return fail(Kind::kTimeout, "no message");
    if (queue.empty()) return fail(Kind::kIo, "closed by the peer");
    Message message = std::move(queue.front());
    queue.pop_front();
    BLANKET_CHECK(world_.done(site_));
    return message;
}

void SimLink::shutdown() {
    if (wire_->broken) return;
    if (!world_.hosts[static_cast<std::size_t>(site_)].powered) {
        wire_->silent = true;
        return;
    }
    // What was sent before still arrives, then the end.
    world_.time.at(world_.time.now() + 2 * kWireDelay, [&world = world_, wire = wire_] {
        if (!world.joined(0, 1)) {
            wire->silent = true;
            return;
        }
        wire->broken = true;
        for (auto& signal : wire->signal) world.time.notify(signal);
    });
}

}  // namespace blanket::sim
