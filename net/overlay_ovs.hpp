// SPDX-License-Identifier: GPL-2.0-or-later
// OvsOverlay: the Overlay port over Open vSwitch, WireGuard and dnsmasq. The daemon makes one and calls apply() at every change of a record and
// every half minute (a restarted Open vSwitch has forgotten its flows); the migration calls divert, redirect, undo_redirect and activate.
// Thread safe. The hot calls wait at most for the flow part of an apply(), never for its WireGuard, address or DHCP part.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "net/commands.hpp"
#include "net/anchors.hpp"
#include "net/hold.hpp"
#include "net/host.hpp"
#include "net/ovs.hpp"
#include "net/site_plan.hpp"
#include "net/trace.hpp"
#include "toolstack/core/ports.hpp"

namespace blanket::net {

struct OverlayOptions {
    std::string site;  // this site's name
    std::string key_path = "/var/lib/blanket/pki/wg.key";
    std::string dhcp_folder = "/run/blanket/dhcp";
    std::string datapath = "system";  // tests: "dummy"
    std::uint32_t uplink_mtu = kUplinkMtu;
    std::chrono::milliseconds port_deadline{10'000};  // activate(): how long to wait for the vif
    std::chrono::milliseconds carrier_deadline{10'000};  // release_frames(): how long to wait for the guest's driver
    std::chrono::milliseconds hold_quiet{0};             // release_frames(): how long frames go through the hold before the switch is changed
    std::chrono::milliseconds last_words{0};             // divert(): how long the guest must have sent nothing, so that it has answered all it was asked
    std::chrono::milliseconds last_words_deadline{400};  // ... and how long that is waited for
    std::size_t bundle_lines = 50'000;  // of one atomic change at most; a move's are some ten, a switch that has forgotten all of a large site needs several (openflow.hpp has a bound)
    std::string forward_control = "/proc/sys/net/ipv4/ip_forward";  // public_ports.hpp
    std::string forward_mark = "/run/blanket/forwarding";
    std::string listeners_folder = "/proc/net";  // listeners.hpp
    std::string route_table = {};  // /proc/net/route, for own_ranges() (host.hpp); empty: next hops are not looked at
    std::chrono::milliseconds firewall_look{25'000};  // how often apply() asks whether the firewall's rules are still there
    std::chrono::milliseconds calm{0};                // how long apply() keeps off after a divert(), redirect() or activate(): a guest stands still just then
};

class OvsOverlay final : public Overlay {
public:
    // `runner` and `holds` outlive the overlay; nullptr = the real ones. Nothing runs before the first call of a method.
    static Result<std::unique_ptr<OvsOverlay>> create(OverlayOptions options, CommandRunner* runner = nullptr, HoldHost* holds = nullptr);

    Result<void> apply(const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) override;
    Result<void> check_net(const Net& net) override;
    std::vector<Result<void>> check_nets(const std::vector<Net>& nets) override;  // one process: what `ip` says now
    // One bundle each (openflow.hpp); divert() then waits for the guest's last words. kConflict when this site does not own the VM; kPrecondition before the
    // first apply() or without a tunnel.
    Result<void> divert(const VmRecord& vm, const Site& site) override;
    Result<void> redirect(const VmRecord& vm, const Site& site) override;
    Result<void> undo_redirect(const VmRecord& vm) override;
    // One question to OVSDB (more while the vif is not there yet) and one bundle. kConflict for a stale record or another owner's,
    // kTimeout when the vif does not come.
    Result<void> activate(const VmRecord& vm) override;
    // hold: one ovs-vsctl process, a question and a bundle; arm: questions and a bundle, on a thread of its own; release: nothing before the carrier is there.
    // kPrecondition before the first apply().
    Result<void> hold_frames(const VmRecord& vm) override;
    void arm(const VmRecord& vm) override;
    Result<void> release_frames(const VmRecord& vm) override;
    Result<void> drop_frames(const std::string& uuid) override;
    // The sites whose peers stay as WireGuard has them: somebody else sees to where it sends (daemon/ways.hpp). Until the first call these are all peers that it has when this
    // object looks first. Returns at once.
    void keep_endpoints(std::set<std::string> sites);
    // What happens to a packet (trace.hpp), by what this site knows and has installed. One process of ovs-ofctl. kPrecondition before the first apply().
    Result<Trace> trace(const TraceQuery& query);
    ~OvsOverlay() override;

private:
    using Clock = std::chrono::steady_clock;
    struct TimedHandover {
        Handover handover;
        Clock::time_point until;
    };

    struct Hold {
        std::string uuid, name;
        Mac mac = 0;
        std::unique_ptr<HoldDevice> device;
    };

    OvsOverlay(OverlayOptions options, CommandRunner* runner, HoldHost* hold_host);
    void let_handovers_pass(const std::vector<VmRecord>& vms);
    Result<SwitchState> read_switch();
    Result<std::map<std::string, Link>> read_links();
    [[nodiscard]] Result<void> check_against(const Net& net, const std::vector<OwnRange>& own) const;
    [[nodiscard]] std::vector<OwnRange> read_own_ranges(const std::map<std::string, Link>& links, const std::vector<Site>& sites) const;
    Result<void> apply_host(const std::map<std::string, Link>& links, const std::vector<GatewayPort>& gateways, const Underlay& underlay);
    void look_at_firewall();
    Result<void> apply_firewall(std::vector<AnchorPoint> anchors, const std::vector<Endpoint>& cards, const std::vector<RelayedPair>& relays, const std::vector<RelayedWay>& ways,
                                std::vector<std::string>& warnings);
    Result<std::set<std::string>> kept_peers(const Underlay& underlay);
    Result<void> sync_wireguard(const Underlay& underlay);
    void follow(const std::vector<VmRecord>& vms);
    // The rest expects state_mutex_.
    void learn(const std::vector<VmRecord>& vms, bool arriving);
    void settle();
    Result<void> push(std::string extra = {});
    Result<void> compare(std::string extra = {});
    Result<void> send(const std::vector<FlowChange>& changes, std::string extra);
    [[nodiscard]] std::set<std::string> hold_names() const;
    Result<unsigned> deliver(const std::string& uuid);
    void set_handover(const std::string& uuid, std::optional<Handover> handover, std::chrono::seconds life);
    // These take it.
    [[nodiscard]] std::size_t silent_vifs(const std::string& uuid);  // held NICs without a carrier
    Result<void> connect_port(const VmRecord& vm, const std::stop_token& stop);
    void end_arming(const std::string& uuid, bool stop);
    [[nodiscard]] static bool plugged(const VmRecord& vm, const LocalPorts& ports);
    void await_last_words(const std::string& uuid);
    Result<void> send_away(const VmRecord& vm, const Site& site, Handover::Way way);

    OverlayOptions options_;
    SystemRunner system_;
    CommandRunner* runner_;
    SystemHoldHost system_holds_;
    HoldHost* hold_host_;

    std::mutex apply_mutex_;  // one apply() at a time; taken before state_mutex_
    std::string wireguard_text_;  // last configuration given to `wg`
    std::set<std::string> peer_keys_;  // in it
    std::set<std::string> found_peers_;  // those that WireGuard had an endpoint of when it was told for the first time
    std::mutex kept_mutex_;
    std::optional<std::set<std::string>> kept_sites_;  // keep_endpoints()
    std::string routes_text_;     // last routes given to `ip`
    std::string firewall_text_;   // last rules given to `nft`
    std::string firewall_seen_;   // ... and how it printed them then
    Clock::time_point firewall_asked_{};
    std::set<std::uint32_t> dhcp_started_;
    std::vector<std::string> told_;  // warnings already logged

    std::mutex state_mutex_;
    bool ready_ = false;  // an apply() has read the switch
    SitePlan plan_;
    std::vector<TimedHandover> handovers_;
    Clock::time_point busy_until_{};
    std::vector<Hold> holds_;
    std::uint64_t next_hold_ = 0;
    InstalledTable installed_;
    bool doubtful_ = true;  // the switch may hold something else than installed_
    std::set<std::string> disowned_;  // cards (card_name) of VMs that are no more, until the switch has what the plan says of them

    std::mutex arming_mutex_;
    std::map<std::string, std::jthread> arming_;  // by UUID
};

}  // namespace blanket::net
