// SPDX-License-Identifier: GPL-2.0-or-later
// The holds of OvsOverlay: frames for a VM that is coming wait until its driver is back. See hold.hpp.
#include <algorithm>
#include <thread>

#include "net/overlay_ovs.hpp"
#include "toolstack/base/log.hpp"

namespace blanket::net {
namespace {
constexpr std::string_view kHoldLog = "net";
constexpr auto kCarrierPoll = std::chrono::milliseconds(20);
constexpr auto kDeliverPoll = std::chrono::milliseconds(5);
}  // namespace

std::set<std::string> OvsOverlay::hold_names() const {
    std::set<std::string> names;
    for (const auto& hold : holds_) names.insert(hold.name);
    return names;
}

Result<void> OvsOverlay::hold_frames(const VmRecord& vm) {
    std::vector<Argv> steps;
    {
        const std::lock_guard hold(state_mutex_);
        if (!ready_) return fail(Kind::kPrecondition, "frames for VM '{}' cannot be held: the overlay has not been applied yet", vm.name);
        if (const VmRecord* known = plan_.find(vm.uuid); known != nullptr && known->epoch > vm.epoch)
            return fail(Kind::kConflict, "the record of VM '{}' is stale: epoch {} where {} is known", vm.name, vm.epoch, known->epoch);
        if (std::ranges::find(holds_, vm.uuid, &Hold::uuid) != holds_.end()) return fail(Kind::kConflict, "frames for VM '{}' are held already", vm.name);
        std::vector<Mac> macs;  // all are good before the first device is made
        for (const auto& nic : vm.nics) {
            BLANKET_TRY(const Mac mac, parse_mac(nic.mac));
            macs.push_back(mac);
        }
        for (const Mac mac : macs) {
            const std::string name = kHoldPrefix + std::to_string(next_hold_++ % 1'000'000);
            auto device = hold_host_->open(name);
            if (!device) {
                std::erase_if(holds_, [&](const Hold& item) { return item.uuid == vm.uuid; });
                return std::unexpected(std::move(device).error());
            }
            holds_.push_back({vm.uuid, name, mac, std::move(*device)});
            std::ranges::move(plan_hold(name, vm.uuid, format_mac(mac)), std::back_inserter(steps));
        }
        plan_.release(vm.uuid, false);
    }
    const auto armed = [&]() -> Result<void> {
        if (steps.empty()) return {};
        BLANKET_CHECK(runner_->run(commands::switch_change(steps)));
        const std::lock_guard hold(state_mutex_);
        BLANKET_TRY(const SwitchState state, read_switch());
        plan_.ports(local_ports(state));
        plan_.put(vm);
        return push();
    }();
    if (!armed) (void)drop_frames(vm.uuid);
    return armed;
}

OvsOverlay::~OvsOverlay() {
    std::map<std::string, std::jthread> all;
    {
        const std::lock_guard hold(arming_mutex_);
        all.swap(arming_);
    }
}

void OvsOverlay::end_arming(const std::string& uuid, bool stop) {
    std::jthread thread;
    {
        const std::lock_guard hold(arming_mutex_);
        const auto at = arming_.find(uuid);
        if (at == arming_.end()) return;
        thread = std::move(at->second);
        arming_.erase(at);
    }
    if (stop) thread.request_stop();
    thread.join();
}

// A paused domain sends nothing, and what is sent to it waits in its hold: its port may be connected before the record says that it is here.
Result<void> OvsOverlay::connect_port(const VmRecord& vm, const std::stop_token& stop) {
    const auto deadline = Clock::now() + options_.port_deadline;
    for (; !stop.stop_requested() && Clock::now() < deadline; std::this_thread::sleep_for(kCarrierPoll)) {
        const std::lock_guard hold(state_mutex_);
        if (!ready_) return fail(Kind::kPrecondition, "the overlay has not been applied yet");
        if (const VmRecord* known = plan_.find(vm.uuid); known != nullptr && known->epoch > vm.epoch) return {};
        BLANKET_TRY(const SwitchState state, read_switch());
        const LocalPorts ports = local_ports(state);
        if (!plugged(vm, ports)) continue;
        plan_.ports(ports);
        plan_.put(vm);
        plan_.arm(vm.uuid, true);
        return push();
    }
    return fail(Kind::kTimeout, "its port did not appear");
}

void OvsOverlay::arm(const VmRecord& vm) {
    end_arming(vm.uuid, true);
    const std::lock_guard hold(arming_mutex_);
    arming_[vm.uuid] = std::jthread([this, vm](const std::stop_token& stop) {
        if (const auto connected = connect_port(vm, stop); !connected) log::warning(kHoldLog, "VM {}: its port is connected only after it runs: {}", vm.name, connected.error().what);
    });
}

std::size_t OvsOverlay::silent_vifs(const std::string& uuid) {
    const std::lock_guard hold(state_mutex_);
    std::size_t silent = 0;
    for (const auto& item : holds_) {
        if (item.uuid != uuid) continue;
        const auto vif = std::ranges::find_if(plan_.world().ports.vms, [&](const VmPort& port) { return port.uuid == uuid && port.mac == item.mac; });
        if (vif == plan_.world().ports.vms.end() || !hold_host_->carrier(vif->name)) ++silent;
    }
    return silent;
}

Result<unsigned> OvsOverlay::deliver(const std::string& uuid) {
    unsigned count = 0;
    for (const auto& hold : holds_) {
        if (hold.uuid != uuid) continue;
        BLANKET_TRY(const unsigned frames, hold.device->deliver());
        count += frames;
    }
    return count;
}

Result<void> OvsOverlay::release_frames(const VmRecord& vm) {
    bool held = false;
    {
        const std::lock_guard hold(state_mutex_);
        held = std::ranges::find(holds_, vm.uuid, &Hold::uuid) != holds_.end();
    }
    if (!held) return activate(vm);
    end_arming(vm.uuid, false);
    const auto begin = Clock::now();
    const auto deadline = begin + options_.carrier_deadline;
    auto silent = silent_vifs(vm.uuid);
    for (; silent > 0 && Clock::now() < deadline; silent = silent_vifs(vm.uuid)) std::this_thread::sleep_for(kCarrierPoll);
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);

