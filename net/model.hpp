// SPDX-License-Identifier: GPL-2.0-or-later
// The overlay as a pure function: (nets, VM records, sites, this site, local ports, hand-overs) -> flows, gateway ports, WireGuard peers.
// overlay_ovs.cpp feeds it; the tests walk packets through its flows. No I/O, no clock. Thread safe: no state.
#pragma once

#include <map>
#include <set>

#include "net/flow.hpp"
#include "toolstack/core/records.hpp"

namespace blanket::net {

// Encapsulation of one guest frame on an uplink of 1500 bytes (RFC 7348; wireguard.com/protocol).
inline constexpr std::uint32_t kUplinkMtu = 1500;
inline constexpr std::uint32_t kWireGuardOverhead = 60;  // IPv4 20 + UDP 8 + header 16 + tag 16
inline constexpr std::uint32_t kVxlanOverhead = 50;      // IPv4 20 + UDP 8 + VXLAN 8 + inner Ethernet 14
inline constexpr std::uint32_t kGuestMtu = kUplinkMtu - kWireGuardOverhead - kVxlanOverhead;
static_assert(kGuestMtu == 1390);

inline constexpr std::uint16_t kWireGuardPort = 51820;
inline constexpr std::uint16_t kRedirectSeconds = 120;  // life of a redirect if nobody takes it away
inline constexpr std::uint16_t kRelaySeconds = 30;      // how long the target hears frames relayed by the old owner

// A libvirt vif that blanket-hotplug put on br-int.
struct VmPort {
    std::string uuid;
    Mac mac = 0;
    std::uint32_t port = 0;  // OpenFlow number
    std::string name;        // of the device
    bool operator==(const VmPort&) const = default;
};

struct LocalPorts {
    std::uint32_t tunnel = 0;                        // 0 = there is none (this site is alone)
    std::map<std::uint32_t, std::uint32_t> gateways;  // VNI -> OpenFlow number
    std::vector<VmPort> vms;
    std::vector<VmPort> holds;  // where frames for VMs in flight wait (hold.hpp)
    bool operator==(const LocalPorts&) const = default;
};

// What this site knows about a move in flight beyond the records (redirect.hpp).
struct Handover {
    enum class Way : std::uint8_t {
        kLeaving,  // about to be suspended here: frames for it go to `site` already, it still speaks
        kOut,      // suspended here: the same, but its port is closed, and `site` may speak for it
        kIn,       // taken over here: the old owner `site` may relay late frames of third sites to it
    };
    std::string uuid;
    std::string site;
    Way way = Way::kOut;
    [[nodiscard]] bool away() const { return way != Way::kIn; }
};

struct World {
    std::string site;  // this site
    std::vector<Net> nets;
    std::vector<VmRecord> vms;
    std::vector<Site> sites;
    LocalPorts ports;
    std::vector<Handover> handovers;
    std::set<std::string> armed;     // uuids of VMs that are coming and whose paused copy is here: its port is connected, nothing is delivered to it
    std::set<std::string> released;  // uuids whose held frames go to the VM now, and no new ones to the hold
};

// One NIC of a record, checked. Records with bad or doubly claimed addresses get no entry at all (fail closed) and a warning.
struct Endpoint {
    std::uint32_t vni = 0;
    Mac mac = 0;
    std::uint32_t ip = 0;
    std::string uuid, name;
    std::uint64_t epoch = 0;
    bool local = false;                 // this site owns it
    std::optional<std::uint32_t> port;  // OpenFlow number of its vif, when plugged and either local and not kOut, or armed
    std::optional<std::uint32_t> hold;  // OpenFlow number of its hold, while it is coming or has just come
    bool holding = false;               // new frames go to the hold
    std::uint32_t owner = 0;            // tunnel address of the owner, 0 = unknown site
    std::uint32_t relay = 0;            // tunnel address that may relay frames to it (kIn, or migrating to this site)
    std::uint32_t redirect = 0;         // tunnel address that its frames go to (kLeaving, kOut)
    unsigned nic = 0;                   // its index in the record
};

struct GatewayPort {
    std::string name;  // "gw101"
    std::uint32_t vni = 0;
    Mac mac = 0;           // the same at every site
    std::uint32_t ip = 0;  // the same at every site
    unsigned prefix = 0;
    std::uint32_t mtu = 0;
};

struct Peer {
    std::string site, key, endpoint, allowed;
    std::uint32_t mtu = 0;  // of packets in the tunnel to it; 0 = not measured: the interface's
    bool operator==(const Peer&) const = default;
};

struct Underlay {
    std::uint32_t address = 0;  // of this site inside WireGuard; 0 = this site has no index yet: no tunnel
    std::uint32_t mtu = 0;
    std::vector<Peer> peers;  // sorted by site
};

Mac gateway_mac(std::uint32_t vni);
std::string gateway_name(std::uint32_t vni);

// What the records of VMs are checked against: what can be used of the records of networks and sites.
struct Surroundings {
    struct NetFacts {
        std::uint32_t vni = 0, gateway = 0;
        Cidr cidr;
    };
    std::map<std::string, NetFacts> nets;          // by name
    std::map<std::string, std::uint32_t> tunnels;  // by the site's name: its address inside WireGuard
};

// `warnings` gets one line for each thing that was left out.
Surroundings surroundings(const std::vector<Net>& nets, const std::vector<Site>& sites, std::vector<std::string>& warnings);
// The cards of one VM that are good by themselves. Whether another VM has their addresses is not looked at, nor are other records. Of a VM that is being deleted: none.
std::vector<Endpoint> endpoints_of(const VmRecord& vm, const Surroundings& around, const World& world, std::vector<std::string>& warnings);
// All of them. An address that two cards claim belongs to the older VM's: the order is that of VmRecord::created, then the UUID, then the card's index.
std::vector<Endpoint> resolve(const World& world, std::vector<std::string>& warnings);
std::vector<GatewayPort> plan_gateways(const std::vector<Net>& nets, std::vector<std::string>& warnings);
Underlay plan_underlay(const std::string& site, const std::vector<Site>& sites, std::uint32_t uplink_mtu, std::vector<std::string>& warnings);
// The whole table, sorted by table, falling priority, match; no two entries with the same key.
std::vector<Flow> plan_flows(const World& world, std::vector<std::string>& warnings);

// The newest of each record: what is in `fresh`, unless `known` has the VM under a higher epoch. VMs absent from `fresh` are gone.
std::vector<VmRecord> newest(const std::vector<VmRecord>& known, std::vector<VmRecord> fresh);

}  // namespace blanket::net
