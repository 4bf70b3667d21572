// SPDX-License-Identifier: GPL-2.0-or-later
// See schedule.hpp.
#include "tests/sim/schedule.hpp"

#include <algorithm>
#include <format>

#include "tests/sim/daemon.hpp"

namespace blanket::sim {
namespace {

constexpr Time kFirstMove = 3 * kSecond, kBetween = 12 * kSecond;
constexpr Time kActive = 90 * kSecond;    // faults strike within it
constexpr Time kHealing = 400 * kSecond;  // all must be well by then

// Violations that only the end shows: I4 and I5.
std::vector<std::string> look_at_the_end(const World& world, const std::array<Daemon*, kSites>& daemons) {
    std::vector<std::string> wrong;
    for (const Daemon* daemon : daemons)
        if (!daemon->idle()) wrong.emplace_back("I5: a claim never ended");
    if (!world.record) {
        if (!world.may_be_deleted) wrong.emplace_back("I4: its record is gone");
        for (int site = 0; site < kSites; ++site) {
            const Host& host = world.hosts[static_cast<std::size_t>(site)];
            if (!host.domains.empty() || !host.disks.empty()) wrong.push_back(std::format("I5: the VM was deleted; {} domains and {} volumes are left at {}", host.domains.size(), host.disks.size(), site_name(site)));
        }
        return wrong;
    }
    const VmRecord& record = world.record->value;
    const int owner = record.owner == site_name(0) ? 0 : 1;
    const Host &home = world.hosts[static_cast<std::size_t>(owner)], &away = world.hosts[static_cast<std::size_t>(1 - owner)];
    const bool off = record.phase == Phase::kStopped && world.may_be_stopped;
    if (record.phase != Phase::kRunning && !off) wrong.push_back(std::format("I4: the record says {}", to_string(record.phase)));
    const auto domain = home.domains.find(kUuid);
    if (off ? domain != home.domains.end() && domain->second.id >= 0 : domain == home.domains.end() || domain->second.state != DomainState::kRunning)
        wrong.push_back(std::format("I4: it {} at its owner {}", off ? "runs" : "does not run", record.owner));
    const auto disk = home.disks.find(kVolume);
    if (disk == home.disks.end()) wrong.push_back("I4: its owner has no disk of it");
    else if (off ? disk->second.open || disk->second.epoch > record.epoch : !disk->second.open || disk->second.mirror != Disk::Mirror::kNone || disk->second.epoch != record.epoch)
        wrong.push_back(std::format("I4: its disk is {}, mirror {}, epoch {} where the record says {}", disk->second.open ? "open" : "suspended",
                                    static_cast<int>(disk->second.mirror), disk->second.epoch, record.epoch));
    if (!away.domains.empty()) wrong.push_back(std::format("I5: a domain is left at {}", site_name(1 - owner)));
    const bool stands_by = record.standby && record.standby->site == site_name(1 - owner), fork = !record.forks.empty() && record.forks.front().site == site_name(1 - owner);
    for (const auto& [id, left] : away.disks) {
        if (!stands_by && !fork) wrong.push_back(std::format("I5: a volume is left at {}", site_name(1 - owner)));
        else if (left.open || left.mirror != Disk::Mirror::kNone) wrong.push_back(std::format("I5: the disk that {} keeps is open, or has a mirror", site_name(1 - owner)));
    }
    return wrong;
}

// Where it makes sense: an operator does not power off what a restored registry misplaced (but starts what it says to be off), and takes over only from a
// host that he knows to be without power.
void obey(World& world, const std::array<Daemon*, kSites>& daemons, OrderKind kind) {
    if (!world.record || (world.went_back && kind != OrderKind::kStart)) return;
    const int owner = world.record->value.owner == site_name(0) ? 0 : 1;
    Daemon& there = *daemons[static_cast<std::size_t>(owner)];
    world.note(owner, std::format("--- order: {}", to_string(kind)));
    switch (kind) {
        case OrderKind::kStop:
            world.may_be_stopped = true;
            there.stop_by_order();
            break;
        case OrderKind::kStart:
            world.may_be_stopped = true;  // one that fails says so
            there.start_by_order();
            break;
        case OrderKind::kDelete:
            world.may_be_deleted = true;
            there.delete_by_order();
            break;
        case OrderKind::kRecover:
            if (!world.hosts[static_cast<std::size_t>(owner)].powered) daemons[static_cast<std::size_t>(1 - owner)]->recover(true);
            break;
        case OrderKind::kPowerOff:
            world.may_be_stopped = true;
            world.power_off_guest(owner);
            break;
        case OrderKind::kNothing: break;
        case OrderKind::kVirshStart:
            if (world.record->value.phase == Phase::kStopped) world.virsh_start(owner);
            break;
    }
}

}  // namespace

std::string_view to_string(OrderKind kind) {
    static constexpr std::array<std::string_view, 7> kNames{"stop", "start", "delete", "recover --accept-loss", "poweroff in the guest", "virsh start", "nothing"};
    return kNames[static_cast<std::size_t>(kind)];
}

Verdict run(const Schedule& schedule, std::vector<std::string>* trace) {
    Scheduler scheduler(schedule.seed);
    World world(scheduler, schedule.faults);
    world.trace = trace;
    std::vector<std::unique_ptr<Daemon>> lives;  // all of them: actors of dead ones may still be leaving
    std::array<Daemon*, kSites> now{};
    const auto born = [&](int site) {
        ++world.lives[static_cast<std::size_t>(site)];
        lives.push_back(std::make_unique<Daemon>(world, site));
        now[static_cast<std::size_t>(site)] = lives.back().get();
        lives.back()->boot();
    };
    world.on_boot = born;
    world.on_kill = [&](int site) { ++world.lives[static_cast<std::size_t>(site)]; };
    world.on_domain_event = [&](int site) { now[static_cast<std::size_t>(site)]->look(kUuid, Cause::kEvent, 3 * kSecond); };
    world.on_record_event = [&](int site) { now[static_cast<std::size_t>(site)]->look(kUuid, Cause::kRecord, 3 * kSecond); };

    VmRecord vm;
    vm.uuid = kUuid;
    vm.name = kVm;
    vm.owner = site_name(0);
    vm.phase = Phase::kRunning;
    vm.memory_mib = 256;
    vm.cpu_features = {"sse2"};
    vm.definition = kUuid;
    if (scheduler.chance(50)) vm.policy = kPause;
    world.policy = vm.policy;
    world.faults_until = kActive;
    vm.volumes.push_back({kVolume, "", kBlocks * kBlock, "xvda"});
    world.record = Versioned<VmRecord>{vm, world.revision};
    world.old_records.push_back(vm);
    world.is_idle = [&](int site) { return now[static_cast<std::size_t>(site)]->idle(); };
    world.hosts[0].disks[kVolume] = {.open = true, .epoch = 1, .pending = {}};
    world.hosts[0].domains[kUuid] = {.state = DomainState::kRunning, .id = 1, .next = 1};
    if (vm.policy == kPause)  // an earlier life of blanketd let it run, so its guard knows
        world.hosts[0].guard = Json{{"vms", {{{"uuid", kUuid}, {"name", kVm}, {"volumes", {kVolume}}, {"confirmed_ms", 0}}}}}.dump();
    born(0);
    born(1);
    const auto move = [&] {
        if (!world.record) return;
        const std::size_t owner = world.record->value.owner == site_name(0) ? 0 : 1;
        if (scheduler.alive(static_cast<int>(owner)) && world.hosts[owner].powered) now[owner]->migrate(*now[1 - owner]);
    };
    const unsigned moves = 1 + static_cast<unsigned>(scheduler.below(3));
    Time when = kFirstMove;
    for (unsigned i = 0; i < moves; ++i, when += kBetween + scheduler.between(0, 6 * kSecond)) scheduler.at(when, move);
    for (const Order& order : schedule.orders)
        scheduler.at(order.when, [&world, &now, &order] {
            world.strike_from_now(order.faults);
            obey(world, now, order.kind);
        });
    (void)scheduler.run(kActive);
    Time faults_end = kActive;
    for (const Fault& fault : schedule.faults) faults_end = std::max(faults_end, kActive + fault.duration);
    for (const Order& order : schedule.orders)
        for (const Fault& fault : order.faults) faults_end = std::max(faults_end, kActive + fault.duration);
    Verdict verdict;
    verdict.healed_after = kForever;
    for (Time at = kActive; at <= faults_end + kHealing; at += 5 * kSecond) {
        (void)scheduler.run(at);
        // What asks for an operator: where the disk is newer than the record, he says `vm recover`. (At a site with an older disk than another
        // it is refused: daemon/vm_recover.cpp asks them all.)
        // And a deletion that could not be ended is ordered once more.
        if (at >= faults_end && world.record && world.record->value.phase == Phase::kDeleting) obey(world, now, OrderKind::kDelete);
        for (int site = 0; site < kSites && world.record && world.went_back && at >= faults_end; ++site) {
            const auto disk = world.hosts[static_cast<std::size_t>(site)].disks.find(kVolume);
            const auto& others = world.hosts[static_cast<std::size_t>(1 - site)].disks;
            const auto other = others.find(kVolume);
            const bool here = disk != world.hosts[static_cast<std::size_t>(site)].disks.end() && (other == others.end() || other->second.epoch < disk->second.epoch);
            const bool newer = here && disk->second.epoch > world.record->value.epoch;
            if (newer && scheduler.alive(site)) now[static_cast<std::size_t>(site)]->recover(false);
            // Or the record of another moment of the same epoch: a restart of blanketd puts domain and record together, as its message says.
            if (world.may_be_stopped && world.record->value.owner == site_name(site) && scheduler.alive(site)) now[static_cast<std::size_t>(site)]->look(kUuid, Cause::kRestart, 0);
        }
        if (look_at_the_end(world, now).empty() && world.phase == "rest") {
            if (verdict.healed_after == kForever) verdict.healed_after = std::max<Time>(0, at - faults_end);
            if (at >= faults_end + 10 * kSecond) break;  // and it stays so
        } else {
            verdict.healed_after = kForever;
        }
    }
    verdict.violations = world.violations;
    for (auto& text : look_at_the_end(world, now)) verdict.violations.push_back(std::move(text));
    verdict.struck = world.struck;
    verdict.transitions = world.transitions;
    verdict.history = scheduler.history();
    verdict.calls = world.calls();
    verdict.steps = scheduler.steps();
    verdict.moves = world.moves_done;
    verdict.take_overs = world.take_overs;
    scheduler.end();  // before the daemons go
    return verdict;
}

Schedule draw(std::uint64_t seed) {
    Schedule schedule{seed, {}};
    std::mt19937_64 random(seed * 0x9e3779b97f4a7c15u + 1);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    // A move makes some 150 calls; the first minute with three moves some 500.
    const unsigned count = 1 + static_cast<unsigned>(below(3));
    static constexpr std::array<Time, 8> kDurations{50 * kMs, 500 * kMs, kSecond, 3 * kSecond, 5 * kSecond, 30 * kSecond, 60 * kSecond, 300 * kSecond};
    for (unsigned i = 0; i < count; ++i) {
        Fault fault;
        fault.call = 1 + below(420);
        fault.kind = static_cast<FaultKind>(1 + below(kFaultKinds - 1));
        fault.site = static_cast<int>(below(kSites));
        fault.duration = kDurations[below(kDurations.size())];
        fault.after = below(2) == 0;
        if (fault.kind == FaultKind::kAnswerLost) fault.after = true;
        if (fault.kind == FaultKind::kStepFails || fault.kind == FaultKind::kDiskFull || fault.kind == FaultKind::kStepHangs) fault.after = false;
        schedule.faults.push_back(fault);
    }
    if (below(8) == 0) {  // an owner that is silent for long, most often behind the first move: the standby's hour
        static constexpr std::array<FaultKind, 5> kSilent{FaultKind::kPowerCut, FaultKind::kFreeze, FaultKind::kIsolate, FaultKind::kKill, FaultKind::kPause};
        Fault& fault = schedule.faults.front();
        fault.kind = kSilent[below(kSilent.size())];
        fault.call = 100 + below(320);
        fault.duration = static_cast<Time>(20 + below(300)) * kSecond;
    }
    if (below(3) == 0) {
        static constexpr std::array<OrderKind, 10> kKinds{OrderKind::kStop, OrderKind::kStop, OrderKind::kStop, OrderKind::kStart, OrderKind::kStart, OrderKind::kDelete, OrderKind::kRecover, OrderKind::kRecover,
                                                           OrderKind::kPowerOff, OrderKind::kVirshStart};
        for (auto left = 1 + below(3); left > 0; --left) schedule.orders.push_back({static_cast<Time>(below(70'000)) * kMs, kKinds[below(kKinds.size())]});
    }
    if (below(12) == 0) {  // a long life, and then the registry goes back to any moment of it
        for (const OrderKind kind : {OrderKind::kStop, OrderKind::kStart}) schedule.orders.push_back({static_cast<Time>(200 + below(2500)) * kMs, kind});
        if (below(2) == 0) schedule.orders.push_back({static_cast<Time>(40'000 + below(20'000)) * kMs, OrderKind::kStop});
        if (below(2) == 0) schedule.orders.push_back({static_cast<Time>(50'000 + below(35'000)) * kMs, OrderKind::kStart});
        Fault& fault = schedule.faults.front();
        fault.kind = FaultKind::kRegistryBack;
        fault.call = 330 + below(400);
    }
    if (below(12) == 0) {  // a start that goes wrong
        const Time when = static_cast<Time>(25'000 + below(35'000)) * kMs;
        Order start{when + static_cast<Time>(5'000 + below(10'000)) * kMs, OrderKind::kStart};
        const auto meets = [&](FaultKind kind, bool after) {
            start.faults.push_back({.call = 1 + below(20), .after = after, .kind = kind, .site = static_cast<int>(below(kSites)), .duration = static_cast<Time>(60 + below(240)) * kSecond});
        };
        if (below(3) == 0) {
            meets(FaultKind::kAnswerLost, true);
        } else {  // its steps hang at a site that nobody hears meanwhile: it may be taken over before it comes to run the VM
            meets(FaultKind::kStepHangs, false);
            meets(FaultKind::kIsolate, false);
        }
        schedule.orders.push_back({when, OrderKind::kStop});
        schedule.orders.push_back(std::move(start));
    }
    if (below(20) == 0) {  // a guest crashes, and an answer of its new start is lost
        const std::uint64_t call = 20 + below(380);
        schedule.faults.push_back({.call = call, .kind = FaultKind::kGuestCrash, .site = static_cast<int>(below(kSites))});
        schedule.faults.push_back({.call = call + 1 + below(20), .after = true, .kind = FaultKind::kAnswerLost});
    }
    if (below(24) == 0) {  // an owner that is silent for as long as it may, and is back while a slow standby takes over
        const Time when = static_cast<Time>(10'000 + below(14'000)) * kMs;
        const auto lasts = [&](std::uint64_t least, std::uint64_t more) { return static_cast<Time>(least + below(more)) * kMs; };
        Order silence{when, OrderKind::kNothing}, slow{when + lasts(58'000, 8'000), OrderKind::kNothing};
        silence.faults.push_back({.call = 1, .kind = FaultKind::kIsolate, .site = static_cast<int>(below(kSites)), .duration = lasts(56'000, 12'000)});
        slow.faults.push_back({.call = 1 + below(6), .kind = FaultKind::kStepHangs, .duration = lasts(500, 8'000)});
        schedule.orders.push_back(std::move(silence));
        schedule.orders.push_back(std::move(slow));
    }
    std::ranges::sort(schedule.orders, {}, &Order::when);
    return schedule;
}

Schedule shrink(Schedule schedule) {
    const auto drop_needless = [&schedule](const auto& list_of) {
        for (std::size_t i = 0; i < list_of(schedule).size();) {
            Schedule less = schedule;
            auto& list = list_of(less);
            list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
            if (run(less).violations.empty()) ++i;
            else schedule = std::move(less);
        }
    };
    drop_needless([](Schedule& all) -> auto& { return all.faults; });
    drop_needless([](Schedule& all) -> auto& { return all.orders; });
    for (std::size_t order = 0; order < schedule.orders.size(); ++order)
        drop_needless([order](Schedule& all) -> auto& { return all.orders[order].faults; });
    return schedule;
}

std::string describe(const Schedule& schedule) {
    const auto tell = [](const Fault& fault) {
        return std::format("{} call {}: {} at {} for {} s", fault.after ? "after" : "before", fault.call, to_string(fault.kind), site_name(fault.site),
                           static_cast<double>(fault.duration) / kSecond);
    };
    std::string text = std::format("seed {}", schedule.seed);
    for (const Fault& fault : schedule.faults) text += "; " + tell(fault);
    for (const Order& order : schedule.orders) {
        text += std::format("; at {:.3f} s: {}", static_cast<double>(order.when) / kSecond, to_string(order.kind));
        for (const Fault& fault : order.faults) text += ", and " + tell(fault) + " from there";
    }
    return text;
}

}  // namespace blanket::sim
