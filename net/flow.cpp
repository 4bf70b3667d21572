// SPDX-License-Identifier: GPL-2.0-or-later
// See flow.hpp.
#include "net/flow.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket::net {
namespace {

void put(std::string& text, std::string_view part) {
    if (!text.empty()) text += ',';
    text += part;
}

std::string_view protocol_word(const Match& match) {
    if (!match.ether_type) return {};
    if (*match.ether_type == EtherType::kArp) return "arp";
    if (!match.ip_proto) return "ip";
    switch (*match.ip_proto) {
        case IpProto::kIcmp: return "icmp";
        case IpProto::kTcp: return "tcp";
        case IpProto::kUdp: return "udp";
    }
    return "ip";
}

std::string address_text(std::string_view field, std::uint32_t address, unsigned prefix) {
    return prefix == 32 ? std::format("{}={}", field, format_ipv4(address)) : std::format("{}={}/{}", field, format_ipv4(address), prefix);
}

std::string action_text(const Action& action) {
    using enum Action::Op;
    switch (action.op) {
        case kSetMetadata: return std::format("set_field:{:#x}->metadata", action.value);
        case kTunnelMetadata: return "move:NXM_NX_TUN_ID[0..23]->OXM_OF_METADATA[0..23]";
        case kGoto: return std::format("goto_table:{}", action.value);
        case kOutput: return std::format("output:{}", action.value);
        case kForgetInPort: return "set_field:0->in_port";
        case kSetTunnelId: return std::format("set_field:{:#x}->tun_id", action.value);
        case kSetTunnelDst: return std::format("set_field:{}->tun_dst", format_ipv4(static_cast<std::uint32_t>(action.value)));
        case kSourceGroups: return std::format("set_field:{:#x}->reg0", action.value);
        case kTargetGroups: return std::format("set_field:{:#x}->reg1", action.value);
        case kSetEthSrc: return std::format("set_field:{}->eth_src", format_mac(action.value));
        case kSetEthDst: return std::format("set_field:{}->eth_dst", format_mac(action.value));
        case kArpReply: {
            const std::string mac = format_mac(action.value);
            return std::format(
                "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{}->eth_src,set_field:2->arp_op,"
                "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:{}->arp_sha,"
                "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:{}->arp_spa,IN_PORT",
                mac, mac, format_ipv4(action.address));
        }
    }
    return "drop";
}

Result<std::uint64_t> parse_hex(std::string_view text) {
    if (text.starts_with("0x")) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (code != std::errc() || end != text.data() + text.size() || text.empty())
        return fail(Kind::kInvalid, "'{}' is not a hexadecimal number", text.substr(0, 20));
    return value;
}

}  // namespace

std::string_view table_name(Table table) {
    constexpr std::array<std::string_view, kTables> kNames{"classify", "port-security", "tunnel-ingress", "arp", "policy", "source-group", "target-group", "egress", "ingress", "remote", "local", "gateway"};
    return kNames[static_cast<std::size_t>(table) % kTables];
}

Result<Mac> parse_mac(std::string_view text) {
    BLANKET_CHECK(check_mac(text));
    std::string digits;
    for (const char c : text)
        if (c != ':') digits += c;
    return parse_hex(digits);
}

std::string format_mac(Mac mac) {
    return std::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac >> 40 & 0xff, mac >> 32 & 0xff, mac >> 24 & 0xff, mac >> 16 & 0xff,
                       mac >> 8 & 0xff, mac & 0xff);
}

std::string match_text(const Match& match) {
    std::string text;
    if (const auto word = protocol_word(match); !word.empty()) put(text, word);
    if (match.in_port) put(text, std::format("in_port={}", *match.in_port));
    if (match.metadata) put(text, std::format("metadata={:#x}", *match.metadata));
    if (match.tun_src) put(text, std::format("tun_src={}", format_ipv4(*match.tun_src)));
    if (match.eth_src) put(text, std::format("dl_src={}", format_mac(*match.eth_src)));
    if (match.eth_dst) put(text, std::format("dl_dst={}", format_mac(*match.eth_dst)));
    if (match.source_groups != 0) put(text, std::format("reg0={:#x}/{:#x}", match.source_groups, match.source_groups));
    if (match.target_groups != 0) put(text, std::format("reg1={:#x}/{:#x}", match.target_groups, match.target_groups));
    if (match.ip_src) put(text, address_text("nw_src", *match.ip_src, match.ip_src_prefix));
    if (match.ip_dst) put(text, address_text("nw_dst", *match.ip_dst, match.ip_dst_prefix));
    if (match.arp_spa) put(text, std::format("arp_spa={}", format_ipv4(*match.arp_spa)));
    if (match.arp_tpa) put(text, std::format("arp_tpa={}", format_ipv4(*match.arp_tpa)));
    if (match.arp_op) put(text, std::format("arp_op={}", *match.arp_op));
    if (match.arp_sha) put(text, std::format("arp_sha={}", format_mac(*match.arp_sha)));
    if (match.l4_src) put(text, std::format("tp_src={}", *match.l4_src));
    if (match.l4_dst) put(text, match.l4_dst_mask == 0xffff ? std::format("tp_dst={}", *match.l4_dst) : std::format("tp_dst={:#x}/{:#x}", *match.l4_dst, match.l4_dst_mask));
    if (match.icmp_type) put(text, std::format("icmp_type={}", *match.icmp_type));
    if (match.tcp_ack) put(text, "tcp_flags=+ack");
    return text;
}

