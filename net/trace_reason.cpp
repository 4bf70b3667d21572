// SPDX-License-Identifier: GPL-2.0-or-later
// See trace_reason.hpp.
#include "net/trace_reason.hpp"

#include <algorithm>

namespace blanket::net {
namespace {

const VmRecord* record_of(const World& world, const std::string& uuid) {
    const auto at = std::ranges::find(world.vms, uuid, &VmRecord::uuid);
    return at == world.vms.end() ? nullptr : &*at;
}

DropReason policy_reason(const WalkStep& step, const std::string& site) {
    const Match& match = step.flow->match;
    if (const auto closed = std::ranges::find_if(kMetadataAddresses, [&](const Cidr& range) { return match.ip_dst == range.base && match.ip_dst_prefix == range.prefix; }); closed != kMetadataAddresses.end())
        return {std::format("{}/{}, where providers keep their metadata, is closed to VMs", format_ipv4(closed->base), closed->prefix), "nothing: VMs have no business there"};
    if (match.l4_src || match.l4_dst)
        return {"DHCP goes only between a VM and the gateway of its own host", "use another port than 67 between VMs"};
    return {std::format("the host '{}' lets its VMs have DHCP, echo and answers to its own connections, nothing else", site), "connect from the host to the VM instead"};
}

// Nobody at this site takes a frame for that address.
DropReason no_receiver(const World& world, const Frame& frame, const std::vector<Endpoint>& all, std::uint32_t vni) {
    const auto at = std::ranges::find_if(all, [&](const Endpoint& one) { return one.vni == vni && one.mac == frame.eth_dst; });
    for (const auto& net : world.nets)
        if (net.vni == vni && at == all.end() && std::ranges::any_of(net.anchors, [&](const Anchor& anchor) { return anchor.ip == format_ipv4(frame.ip_dst); }))
            return {std::format("{} stands for the outside world: only answers from public ports of VMs go there", format_ipv4(frame.ip_dst)), std::format("blanket net show {}", net.name)};
    if (at == all.end())
        return {std::format("no VM of the network has the MAC {}", format_mac(frame.eth_dst)), "blanket vm list"};
    if (at->local) return explain_unplugged(world, *at);
    const VmRecord* record = record_of(world, at->uuid);
    const std::string owner = record == nullptr ? "?" : record->owner;
    if (at->owner == 0 || world.ports.tunnel == 0)
        return {std::format("VM '{}' is at '{}', and site '{}' has no tunnel to it", at->name, owner, world.site), std::format("at '{}': blanket path list; blanket doctor", world.site)};
    return {std::format("site '{}' got it by the tunnel, but VM '{}' is at '{}'", world.site, at->name, owner), std::format("wait until both sites know the same record: blanket vm show {}", at->name)};
}

// `what`: "let it in" or "let it out".
DropReason group_reason(const World& world, std::string_view what, const std::string& uuid, const std::string& vm, std::uint32_t vni) {
    const auto net = std::ranges::find(world.nets, vni, &Net::vni);
    std::string names, first;
    if (net != world.nets.end())
        for (const auto& group : net->groups)
            if (group.everybody || std::ranges::find(group.vms, uuid) != group.vms.end()) {
                if (first.empty()) first = group.name;
                names += (names.empty() ? "'" : ", '") + group.name + "'";
            }
    return {std::format("VM '{}' is in security group {}, and no rule there does {}", vm, names, what),
            std::format("blanket security-group show {} {}; blanket security-group add-rule", net == world.nets.end() ? "NET" : net->name, first)};
}

}  // namespace

DropReason explain_unplugged(const World& world, const Endpoint& endpoint) {
    const VmRecord* record = record_of(world, endpoint.uuid);
    if (record != nullptr && (record->phase == Phase::kStopped || record->phase == Phase::kDeleting))
        return {std::format("VM '{}' is {}", endpoint.name, to_string(record->phase)), std::format("blanket vm start {}", endpoint.name)};
    for (const auto& handover : world.handovers)
        if (handover.uuid == endpoint.uuid && handover.away())
            return {std::format("VM '{}' is just being handed over to '{}'", endpoint.name, handover.site), "trace again in some seconds"};
    return {std::format("VM '{}' has no network card on {} at '{}'", endpoint.name, "br-int", world.site),
            std::format("at '{}': virsh list; ovs-vsctl show; journalctl -t blanket-hotplug", world.site)};
}

DropReason explain_drop(const World& world, const WalkStep& step, const Frame& frame, const std::vector<Endpoint>& all, const Endpoint& speaker,
                        const std::string& from_site) {
    switch (step.table) {
        case Table::kClassify: return explain_unplugged(world, speaker);
        case Table::kPortSecurity: return {std::format("VM '{}' may speak with its own MAC and address only", speaker.name), std::format("blanket vm show {}", speaker.name)};
        case Table::kTunnelIngress: {
            const VmRecord* record = record_of(world, speaker.uuid);
            return {std::format("site '{}' does not hear VM '{}' from '{}': its record names '{}' as the owner", world.site, speaker.name, from_site, record == nullptr ? "?" : record->owner),
                    std::format("compare at both sites: blanket vm show {}", speaker.name)};
        }
        case Table::kArp: return {std::format("no VM of the network has the address {}: nobody answers for it", format_ipv4(frame.arp_tpa)), "blanket vm list"};
        case Table::kPolicy:
            if (step.flow != nullptr) return policy_reason(step, world.site);
            break;
        case Table::kSourceGroup:
        case Table::kTargetGroup: return {std::format("MAC {} and address {} are not of one VM, and a network with security groups delivers nothing else", format_mac(frame.eth_dst), format_ipv4(frame.ip_dst)), "blanket vm list"};
        case Table::kEgress: return group_reason(world, "let it out", speaker.uuid, speaker.name, speaker.vni);
        case Table::kIngress: {
            const auto at = std::ranges::find_if(all, [&](const Endpoint& one) { return one.vni == speaker.vni && one.mac == frame.eth_dst; });
            if (at != all.end()) return group_reason(world, "let it in", at->uuid, at->name, at->vni);
            break;
        }
        case Table::kRemote:
        case Table::kLocal: return no_receiver(world, frame, all, speaker.vni);
        case Table::kGateway: return {std::format("no VM with MAC {} and address {} runs at '{}'", format_mac(frame.eth_dst), format_ipv4(frame.ip_dst), world.site), "blanket vm list"};
    }
    return {"no entry matches", "blanket doctor"};
}

}  // namespace blanket::net
