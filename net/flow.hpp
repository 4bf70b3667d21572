// SPDX-License-Identifier: GPL-2.0-or-later
// One OpenFlow entry as a value: what model.cpp plans, ovs.cpp installs, and the tests interpret. Pure.
// The printed form is the one that `ovs-ofctl -O OpenFlow14 --no-names dump-flows` prints back (ovs-fields(7), ovs-actions(7)), so that the
// observed and the desired table compare as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::net {

// Ethernet address in the low 48 bits.
using Mac = std::uint64_t;
Result<Mac> parse_mac(std::string_view text);
std::string format_mac(Mac mac);
inline constexpr Mac kBroadcastMac = 0xffff'ffff'ffff;

// The pipeline; README.md has the drawing. A goto goes only to a higher number.
enum class Table : std::uint8_t {
    kClassify = 0,       // in_port -> metadata = VNI
    kPortSecurity = 1,   // from a VM port: its own MAC and IPv4 address only
    kTunnelIngress = 2,  // from the tunnel: the source address must be the record owner's
    kArp = 3,            // answered here, never forwarded
    kPolicy = 4,         // gateway services, providers' metadata, broadcast
    kSourceGroup = 5,    // security groups of the sender
    kTargetGroup = 6,    // security groups of the receiver
    kEgress = 7,         // what the sender's groups let out
    kIngress = 8,        // what the receiver's groups let in
    kRemote = 9,         // exact destination at another site; frames of the tunnel pass by
    kLocal = 10,         // exact destination at a local port; redirects of a moving VM
    kGateway = 11,       // from the gateway port to local VMs
};
inline constexpr std::uint8_t kTables = 12;
std::string_view table_name(Table table);  // "port-security"

enum class EtherType : std::uint16_t { kIpv4 = 0x0800, kArp = 0x0806 };
enum class IpProto : std::uint8_t { kIcmp = 1, kTcp = 6, kUdp = 17 };

// Absent = any. Prerequisites (an IPv4 field needs ether_type, a port needs ip_proto) are the writer's job.
struct Match {
    std::optional<std::uint32_t> in_port;
    std::optional<std::uint64_t> metadata;
    std::optional<std::uint32_t> tun_src;
    std::optional<EtherType> ether_type;
    std::optional<IpProto> ip_proto;
    std::optional<Mac> eth_src, eth_dst;
    std::optional<std::uint32_t> ip_src, ip_dst;  // host byte order
    unsigned ip_src_prefix = 32, ip_dst_prefix = 32;
    std::optional<std::uint16_t> arp_op;
    std::optional<std::uint32_t> arp_spa, arp_tpa;
    std::optional<Mac> arp_sha;
    std::optional<std::uint16_t> l4_src, l4_dst;
    std::uint16_t l4_dst_mask = 0xffff;
    std::uint32_t source_groups = 0, target_groups = 0;  // bits that must be set
    std::optional<std::uint8_t> icmp_type;
    bool tcp_ack = false;  // the ACK flag is set
    bool operator==(const Match&) const = default;
};

struct Action {
    enum class Op : std::uint8_t {
        kSetMetadata,     // value = VNI
        kTunnelMetadata,  // metadata = the tunnel id of the frame
        kGoto,            // value = table
        kOutput,          // value = port; never back to the port that it came from (OpenFlow's rule)
        kForgetInPort,    // so that a following output may go back to the port that it came from
        kSetTunnelId,     // value = VNI
        kSetTunnelDst,    // value = IPv4 address
        kSourceGroups,    // value = bits
        kTargetGroups,    // value = bits
        kSetEthSrc,       // value = MAC
        kSetEthDst,       // value = MAC
        kArpReply,        // value = MAC, address = IPv4: turns the request into its answer and sends it back
    };
    Op op = Op::kGoto;
    std::uint64_t value = 0;
    std::uint32_t address = 0;
    bool operator==(const Action&) const = default;
};

// Cookie: 16 bits of ours | 48 bits epoch of the record that the entry speaks for (0 = of no record).
inline constexpr std::uint64_t kCookieMark = 0xb1a7'0000'0000'0000;
inline constexpr std::uint64_t kCookieMask = 0xffff'0000'0000'0000;

struct Flow {
    Table table = Table::kClassify;
    std::uint16_t priority = 0;
    std::uint64_t epoch = 0;
    std::uint16_t hard_timeout = 0;  // seconds, 0 = none
    Match match;
    std::vector<Action> actions;  // empty = drop
    bool operator==(const Flow&) const = default;
};

std::string match_text(const Match& match);                  // "ip,metadata=0x65,dl_dst=..."
std::string actions_text(const std::vector<Action>& actions);  // "drop" when empty
std::string flow_text(const Flow& flow);                     // what `ovs-ofctl add-flow` takes
std::string strict_text(const Flow& flow);                   // what `ovs-ofctl --strict del-flows` takes

// An entry as read back from the switch, or one of ours in the same form. `key` names it within the switch: table, priority and sorted match.
struct FlowText {
    std::uint8_t table = 0;
    std::uint16_t priority = 0;
    std::uint64_t cookie = 0;
    std::vector<std::string> match;  // sorted fields
    std::string actions;
    [[nodiscard]] std::string key() const;
    [[nodiscard]] std::uint64_t epoch() const { return cookie & ~kCookieMask; }
};
FlowText to_flow_text(const Flow& flow);
// One line of dump-flows. kInvalid for a line of another form.
Result<FlowText> parse_flow_line(std::string_view line);
// The whole answer; replies' head lines are skipped. At most 1,000,000 entries.
Result<std::vector<FlowText>> parse_flow_dump(std::string_view text);

}  // namespace blanket::net
