// SPDX-License-Identifier: GPL-2.0-or-later
// See daemon.hpp.
#include "tests/sim/daemon.hpp"

#include <algorithm>

#include "toolstack/migrate/source.hpp"
#include "toolstack/migrate/takeover.hpp"
#include "toolstack/migrate/target.hpp"

namespace blanket::sim {
namespace {

constexpr Time kRetry = 5 * kSecond, kClaimPatience = 10 * kSecond;

Time backoff(unsigned failed) { return kRetry * (Time{1} << std::min(failed, 6u)); }

Site site_of(int site) {
    Site out;
    out.name = site_name(site);
    out.index = static_cast<std::uint32_t>(site + 1);
    return out;
}

class SimObserver final : public migrate::Observer {
public:
    SimObserver(World& world, int site) : world_(world), site_(static_cast<std::size_t>(site)) {}
    void phase(const std::string& name) override {
        world_.phase = name;
    }
    void note(const std::string&) override {}
    void progress(double) override {}
    bool cancelled() const override { return world_.cancel || world_.stopping[site_]; }

private:
    World& world_;
    std::size_t site_;
};

}  // namespace

class Daemon::Claim final : public Claimed {
public:
    Claim(Daemon& daemon, std::string vm) : daemon_(daemon), vm_(std::move(vm)) { daemon_.claims_.insert(vm_); }
    ~Claim() override { daemon_.claims_.erase(vm_); }

private:
    Daemon& daemon_;
    std::string vm_;
};

Daemon::Daemon(World& world, int site)
    : world_(world), site_(site), life_(world.lives[static_cast<std::size_t>(site)]), time_(world, site), registry_(world, site), hypervisor_(world, site),
      storage_(world, site), net_(world, site),
      guard_({registry_, hypervisor_, hypervisor_, storage_, storage_, net_, time_}, site_name(site), {},
             {[](const auto&, const auto&) {}, [&world, site](const std::string& text) { world.hosts[static_cast<std::size_t>(site)].guard = text; }},
             world.hosts[static_cast<std::size_t>(site)].guard),
      watched_(registry_, guard_), domains_(hypervisor_, hypervisor_, guard_), recovery_(ports(), site_name(site), *this),
      failover_(ports(), site_name(site), {}, [&world, site](const std::string&, const std::string& text) { world.note(site, text); }) {}

std::unique_ptr<Claimed> Daemon::claim(const std::string& vm) {
    if (claims_.contains(vm)) return nullptr;
    return std::make_unique<Claim>(*this, vm);
}

void Daemon::look(const std::string& uuid, Cause cause, Time wait) {
    if (dead()) return;
    if (std::ranges::any_of(queue_, [&](const Item& item) { return item.uuid == uuid && item.cause == cause; })) return;
    queue_.push_back({uuid, cause, world_.time.now() + wait, 0});
    world_.time.notify(wake_);
}

void Daemon::boot() {
    queue_.push_back({{}, Cause::kRestart, world_.time.now(), 0});
    world_.time.spawn(site_, [this] { loop(); });
    if (world_.policy != kPause) return;
    guard_loop();
    failover_loop();
}

void Daemon::failover_loop() {
    world_.time.spawn(site_, [this] {
        while (!world_.time.leaving()) {
            world_.time.sleep(failover_.times().look.count() * kMs);
            if (!stopping()) failover_.look(known_);
        }
    });
}

void Daemon::guard_loop() {
    world_.time.spawn(site_, [this] {
        while (!world_.time.leaving()) {
            const bool stands = world_.watch_stands_until[static_cast<std::size_t>(site_)] > world_.time.now();
            if (auto all = stands ? fail(Kind::kUnavailable, "the watch lags") : registry_.snapshot()) {
                known_.clear();
                for (const auto& vm : all->vms) known_.push_back(vm.value);
            }
            guard_.confirm(known_);
            world_.time.sleep(guard_.times().confirm.count() * kMs);
        }
    });
    world_.time.spawn(site_, [this] {
        while (!world_.time.leaving()) {
            guard_.enforce();
            world_.time.sleep(kSecond);
        }
    });
}

void Daemon::loop() {
    while (!world_.time.leaving()) {
        if (stopping()) {
            world_.time.sleep(kSecond);
            continue;
        }
        Time due = kForever;
        for (const Item& item : queue_) due = std::min(due, item.due);
        const auto ready = [&] { return std::ranges::any_of(queue_, [&](const Item& item) { return item.due <= world_.time.now(); }); };
        if (!ready()) {
            const std::size_t known = queue_.size();
            (void)world_.time.wait(wake_, [&] { return queue_.size() != known; }, std::min(due, world_.time.now() + 60 * kSecond));
            continue;
        }
        const auto first = std::ranges::min_element(queue_, {}, &Item::due);
        const Item item = *first;
        queue_.erase(first);
        if (item.uuid.empty()) {
            const auto all = recovery_.all();
            if (!all) queue_.push_back({{}, item.cause, world_.time.now() + kRetry, 0});
            else for (const auto& uuid : *all) queue_.push_back({uuid, item.cause, world_.time.now(), 0});
            continue;
        }
        const auto done = recovery_.look(item.uuid, item.cause);
        const bool busy = done && *done == Action::kLater;
        if (done && !busy) continue;
        world_.note(site_, busy ? "look: later" : "look: " + done.error().what);
        queue_.push_back({item.uuid, item.cause, world_.time.now() + (busy ? kRetry : backoff(item.failed)), busy ? 0 : item.failed + 1});
    }
}

Result<void> Daemon::start(const VmRecord& vm) {
    auto claimed = std::make_shared<std::unique_ptr<Claimed>>(claim(vm.name));
    if (!*claimed) return fail(Kind::kConflict, "busy");
    world_.time.spawn(site_, [this, claimed, uuid = vm.uuid] {
        const auto mine = std::move(*claimed);
        const auto started = start_here(ports(), site_name(site_), uuid, StartFailure::kTryAgain, {});
        if (world_.time.leaving()) return;
        if (!started) world_.note(site_, "start: " + started.error().what);
        if (started) starts_failed_ = 0;
        else queue_.push_back({uuid, Cause::kRestart, world_.time.now() + backoff(starts_failed_++), 0});
    });
    return {};
}

bool Daemon::as_job(std::function<void()> work) {
    if (dead() || stopping()) return false;
    auto claimed = std::make_shared<std::unique_ptr<Claimed>>(claim(kVm));
    if (!*claimed) return false;
    world_.time.spawn(site_, [claimed, work = std::move(work)] {
        const auto mine = std::move(*claimed);
        work();
    });
    return true;
}

void Daemon::recover(bool accept_loss) {
    as_job([this, accept_loss] {
        migrate::TakeOverHooks hooks;
        hooks.ask = [&](const VmRecord&, const migrate::TakeOver& plan) -> Result<void> {
            BLANKET_CHECK(world_.enter(site_, "ask the others", 10 * kMs, 100 * kMs));
            if (plan.why == migrate::TakeOver::Why::kOwnerLost && world_.answers(site_, 1 - site_)) return fail(Kind::kConflict, "the owner answers");
            return world_.done(site_);
        };
        const auto taken = migrate::take_over_here(ports(), site_name(site_), kUuid, accept_loss, hooks);
        if (!world_.time.leaving()) world_.note(site_, taken ? "--- recovered" : "--- not recovered: " + taken.error().what);
    });
}

void Daemon::start_by_order() {
    as_job([this] {
        const auto domains = hypervisor_.list();
        if (!domains || (!domains->empty() && domains->front().id >= 0)) return;
        const auto started = start_here(ports(), site_name(site_), kUuid, StartFailure::kStop, {});
        if (world_.time.leaving()) return;
        world_.note(site_, started ? "--- started" : "--- not started: " + started.error().what);
        if (!started) look(kUuid, Cause::kRestart, 0);
    });
}

void Daemon::stop_by_order() {
    as_job([this] {
        const auto stopped = stop_here(ports(), site_name(site_), kUuid, StopMode::kShutdown, std::chrono::seconds(60), {});
        if (!world_.time.leaving()) world_.note(site_, stopped ? "--- stopped" : "--- not stopped: " + stopped.error().what);
    });
}

bool Daemon::delete_by_order() {
    return as_job([this] {
        const auto vm = owned_vm(registry_, site_name(site_), kUuid);
        if (!vm || !vm->value.forks.empty()) return;
        DeleteHooks hooks;
        hooks.drop_standby = [&](const VmRecord& record) -> Result<void> {
            BLANKET_CHECK(world_.enter(site_, "drop the standby", 10 * kMs, 200 * kMs));
            if (!world_.answers(site_, 1 - site_)) return fail(Kind::kUnavailable, "'{}' does not answer", record.standby->site);
            for (const auto& [uuid, domain] : world_.hosts[static_cast<std::size_t>(1 - site_)].domains)
                if (domain.id >= 0) return fail(Kind::kConflict, "the device is in use");  // by the suspended rest of a move
            world_.hosts[static_cast<std::size_t>(1 - site_)].disks.erase(kVolume);
            return world_.done(site_);
        };
        hooks.release = [](const VmRecord&) -> Result<void> { return {}; };
        const auto gone = delete_here(ports(), site_name(site_), kUuid, hooks);
        if (!world_.time.leaving()) world_.note(site_, gone ? "--- deleted" : "--- not deleted: " + gone.error().what);
    });
}

Result<void> Daemon::finish_delete(const VmRecord&) {
    if (delete_by_order()) return {};
    return fail(Kind::kConflict, "busy");
}

void Daemon::migrate(Daemon& target) {
    if (target.stopping()) return;
    as_job([this, &target] {
        const auto vm = owned_vm(registry_, site_name(site_), kUuid);
        if (!vm || vm->value.phase != Phase::kRunning) return;
        if (!world_.joined(0, 1) || target.dead() || !world_.executes(1 - site_)) return;
        const auto wire = std::make_shared<SimLink::Wire>();
        target.serve(wire);
        SimLink link(world_, wire, 0, site_);
        SimObserver observer(world_, site_);
        link.ended = [&observer] { return observer.cancelled(); };
        world_.cancel = false;
        migrate::Source source(ports(), link,
                               {std::format("job-{}", world_.calls()), *vm, site_of(site_), site_of(1 - site_), 7800}, observer);
        const auto stats = source.run();
        world_.phase = "rest";
        world_.note(site_, stats ? "--- moved" : "--- not moved: " + stats.error().what);
        if (!world_.time.leaving() && stats) ++world_.moves_done;
        link.shutdown();
        (void)target;
    });
}

void Daemon::serve(std::shared_ptr<SimLink::Wire> wire) {
    world_.time.spawn(site_, [this, wire] {
        SimLink link(world_, wire, 1, site_);
        std::unique_ptr<Claimed> mine;
        const auto coming = [&](const std::string& vm) -> Result<void> {
            for (Time left = kClaimPatience; !(mine = claim(vm)); left -= 100 * kMs) {
                if (left <= 0 || world_.time.leaving()) return fail(Kind::kConflict, "busy");
                world_.time.sleep(100 * kMs);
            }
            return {};
        };
        migrate::Target serving(ports(), link, site_name(site_),
                                [this] { return world_.time.leaving() || stopping(); }, coming);
        link.ended = [this, &serving] { return stopping() || serving.taken_back(); };
        if (const auto served = serving.serve(); !served) world_.note(site_, "--- not taken: " + served.error().what);
        link.shutdown();
    });
}

}  // namespace blanket::sim
