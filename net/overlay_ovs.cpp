// SPDX-License-Identifier: GPL-2.0-or-later
// See overlay_ovs.hpp.
#include "net/overlay_ovs.hpp"

#include <algorithm>
#include <thread>
#include <unordered_set>

#include "net/dhcp.hpp"
#include "net/path_mtu.hpp"
#include "net/public_ports.hpp"
#include "net/wireguard.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

constexpr std::string_view kLog = "net";
constexpr auto kPortPoll = std::chrono::milliseconds(30);
constexpr auto kLastWordsPoll = std::chrono::milliseconds(10);
constexpr auto kCalmPoll = std::chrono::milliseconds(250);

Result<void> ok(Result<std::string> result) {
    if (!result) return std::unexpected(std::move(result).error());
    return {};
}

}  // namespace

OvsOverlay::OvsOverlay(OverlayOptions options, CommandRunner* runner, HoldHost* hold_host)
    : options_(std::move(options)), runner_(runner != nullptr ? runner : &system_), hold_host_(hold_host != nullptr ? hold_host : &system_holds_), plan_(options_.site) {}

Result<std::unique_ptr<OvsOverlay>> OvsOverlay::create(OverlayOptions options, CommandRunner* runner, HoldHost* holds) {
    BLANKET_CHECK(check_name(options.site, "site"));
    if (options.uplink_mtu < 576 || options.uplink_mtu > 65535)
        return fail(Kind::kInvalid, "uplink MTU {} is not within 576 to 65535", options.uplink_mtu);
    return std::unique_ptr<OvsOverlay>(new OvsOverlay(std::move(options), runner, holds));
}

Result<SwitchState> OvsOverlay::read_switch() {
    auto text = runner_->run(commands::switch_read());
    if (!text) {
        Error error = std::move(text).error().context("reading Open vSwitch");
        error.hint = "is openvswitch-switch.service running?";
        return std::unexpected(std::move(error));
    }
    return parse_switch(*text);
}

Result<std::map<std::string, Link>> OvsOverlay::read_links() {
    BLANKET_TRY(const std::string text, runner_->run(commands::addresses_read()));
    return parse_links(text);
}

std::vector<OwnRange> OvsOverlay::read_own_ranges(const std::map<std::string, Link>& links, const std::vector<Site>& sites) const {
    const auto routes = options_.route_table.empty() ? Result<std::string>() : read_file(options_.route_table, 16u << 20);
    return own_ranges(links, routes.value_or(std::string()), sites);  // a table that cannot be read is no reason to leave the network as it is
}

Result<void> OvsOverlay::check_net(const Net& net) { return check_nets({net}).front(); }

std::vector<Result<void>> OvsOverlay::check_nets(const std::vector<Net>& nets) {
    std::vector<Site> sites;
    {
        const std::lock_guard hold(state_mutex_);
        sites = plan_.world().sites;
    }
    const auto links = read_links();
    std::vector<OwnRange> own;
    if (links) own = read_own_ranges(*links, sites);
    std::vector<Result<void>> out;
    for (const auto& net : nets) out.push_back(links ? check_against(net, own) : Result<void>(std::unexpected(links.error())));
    return out;
}

Result<void> OvsOverlay::check_against(const Net& net, const std::vector<OwnRange>& own) const {
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    const OwnRange* const needed = overlapping(cidr, own);
    if (needed == nullptr) return {};
    return fail_hint(Kind::kPrecondition, std::format("network '{}' ({}) holds addresses that the host of site '{}' needs itself: {}", net.name, net.cidr, options_.site, needed->what),
                     "run its VMs at another site (blanket site list), or in a network with other addresses, as by: blanket net create NAME --cidr 10.42.0.0/24");
}

// Whoever restarts nftables.service flushes our rules too, and leaves no trace that costs less than a question. Expects apply_mutex_.
void OvsOverlay::look_at_firewall() {
    if (firewall_text_.empty() || Clock::now() < firewall_asked_ + options_.firewall_look) return;
    firewall_asked_ = Clock::now();
    const auto now = runner_->run(commands::firewall_read());
    if (now && *now == firewall_seen_) return;
    log::warning(kLog, "somebody has changed the firewall's table blanket_net, or flushed it: it is loaded anew");
    firewall_text_.clear();
}

