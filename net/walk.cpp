// SPDX-License-Identifier: GPL-2.0-or-later
// See walk.hpp.
#include "net/walk.hpp"

namespace blanket::net {
namespace {

template <typename T, typename U>
bool fits(const std::optional<T>& want, U have) {
    return !want || static_cast<std::uint64_t>(*want) == static_cast<std::uint64_t>(have);
}

bool in_prefix(const std::optional<std::uint32_t>& want, unsigned prefix, std::uint32_t have) {
    const std::uint32_t mask = prefix == 0 ? 0 : 0xffff'ffffu << (32 - prefix);
    return !want || (have & mask) == (*want & mask);
}

struct Groups {
    std::uint32_t source = 0, target = 0;
};

bool matches(const Match& m, const Frame& f, std::uint32_t in_port, std::uint64_t metadata, const Groups& groups) {
    if (!in_prefix(m.ip_src, m.ip_src_prefix, f.ip_src) || !in_prefix(m.ip_dst, m.ip_dst_prefix, f.ip_dst)) return false;
    if (m.l4_dst && (f.l4_dst & m.l4_dst_mask) != (*m.l4_dst & m.l4_dst_mask)) return false;
    if ((groups.source & m.source_groups) != m.source_groups || (groups.target & m.target_groups) != m.target_groups) return false;
    if (m.tcp_ack && !f.ack) return false;
    return fits(m.in_port, in_port) && fits(m.metadata, metadata) && fits(m.tun_src, f.tun_src) && fits(m.ether_type, f.ether_type) &&
           fits(m.ip_proto, f.ip_proto) && fits(m.eth_src, f.eth_src) && fits(m.eth_dst, f.eth_dst) &&
           fits(m.arp_op, f.arp_op) && fits(m.arp_spa, f.arp_spa) && fits(m.arp_tpa, f.arp_tpa) && fits(m.arp_sha, f.arp_sha) &&
           fits(m.l4_src, f.l4_src) && fits(m.icmp_type, f.icmp_type);
}

}  // namespace

std::vector<Sent> walk(const std::vector<Flow>& flows, Frame frame, std::uint32_t in_port, std::vector<WalkStep>* steps) {
    std::vector<Sent> out;
    std::uint64_t metadata = 0, tun_id = frame.tun_id;
    std::uint32_t tun_dst = 0, from = in_port;
    Groups groups;
    int table = 0;
    while (table >= 0) {
        const Flow* best = nullptr;
        for (const auto& flow : flows)
            if (static_cast<int>(flow.table) == table && (best == nullptr || flow.priority > best->priority) &&
                matches(flow.match, frame, in_port, metadata, groups))
                best = &flow;
        if (steps != nullptr) steps->push_back({static_cast<Table>(table), best});
        const int here = table;
        table = -1;
        if (best == nullptr) break;
        for (const auto& action : best->actions) {
            using enum Action::Op;
            switch (action.op) {
                case kSetMetadata: metadata = action.value; break;
                case kTunnelMetadata: metadata = tun_id & 0xff'ffff; break;
                case kForgetInPort: from = 0; break;
                case kSourceGroups: groups.source = static_cast<std::uint32_t>(action.value); break;
                case kSetEthSrc: frame.eth_src = action.value; break;
                case kSetEthDst: frame.eth_dst = action.value; break;
                case kTargetGroups: groups.target = static_cast<std::uint32_t>(action.value); break;
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

}  // namespace blanket::net
