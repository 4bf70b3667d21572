// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket net trace`: what happens to a packet of a VM, table by table and site by site, and to the answer. Pure. OvsOverlay::trace() feeds it.
// At this site the world is the true one (ports, moves under way) and each entry is compared with the switch; at the other sites it is what their
// planner makes of the same records, with every VM that is to run plugged.
#pragma once

#include "net/model.hpp"

namespace blanket::net {

struct TraceQuery {
    std::string from;  // name, UUID or address of a VM
    std::string to;    // address, or name of a VM in the same network
    IpProto proto = IpProto::kIcmp;
    std::uint16_t port = 0;  // destination; of TCP and UDP
    bool outside = false;    // the other way: a connection from the outside world to the VM's public port `port` (net/anchors.hpp), and its answer; `to` is empty
    std::string at = {};     // ... at that site; empty: at the first that has it
};

// "tcp" | "udp" | "icmp", and a port for the first two only.
// For a connection from outside instead: "tcp:8080" and a site, or none.
Result<TraceQuery> parse_public_query(const std::string& vm, const std::string& port, const std::string& site);
Result<TraceQuery> parse_trace_query(const std::string& from, const std::string& to, const std::string& proto, const std::string& port);

struct TraceHop {
    std::string way;        // arp | there | back
    std::string site;
    std::string table;
    std::string entry;      // its match, "-" when none matches
    std::string verdict;    // "goes on to remote", "to VM 'web'", "dropped"
    std::string installed;  // yes | missing | differs; empty: another site, not compared
};

struct Trace {
    std::string net, from, from_ip, to_ip;
    std::string verdict;  // delivered | dropped
    std::string answer;   // delivered | dropped; empty: nobody was reached who could answer
    std::string reason;   // of the first drop, or who got it
    std::string next;     // what to do about a drop
    std::vector<TraceHop> hops;
    std::vector<std::string> differences;  // between plan and switch at this site, at most kMaxDifferences
};
inline constexpr std::size_t kMaxDifferences = 20;

// `installed`: every entry of this site's switch, also those of others; nullptr: not known. kNotFound for a VM that is not there, kInvalid when an
// address stands for VMs of several networks or the record cannot be used.
Result<Trace> trace(const World& here, const std::vector<FlowText>* installed, const TraceQuery& query);

Json to_json(const Trace& trace);

}  // namespace blanket::net