// The host forwards only while the rules that bound it are loaded. Expects apply_mutex_.
Result<void> OvsOverlay::apply_firewall(std::vector<AnchorPoint> anchors, const std::vector<Endpoint>& cards, const std::vector<RelayedPair>& relays,
                                        const std::vector<RelayedWay>& ways, std::vector<std::string>& warnings) {
    if (any_public(anchors)) {
        BLANKET_TRY(const auto own, listeners(options_.listeners_folder));
        keep_own_ports(anchors, own, warnings);
    }
    const bool forward = any_public(anchors) || !relays.empty();
    if (!forward) BLANKET_CHECK(set_forwarding(false, options_.forward_control, options_.forward_mark));
    look_at_firewall();
    if (const std::string rules = firewall_rules(anchors, cards, relays, ways); rules != firewall_text_) {
        auto loaded = runner_->run(commands::firewall_load(rules));
        if (!loaded) {
            if (firewall_text_.empty()) BLANKET_CHECK(set_forwarding(false, options_.forward_control, options_.forward_mark));  // what stood before may be gone
            return std::unexpected(std::move(loaded).error().context("loading the firewall"));
        }
        firewall_text_ = rules;
        firewall_seen_ = runner_->run(commands::firewall_read()).value_or(std::string());
        firewall_asked_ = Clock::now();
    }
    if (forward) return set_forwarding(true, options_.forward_control, options_.forward_mark);
    return {};
}

// Links and WireGuard. Expects apply_mutex_.
Result<void> OvsOverlay::apply_host(const std::map<std::string, Link>& links, const std::vector<GatewayPort>& gateways, const Underlay& underlay) {
    const std::string tunnel = plan_wireguard_link(links, underlay), routes = plan_wireguard_routes(underlay);
    std::string lines = plan_gateway_links(links, gateways) + tunnel;
    if (!tunnel.empty()) routes_text_.clear();  // an interface that was away or down has none
    if (routes != routes_text_) lines += routes;
    if (!lines.empty()) BLANKET_CHECK(ok(runner_->run(commands::addresses_change(lines))));
    routes_text_ = routes;
    if (!links.contains(kWireGuardInterface)) wireguard_text_.clear();
    return sync_wireguard(underlay);
}

void OvsOverlay::keep_endpoints(std::set<std::string> sites) {
    const std::lock_guard lock(kept_mutex_);
    kept_sites_ = std::move(sites);
}

// Keys. A restart of blanketd takes no peer off the way that an earlier life, or the peer itself, has found. Expects apply_mutex_.
Result<std::set<std::string>> OvsOverlay::kept_peers(const Underlay& underlay) {
    std::optional<std::set<std::string>> sites;
    {
        const std::lock_guard lock(kept_mutex_);
        sites = kept_sites_;
    }
    std::set<std::string> keys;
    if (!sites) {
        if (wireguard_text_.empty()) {
            BLANKET_TRY(const std::string text, runner_->run(commands::wireguard_endpoints()));
            found_peers_ = parse_wireguard_endpoints(text);
        }
        return found_peers_;
    }
    for (const auto& peer : underlay.peers)
        if (sites->contains(peer.site)) keys.insert(peer.key);
    return keys;
}

// Expects apply_mutex_, and the interface.
Result<void> OvsOverlay::sync_wireguard(const Underlay& underlay) {
    if (underlay.address == 0) return {};
    BLANKET_TRY(const WireGuardKey key, identity(options_.key_path));
    BLANKET_TRY(const auto kept, kept_peers(underlay));
    const std::string config = wireguard_config(key, underlay, kept);
    if (config == wireguard_text_) return {};
    wireguard_text_.clear();
    auto synced = runner_->run(commands::wireguard_sync(config));
    if (!synced) return std::unexpected(std::move(synced).error().context("WireGuard"));
    wireguard_text_ = config;
    peer_keys_.clear();
    for (const auto& peer : underlay.peers) peer_keys_.insert(peer.key);
    return {};
}

