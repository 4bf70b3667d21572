// SPDX-License-Identifier: GPL-2.0-or-later
// Security groups (core/security_groups.hpp) as flows. Each group of a network has a bit; two tables write the sender's and the receiver's bits into
// registers, two more let through what a rule of one of these groups allows. So the entries count members plus rules, never their product. Pure.
//
//   kPolicy, kTunnelIngress --> kSourceGroup (nw_src -> reg0) --> kTargetGroup (dl_dst, nw_dst -> reg1) --> kEgress --> kIngress --> kRemote
//
// Both ends are looked at wherever the frame passes: at the sender's site, and again at the receiver's, which trusts nobody with its VMs' rules.
// The entries speak for the network's record and carry epoch 0: a move changes none of them.
#pragma once

#include <unordered_map>

#include "net/model.hpp"

namespace blanket::net {

inline constexpr std::uint32_t kInSomeGroup = 1u << 31;  // beside the bits of the groups, 0 to kMaxGroups - 1

// Who is in which group of one network, as bits.
struct Membership {
    bool groups = false;  // the network has some
    std::uint32_t of_everybody = 0;
    std::unordered_map<std::string, std::uint32_t> of_vm;  // by UUID, beyond those
};
Membership membership(const Net& net);

// All of the network's, and its two parts: what its record alone says, and what one endpoint adds. Empty for a network without groups.
std::vector<Flow> group_flows(const Net& net, const std::vector<Endpoint>& endpoints);
std::vector<Flow> rule_flows(const Net& net);
std::vector<Flow> member_flows(const Endpoint& endpoint, const Membership& groups);

// Value and mask pairs that together match exactly the ports from `first` to `last`; at most 30.
std::vector<std::pair<std::uint16_t, std::uint16_t>> port_masks(std::uint16_t first, std::uint16_t last);

}  // namespace blanket::net
