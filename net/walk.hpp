// SPDX-License-Identifier: GPL-2.0-or-later
// A small OpenFlow switch: walks one frame through planned flows. Pure. `blanket net trace` explains with it (trace.cpp), the tests check the plans with it.
// It reads the structured values, not their text, so that it shares no code with the printer; ovs_real_test.cpp checks it against Open vSwitch's own ofproto/trace.
#pragma once

#include "net/flow.hpp"

namespace blanket::net {

struct Frame {
    Mac eth_src = 0, eth_dst = 0;
    std::uint16_t ether_type = 0x0800;  // any value, 0x86dd for IPv6
    std::uint32_t ip_src = 0, ip_dst = 0;
    std::uint8_t ip_proto = 17;
    std::uint16_t l4_src = 1000, l4_dst = 2000;
    std::uint8_t icmp_type = 0;
    bool syn = false, ack = false;
    std::uint16_t arp_op = 1;
    std::uint32_t arp_spa = 0, arp_tpa = 0;
    Mac arp_sha = 0;
    std::uint64_t tun_id = 0;  // as received
    std::uint32_t tun_src = 0;
};

struct Sent {
    std::uint32_t port = 0;
    Frame frame;
    std::uint64_t tun_id = 0;
    std::uint32_t tun_dst = 0;
};

// One table on the way; nullptr: no entry matched, which drops.
struct WalkStep {
    Table table = Table::kClassify;
    const Flow* flow = nullptr;  // one of the walked flows
};

// `steps` gets the tables passed, in order.
std::vector<Sent> walk(const std::vector<Flow>& flows, Frame frame, std::uint32_t in_port, std::vector<WalkStep>* steps = nullptr);

}  // namespace blanket::net