// A guest between two sites has its own flows from redirect() and activate(); our commands would only take its processor time.
void OvsOverlay::let_handovers_pass(const std::vector<VmRecord>& vms) {
    const auto patience = Clock::now() + 2 * options_.calm;
    const auto arriving = [&](const VmRecord& vm) {  // its activate() is on the way
        const VmRecord* known = plan_.find(vm.uuid);
        return vm.owner == options_.site && known != nullptr && known->owner != options_.site;
    };
    while (Clock::now() < patience) {
        {
            const std::lock_guard hold(state_mutex_);
            if (Clock::now() >= busy_until_ && std::ranges::none_of(vms, arriving)) return;
        }
        std::this_thread::sleep_for(kCalmPoll);
    }
}

Result<void> OvsOverlay::apply(const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) {
    const std::lock_guard one(apply_mutex_);
    std::vector<std::string> warnings;
    const Underlay underlay = plan_underlay(options_.site, sites, options_.uplink_mtu, warnings);
    // A site that is cut off loses its tunnel before anything else, and no guest between two sites is a reason to wait.
    const auto stays = [&](const std::string& key) { return std::ranges::contains(underlay.peers, key, &Peer::key); };
    if (!wireguard_text_.empty() && !std::ranges::all_of(peer_keys_, stays))
        if (auto synced = sync_wireguard(underlay); !synced) log::error("network", "{}", synced.error().what);
    follow(vms);
    let_handovers_pass(vms);
    const auto offered = with_offered_mtu(nets, vms, sites);
    auto gateways = plan_gateways(offered, warnings);
    for (const auto& net : offered)
        if (net.mtu + kVxlanOverhead > underlay.mtu)
            warnings.push_back(std::format("net '{}' gives its guests MTU {}, but {} is the most that the uplink's {} carries", net.name, net.mtu,
                                           underlay.mtu - kVxlanOverhead, options_.uplink_mtu));

    BLANKET_TRY(SwitchState state, read_switch());
    std::set<std::string> holds;
    World records{.site = options_.site, .nets = nets, .vms = {}, .sites = sites, .ports = {}, .handovers = {}, .armed = {}, .released = {}};
    {
        const std::lock_guard hold(state_mutex_);
        records.vms = newest(plan_.world().vms, vms);
        for (const auto& item : handovers_) records.handovers.push_back(item.handover);
        holds = hold_names();  // after the reading: a hold is known before its port is made
    }
    std::vector<std::string> quiet;  // compare()'s plan tells the same
    auto endpoints = resolve(records, quiet);
    auto anchors = plan_anchors(records, endpoints, quiet);
    std::erase_if(gateways, [here = networks_here(endpoints, anchors)](const GatewayPort& gateway) { return !here.contains(gateway.vni); });
    BLANKET_TRY(auto links, read_links());
    std::erase_if(gateways, [&, own = read_own_ranges(links, sites)](const GatewayPort& gateway) {
        const OwnRange* const needed = overlapping({gateway.ip & ~(0xffff'ffffu >> gateway.prefix), gateway.prefix}, own);
        if (needed == nullptr) return false;
        const auto net = std::ranges::find(offered, gateway.vni, &Net::vni);
        warnings.push_back(std::format("network '{}' ({}) has no gateway, DHCP server and public ports here: this host itself needs {}", net->name, net->cidr, needed->what));
        return true;
    });
    std::erase_if(endpoints, [&](const Endpoint& card) { return !std::ranges::contains(gateways, card.vni, &GatewayPort::vni); });
    std::erase_if(anchors, [&](const AnchorPoint& anchor) { return !anchor.local || !std::ranges::contains(gateways, anchor.vni, &GatewayPort::vni); });
    if (const auto steps = plan_switch(state, gateways, underlay.address, options_.datapath, holds); !steps.empty()) {
        BLANKET_CHECK(ok(runner_->run(commands::switch_change(steps))));
        BLANKET_TRY(state, read_switch());
        BLANKET_TRY(links, read_links());
    }
    BLANKET_CHECK(check_switch(state));
    BLANKET_CHECK(apply_firewall(std::move(anchors), endpoints, relayed_by(options_.site, nets, vms, sites), relayed_to(options_.site, nets, vms, sites), warnings));
    BLANKET_CHECK(apply_host(links, gateways, underlay));

    World plan;
    {
        const std::lock_guard hold(state_mutex_);
        plan_.records(nets, sites);
        learn(vms, true);
        // Read again: a vif may have come, or a redirect gone in, while links and WireGuard were at work.
        BLANKET_TRY(state, read_switch());
        plan_.ports(local_ports(state));
        BLANKET_CHECK(compare());
        plan = plan_.world();
        ready_ = true;
    }
    const auto now = resolve(plan, warnings);
    (void)plan_anchors(plan, now, warnings);
    BLANKET_CHECK(apply_dhcp(plan_dhcp(gateways, now, options_.dhcp_folder), options_.dhcp_folder, *runner_, dhcp_started_));
    std::ranges::sort(warnings);
    warnings.erase(std::ranges::unique(warnings).begin(), warnings.end());
    for (const auto& warning : warnings)
        if (std::ranges::find(told_, warning) == told_.end()) log::warning(kLog, "{}", warning);
    told_ = std::move(warnings);
    return {};
}

// The flows of VMs whose records have changed, before all that takes time: at a site that has no part in a move this is when its frames find the VM's new place.
// Networks, sites and ports are as the last apply() found them; what is wrong after this, the comparison with the switch mends.
void OvsOverlay::follow(const std::vector<VmRecord>& vms) {
    const std::lock_guard hold(state_mutex_);
    if (!ready_ || doubtful_) return;  // the comparison comes in any case
    learn(vms, false);
    if (const auto pushed = push(); !pushed) log::warning(kLog, "what has changed is not in the switch yet: {}", pushed.error().what);
}

// The newest of each record. `arriving`: also of a VM that has just come here, whose activate() needs to know that it is new.
void OvsOverlay::learn(const std::vector<VmRecord>& vms, bool arriving) {
    std::unordered_set<std::string_view> seen;
    for (const auto& vm : vms) {
        seen.insert(vm.uuid);
        const VmRecord* const known = plan_.find(vm.uuid);
        if (known != nullptr && (known->epoch > vm.epoch || (!arriving && vm.owner == options_.site && known->owner != options_.site))) continue;
        plan_.put(vm);
    }
    std::vector<std::string> gone;
    for (const auto& vm : plan_.world().vms)
        if (!seen.contains(vm.uuid)) gone.push_back(vm.uuid);
    for (const auto& uuid : gone) {
        for (const auto& card : plan_.endpoints_of_vm(uuid)) installed_.disown(*disowned_.insert(card_name(card.vni, card.mac)).first);
        plan_.forget(uuid);
    }
}

void OvsOverlay::settle() {
    std::erase_if(handovers_, [now = Clock::now()](const TimedHandover& item) { return item.until <= now; });
    // A VM that is coming back is not sent away any more.
    std::erase_if(handovers_, [this](const TimedHandover& item) {
        const VmRecord* vm = plan_.find(item.handover.uuid);
        return item.handover.away() &&
               (vm == nullptr || (vm->owner != options_.site && vm->migration && vm->migration->target == options_.site));
    });
    std::vector<Handover> handovers;
    for (const auto& item : handovers_) handovers.push_back(item.handover);
    plan_.handovers(std::move(handovers));
    plan_.settle();
}

void OvsOverlay::set_handover(const std::string& uuid, std::optional<Handover> handover, std::chrono::seconds life) {
    std::erase_if(handovers_, [&](const TimedHandover& item) { return item.handover.uuid == uuid; });
    if (handover) handovers_.push_back({std::move(*handover), Clock::now() + life});
}

// Brings into the switch what has changed of the plan, with `extra` lines at the end.
Result<void> OvsOverlay::push(std::string extra) {
    if (doubtful_) return compare(std::move(extra));
    settle();
    auto touched = plan_.take_touched();
    return send(touched.everything ? plan_changes(plan_.table(), installed_) : plan_changes(plan_.table(), installed_, std::move(touched.keys)), std::move(extra));
}

// The same from what the switch really holds and a plan of the whole site from scratch.
Result<void> OvsOverlay::compare(std::string extra) {
    doubtful_ = true;
    BLANKET_TRY(const std::string dump, runner_->run(commands::flows_read()));
    BLANKET_TRY(const auto observed, parse_flow_dump(dump));
    installed_ = InstalledTable(observed);
    for (const auto& card : disowned_) installed_.disown(card);
    settle();
    std::vector<std::string> quiet;  // apply() tells the warnings
    if (!plan_.is(plan_flows(plan_.world(), quiet))) {
        log::error(kLog, "the plan that was kept up to date record by record is not what the records say; it is made anew. This is a defect of blanketd: please report it");
        plan_.plan_everything();
        plan_.settle();
    }
    (void)plan_.take_touched();
    doubtful_ = false;
    return send(plan_changes(plan_.table(), installed_), std::move(extra));
}

// One bundle (several, what is new first, where it is more than one takes).
Result<void> OvsOverlay::send(const std::vector<FlowChange>& changes, std::string extra) {
    for (std::size_t at = 0; at < changes.size() || !extra.empty();) {
        std::string text;
        const std::size_t begin = at;
        for (const std::size_t end = std::min(changes.size(), at + options_.bundle_lines); at < end; ++at) text += changes[at].line() + '\n';
        if (at == changes.size()) text += std::exchange(extra, {});
        if (auto done = runner_->run(commands::flows_change(text)); !done) {
            doubtful_ = true;  // its answer may be all that was lost
            return std::unexpected(std::move(done).error().context("OpenFlow bundle"));
        }
        for (std::size_t i = begin; i < at; ++i) take(installed_, changes[i]);
    }
    disowned_.clear();
    return {};
}

Result<void> OvsOverlay::divert(const VmRecord& vm, const Site& site) {
    BLANKET_CHECK(send_away(vm, site, Handover::Way::kLeaving));
    await_last_words(vm.uuid);
    return {};
}

// Nothing more is asked of the guest. What it still answers must leave before it stops: said when it wakes up, it would be lost with its old card.
void OvsOverlay::await_last_words(const std::string& uuid) {
    std::vector<std::string> vifs;
    {
        const std::lock_guard hold(state_mutex_);
        for (const auto& port : plan_.world().ports.vms)
            if (port.uuid == uuid) vifs.push_back(port.name);
    }
    const auto count = [&] {
        std::uint64_t frames = 0;
        for (const auto& vif : vifs) frames += hold_host_->sent(vif);
        return frames;
    };
    if (options_.last_words <= std::chrono::milliseconds(0)) return;
    // Silence is what two looks saw: a thread that did not get to look for as long has seen none.
    const auto deadline = Clock::now() + options_.last_words_deadline;
    auto silent_since = Clock::now();
    for (auto frames = count(); Clock::now() < deadline;) {
        std::this_thread::sleep_for(kLastWordsPoll);
        const auto look = Clock::now();
        if (const auto now = count(); now != frames) {
            frames = now;
            silent_since = Clock::now();
        } else if (look >= silent_since + options_.last_words) {
            return;
        }
    }
}

Result<void> OvsOverlay::redirect(const VmRecord& vm, const Site& site) { return send_away(vm, site, Handover::Way::kOut); }

Result<void> OvsOverlay::send_away(const VmRecord& vm, const Site& site, Handover::Way way) {
    const std::lock_guard hold(state_mutex_);
    if (!ready_ || plan_.world().ports.tunnel == 0)
        return fail_hint(Kind::kPrecondition, std::format("frames of VM '{}' cannot be redirected: this site has no tunnel port yet", vm.name),
                         "wait until 'blanket doctor' shows the overlay green");
    if (vm.owner != options_.site || site.name == options_.site)
        return fail(Kind::kConflict, "frames of VM '{}' cannot be redirected from '{}' to '{}': its owner is '{}'", vm.name, options_.site, site.name,
                    vm.owner);
    if (const VmRecord* known = plan_.find(vm.uuid); known != nullptr && known->epoch > vm.epoch)
        return fail(Kind::kConflict, "the record of VM '{}' is stale: epoch {} where {} is known, owner '{}'", vm.name, vm.epoch, known->epoch,
                    known->owner);
    if (auto sites = plan_.world().sites; !std::ranges::contains(sites, site.name, &Site::name)) {
        sites.push_back(site);
        plan_.records(std::vector(plan_.world().nets), sites);
    }
    plan_.put(vm);
    busy_until_ = Clock::now() + options_.calm;
    set_handover(vm.uuid, Handover{vm.uuid, site.name, way}, std::chrono::seconds(kRedirectSeconds));
    return push();
}

Result<void> OvsOverlay::undo_redirect(const VmRecord& vm) {
    const std::lock_guard hold(state_mutex_);
    set_handover(vm.uuid, std::nullopt, {});
    busy_until_ = {};  // the guest runs on here: nothing to keep off from
    if (!ready_) return {};
    return push();
}

Result<Trace> OvsOverlay::trace(const TraceQuery& query) {
    World now;
    {
        const std::lock_guard hold(state_mutex_);
        if (!ready_) return fail_hint(Kind::kPrecondition, "the network of this site has not been set up yet", "wait until 'blanket doctor' shows it green");
        settle();
        now = plan_.world();
    }
    BLANKET_TRY(const std::string dump, runner_->run(commands::flows_read_all()));  // without the lock: a move may want it
    BLANKET_TRY(const auto installed, parse_flow_dump(dump));
    return net::trace(now, &installed, query);
}

bool OvsOverlay::plugged(const VmRecord& vm, const LocalPorts& ports) {
    return std::ranges::all_of(vm.nics, [&](const Nic& nic) {
        const auto mac = parse_mac(nic.mac);
        return mac && std::ranges::any_of(ports.vms, [&](const VmPort& port) { return port.uuid == vm.uuid && port.mac == *mac; });
    });
}

Result<void> OvsOverlay::activate(const VmRecord& vm) {
    end_arming(vm.uuid, false);
    if (vm.owner != options_.site)
        return fail(Kind::kConflict, "VM '{}' cannot be activated at '{}': its owner is '{}'", vm.name, options_.site, vm.owner);
    const auto deadline = Clock::now() + options_.port_deadline;
    for (;;) {
        {
            const std::lock_guard hold(state_mutex_);
            if (!ready_) return fail(Kind::kPrecondition, "VM '{}' cannot be activated: the overlay has not been applied yet", vm.name);
            const VmRecord* known = plan_.find(vm.uuid);
            if (known != nullptr && known->epoch > vm.epoch)
                return fail(Kind::kConflict, "the record of VM '{}' is stale: epoch {} where {} is known, owner '{}'", vm.name, vm.epoch,
                            known->epoch, known->owner);
            BLANKET_TRY(const SwitchState state, read_switch());
            const LocalPorts ports = local_ports(state);
            if (plugged(vm, ports)) {
                if (known != nullptr && known->owner != options_.site)
                    set_handover(vm.uuid, Handover{vm.uuid, known->owner, Handover::Way::kIn}, std::chrono::seconds(kRelaySeconds));
                else  // a second call, or a start: what was sent away before is here now
                    std::erase_if(handovers_, [&](const TimedHandover& item) { return item.handover.uuid == vm.uuid && item.handover.away(); });
                plan_.ports(ports);
                plan_.arm(vm.uuid, false);
                plan_.put(vm);
                busy_until_ = Clock::now() + options_.calm;
                settle();
                std::string announce;
                for (const auto& endpoint : plan_.endpoints_of_vm(vm.uuid))
                    if (endpoint.port)
                        if (const auto line = announce_line(plan_.world(), endpoint, plan_.connected(endpoint.vni)); !line.empty()) announce += line + '\n';
                return push(std::move(announce));
            }
        }
        if (Clock::now() >= deadline)
            return fail_hint(Kind::kTimeout,
                             std::format("a port of VM '{}' did not appear on {} within {} ms", vm.name, kBridge, options_.port_deadline.count()),
                             "look at 'ovs-vsctl show' and at the log of blanket-hotplug");
        std::this_thread::sleep_for(kPortPoll);  // OVSDB has no cheaper signal for a command line client
    }
}

}  // namespace blanket::net
