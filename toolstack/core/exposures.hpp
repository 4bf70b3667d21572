// SPDX-License-Identifier: GPL-2.0-or-later
// What the outside world reaches of a network's VMs. Part of the network's record, so that one compare-and-swap changes it. Pure.
//
// An anchor is a site whose machine takes connections for VMs of the network: some of its ports stand for ports of VMs, wherever these run. The VMs see such
// connections come from the anchor's own address inside the network, so that their answers go back to that site; the address outside stays the same when the
// VM moves. Ports that the host needs itself can never be given away.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/core/security_groups.hpp"

namespace blanket {

struct Net;
struct VmRecord;

inline constexpr std::size_t kMaxAnchors = 16;        // of a network
inline constexpr std::size_t kMaxPublicPorts = 256;   // of an anchor
inline constexpr std::uint16_t kLastPublicPort = 32767;  // above begin the ports that the host's own connections come from (ip_local_port_range)

struct PublicPort {
    std::string vm;                      // UUID
    RuleProto proto = RuleProto::kTcp;   // or kUdp
    std::uint16_t port = 0;              // of the anchor's machine
    std::uint16_t to = 0;                // of the VM
    bool operator==(const PublicPort&) const = default;
};

struct Anchor {
    std::string site;  // Site.name
    std::string ip;    // of the network: the VMs see the outside world's connections come from it
    std::vector<PublicPort> ports;
    bool operator==(const Anchor&) const = default;
};

// "tcp:80", "udp:5353:53" (public port 5353 to the VM's 53); kInvalid with the way to write it. The result names no VM yet.
Result<PublicPort> parse_public_port(std::string_view text);
std::string to_text(const PublicPort& port);  // as above
// A port that the host itself uses, or may come to use, is no public one.
Result<void> check_public_port(const PublicPort& port);

Json to_json(const Anchor& anchor);
// Bounds, addresses of the network that are not its gateway's, nothing twice.
Result<std::vector<Anchor>> parse_anchors(const Json& list, const Net& net);

// The highest free address of the net; kConflict when it is full. VMs get the lowest.
Result<std::string> allocate_anchor_ip(const Net& net, const std::vector<VmRecord>& vms);
// kConflict when a port is taken at `site`, in whatever network.
Result<void> check_free(const std::vector<PublicPort>& ports, const std::string& site, const std::vector<Net>& nets, const std::vector<VmRecord>& vms);
// Adds the ports; the anchor too, with `ip`, if the site is none yet. kConflict, or kInvalid beyond the bounds.
Result<void> add_public(Net& net, const std::string& site, const std::string& ip, const std::vector<PublicPort>& ports);
// Takes away those of `vm`, at `site` (empty: everywhere), that are among `ports` (empty: all), and anchors that have none left, whose addresses it returns.
// kNotFound when nothing is taken away.
Result<std::vector<std::string>> remove_public(Net& net, const std::string& vm, const std::string& site, const std::vector<PublicPort>& ports);

}  // namespace blanket