    // What comes meanwhile takes the way through the hold, until the guest has had its time: activate() and the rest would take it away.
    Result<unsigned> first = 0u, rest = 0u;
    const auto quiet_until = Clock::now() + (silent == 0 ? options_.hold_quiet : Clock::duration::zero());
    do {
        {
            const std::lock_guard hold(state_mutex_);
            const auto more = deliver(vm.uuid);
            if (!more) first = more;
            else if (first) *first += *more;
        }
        std::this_thread::sleep_for(kDeliverPoll);
    } while (first && Clock::now() < quiet_until);
    const auto active = activate(vm);
    Result<void> switched;
    {
        const std::lock_guard hold(state_mutex_);
        plan_.release(vm.uuid, true);
        switched = push();
        rest = deliver(vm.uuid);  // what came until the switch knew
    }
    BLANKET_CHECK(drop_frames(vm.uuid));
    BLANKET_CHECK(active);
    BLANKET_CHECK(switched);
    if (!first || !rest) return std::unexpected(std::move(first ? rest : first).error());
    if (silent > 0)
        return fail(Kind::kTimeout, "VM '{}' did not connect {} of its network cards within {} ms; {} frames for it are lost", vm.name, silent,
                    options_.carrier_deadline.count(), *first + *rest);
    log::info(kHoldLog, "VM {}: its network was back after {} ms; {} frames had waited or came through the hold", vm.name, waited.count(), *first + *rest);
    return {};
}

Result<void> OvsOverlay::drop_frames(const std::string& uuid) {
    std::vector<Argv> steps;
    Result<void> pushed;
    std::vector<Hold> gone;  // closed last: the port goes before its device
    end_arming(uuid, true);
    {
        const std::lock_guard hold(state_mutex_);
        const bool armed = plan_.world().armed.contains(uuid);
        plan_.arm(uuid, false);
        for (auto& item : holds_)
            if (item.uuid == uuid) {
                steps.push_back({"--if-exists", "del-port", kBridge, item.name});
                gone.push_back(std::move(item));
            }
        if (gone.empty() && !armed) return {};
        std::erase_if(holds_, [](const Hold& item) { return item.device == nullptr; });
        LocalPorts ports = plan_.world().ports;
        std::erase_if(ports.holds, [&](const VmPort& port) { return port.uuid == uuid; });
        plan_.ports(std::move(ports));
        plan_.release(uuid, false);
        pushed = push();
    }
    if (!steps.empty()) BLANKET_CHECK(runner_->run(commands::switch_change(steps)));
    return pushed;
}

}  // namespace blanket::net