std::string actions_text(const std::vector<Action>& actions) {
    std::string text;
    for (const auto& action : actions) put(text, action_text(action));
    return text.empty() ? "drop" : text;
}

std::string strict_text(const Flow& flow) {
    std::string text = std::format("table={},priority={}", static_cast<unsigned>(flow.table), flow.priority);
    if (const std::string match = match_text(flow.match); !match.empty()) put(text, match);
    return text;
}

std::string flow_text(const Flow& flow) {
    std::string text = std::format("cookie={:#x},{}", kCookieMark | (flow.epoch & ~kCookieMask), strict_text(flow));
    if (flow.hard_timeout != 0) put(text, std::format("hard_timeout={}", flow.hard_timeout));
    put(text, "actions=" + actions_text(flow.actions));
    return text;
}

std::string FlowText::key() const {
    std::string text = std::format("table={},priority={}", table, priority);
    for (const auto& field : match) put(text, field);
    return text;
}

FlowText to_flow_text(const Flow& flow) {
    FlowText out{.table = static_cast<std::uint8_t>(flow.table),
                 .priority = flow.priority,
                 .cookie = kCookieMark | (flow.epoch & ~kCookieMask),
                 .match = {},
                 .actions = actions_text(flow.actions)};
    if (const std::string match = match_text(flow.match); !match.empty()) out.match = split(match, ',');
    std::ranges::sort(out.match);
    return out;
}

Result<FlowText> parse_flow_line(std::string_view line) {
    constexpr std::string_view kActions = "actions=";
    const auto at = line.find(kActions);
    if (at == std::string_view::npos || line.size() > 64 * 1024)
        return fail(Kind::kInvalid, "'{}' is not an OpenFlow entry", line.substr(0, 80));
    FlowText flow{.table = 0, .priority = 32768, .cookie = 0, .match = {}, .actions = std::string(trim(line.substr(at + kActions.size())))};
    std::string head(line.substr(0, at));
    std::ranges::replace(head, ' ', ',');
    for (const auto& field : split(head, ',')) {
        if (field.empty()) continue;
        const auto equal = field.find('=');
        const std::string_view name = std::string_view(field).substr(0, equal);
        const std::string_view value = equal == std::string::npos ? std::string_view() : std::string_view(field).substr(equal + 1);
        if (name == "cookie") {
            BLANKET_TRY(flow.cookie, parse_hex(value));
        } else if (name == "table") {
            BLANKET_TRY(const auto number, parse_number(value, 0, 254, "table"));
            flow.table = static_cast<std::uint8_t>(number);
        } else if (name == "priority") {
            BLANKET_TRY(const auto number, parse_number(value, 0, 65535, "priority"));
            flow.priority = static_cast<std::uint16_t>(number);
        } else if (name == "duration" || name == "n_packets" || name == "n_bytes" || name == "idle_age" || name == "hard_age" ||
                   name == "hard_timeout" || name == "idle_timeout" || name == "send_flow_rem" || name == "importance") {
            continue;  // statistics and life time: not part of what the entry does
        } else {
            flow.match.push_back(field);
        }
    }
    std::ranges::sort(flow.match);
    return flow;
}

Result<std::vector<FlowText>> parse_flow_dump(std::string_view text) {
    constexpr std::size_t kMaxFlows = 1'000'000;
    std::vector<FlowText> flows;
    while (!text.empty()) {
        const auto end = text.find('\n');
        const std::string_view line = trim(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (line.empty() || line.find("actions=") == std::string_view::npos) {
            if (line.empty() || line.starts_with("OFPST_") || line.starts_with("NXST_")) continue;
            return fail(Kind::kInvalid, "'{}' is neither an OpenFlow entry nor a reply's head", line.substr(0, 80));
        }
        if (flows.size() == kMaxFlows) return fail(Kind::kInvalid, "the switch holds more than {} entries of ours", kMaxFlows);
        BLANKET_TRY(FlowText flow, parse_flow_line(line));
        flows.push_back(std::move(flow));
    }
    return flows;
}

}  // namespace blanket::net
