// SPDX-License-Identifier: GPL-2.0-or-later
// Security groups of a network: which packets its VMs may send and get. Part of the network's record, so that one compare-and-swap changes them. Pure.
//
// A VM in no group sends and gets everything inside its network. A VM in groups sends what an egress rule of one of them allows, and gets what an ingress
// rule of one of them allows; a packet passes when both its ends allow it. Rules have no memory of connections: answers need a rule of their own, for TCP
// one that is `established`. DHCP, echo and answers between a VM and the gateway of its host are not subject to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/core/addresses.hpp"

namespace blanket {

inline constexpr std::size_t kMaxGroups = 16;  // of a network
inline constexpr std::size_t kMaxGroupRules = 64;
inline constexpr std::size_t kMaxGroupVms = 4096;

enum class RuleProto : std::uint8_t { kAny = 0, kIcmp = 1, kTcp = 6, kUdp = 17 };  // IANA's numbers

struct SecurityRule {
    bool ingress = true;  // else egress; as the VM sees it
    RuleProto proto = RuleProto::kAny;
    std::uint16_t first_port = 0, last_port = 0;  // the packet's destination; 0 and 0: every one
    bool established = false;                     // TCP with the ACK flag: never the first packet of a connection
    std::string remote;                           // the other end's address: CIDR; empty: anybody
    std::string remote_group;                     // or: it is in that group of the same network
    bool operator==(const SecurityRule&) const = default;
};

struct SecurityGroup {
    std::string name;
    bool everybody = false;  // all VMs of the network are in it, present and future
    std::vector<SecurityRule> rules;
    std::vector<std::string> vms;  // UUIDs
    bool operator==(const SecurityGroup&) const = default;
};

// Of a rule's remote end: any prefix from 0 to 32, no host bits; an address alone is a /32.
Result<Cidr> parse_remote(std::string_view text);

// What a new group has: everything out, and TCP's answers in.
std::vector<SecurityRule> default_rules();

Json to_json(const SecurityGroup& group);
Json to_json(const SecurityRule& rule);
std::string to_text(const SecurityRule& rule);  // "ingress tcp 80-443 from 10.1.0.0/24"
// {"direction","proto","ports":"80" | "80-443","established","remote","remote_group"}; kInvalid with the way to write it.
Result<SecurityRule> parse_rule(const Json& value);
// Bounds, names, doubles, and rules that name a group which is not there.
Result<std::vector<SecurityGroup>> parse_groups(const Json& list);

}  // namespace blanket
