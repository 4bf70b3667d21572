// SPDX-License-Identifier: GPL-2.0-or-later
// See interpreter.hpp.
#include "interpreter.hpp"

namespace blanket::net::test {
namespace {

template <typename T, typename U>
bool fits(const std::optional<T>& want, U have) {
    return !want || static_cast<std::uint64_t>(*want) == static_cast<std::uint64_t>(have);
}

bool matches(const Match& m, const Frame& f, std::uint32_t in_port, std::uint64_t metadata) {
    const std::uint32_t mask = m.ip_dst_prefix == 0 ? 0 : 0xffff'ffffu << (32 - m.ip_dst_prefix);
    if (m.ip_dst && (f.ip_dst & mask) != (*m.ip_dst & mask)) return false;
    if (m.tcp_ack && !f.ack) return false;
    return fits(m.in_port, in_port) && fits(m.metadata, metadata) && fits(m.tun_src, f.tun_src) && fits(m.ether_type, f.ether_type) &&
           fits(m.ip_proto, f.ip_proto) && fits(m.eth_src, f.eth_src) && fits(m.eth_dst, f.eth_dst) && fits(m.ip_src, f.ip_src) &&
           fits(m.arp_op, f.arp_op) && fits(m.arp_spa, f.arp_spa) && fits(m.arp_tpa, f.arp_tpa) && fits(m.arp_sha, f.arp_sha) &&
           fits(m.l4_src, f.l4_src) && fits(m.l4_dst, f.l4_dst) && fits(m.icmp_type, f.icmp_type);
}

}  // namespace

std::vector<Sent> walk(const std::vector<Flow>& flows, Frame frame, std::uint32_t in_port) {
    std::vector<Sent> out;
    std::uint64_t metadata = 0, tun_id = frame.tun_id;
    std::uint32_t tun_dst = 0, from = in_port;
    int table = 0;
    while (table >= 0) {
        const Flow* best = nullptr;
        for (const auto& flow : flows)
            if (static_cast<int>(flow.table) == table && (best == nullptr || flow.priority > best->priority) &&
                matches(flow.match, frame, in_port, metadata))
                best = &flow;
        const int here = table;
        table = -1;
        if (best == nullptr) break;
        for (const auto& action : best->actions) {
            using enum Action::Op;
            switch (action.op) {
                case kSetMetadata: metadata = action.value; break;
                case kTunnelMetadata: metadata = tun_id & 0xff'ffff; break;
                case kForgetInPort: from = 0; break;
                case kSetTunnelId: tun_id = action.value; break;
                case kSetTunnelDst: tun_dst = static_cast<std::uint32_t>(action.value); break;
                case kOutput:
                    if (action.value != from) out.push_back({static_cast<std::uint32_t>(action.value), frame, tun_id, tun_dst});
                    break;
                case kArpReply: {
                    Frame reply = frame;
                    reply.eth_dst = frame.eth_src;
                    reply.eth_src = reply.arp_sha = action.value;
                    reply.arp_op = 2;
                    reply.arp_tpa = frame.arp_spa;
                    reply.arp_spa = action.address;
                    out.push_back({in_port, reply, tun_id, tun_dst});
                    break;
                }
                case kGoto:
                    if (static_cast<int>(action.value) <= here) return {};  // Open vSwitch refuses such an entry
                    table = static_cast<int>(action.value);
                    break;
            }
        }
    }
    return out;
}

}  // namespace blanket::net::test
