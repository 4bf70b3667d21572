// SPDX-License-Identifier: GPL-2.0-or-later
// See host.hpp.
#include "net/host.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>

#include "net/commands.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

std::optional<Cidr> range_of(std::string_view text) {  // "172.31.5.7/20": its subnet
    const auto slash = text.find('/');
    const auto address = parse_ipv4(text.substr(0, slash));
    const auto prefix = slash == std::string_view::npos ? Result<std::uint64_t>(32) : parse_number(text.substr(slash + 1), 0, 32, "prefix length");
    if (!address || !prefix) return std::nullopt;
    const auto length = static_cast<unsigned>(*prefix);
    return Cidr{length == 0 ? 0u : *address & ~0u << (32 - length), length};
}

bool is_gateway_port(std::string_view name) { return name.starts_with("gw") && name.size() > 2 && name.find_first_not_of("0123456789", 2) == std::string_view::npos; }

// An address as /proc/net/route has it: hexadecimal, in the machine's order of a number that stands in network order.
std::optional<std::uint32_t> address_in_route(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.size() != 8 || code != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return ntohl(value);
}

void want_address(std::string& lines, const std::string& name, const Link& link, const std::string& address) {
    for (const auto& other : link.ipv4)
        if (other != address) lines += std::format("address del {} dev {}\n", other, name);
    if (!link.ipv4.contains(address)) lines += std::format("address add {} dev {}\n", address, name);
}

}  // namespace

Result<std::map<std::string, Link>> parse_links(std::string_view text) {
    BLANKET_TRY(const Json json, parse_json(text, 16u << 20));
    if (!json.is_array()) return fail(Kind::kInvalid, "'ip -json address' printed no list");
    std::map<std::string, Link> links;
    for (const auto& item : json) {
        const std::string name = json_string_or(item, "ifname", "");
        if (name.empty()) continue;  // `ip` prints empty objects for links that a filter hides
        Link link{.mtu = json_number_or(item, "mtu", 0), .ipv4 = {}};
        if (item.contains("flags") && item["flags"].is_array())
            for (const auto& flag : item["flags"]) link.up |= flag == "UP";
        if (item.contains("addr_info") && item["addr_info"].is_array())
            for (const auto& address : item["addr_info"])
                if (json_string_or(address, "family", "") == "inet") {
                    const auto prefix = json_number_or(address, "prefixlen", 32);
                    link.ipv4.insert(std::format("{}/{}", json_string_or(address, "local", ""), prefix));
                    if (const std::string far = json_string_or(address, "address", ""); !far.empty()) link.far.insert(std::format("{}/{}", far, prefix));
                }
        links[name] = std::move(link);
    }
    return links;
}

std::vector<OwnRange> own_ranges(const std::map<std::string, Link>& links, std::string_view routes, const std::vector<Site>& sites) {
    std::vector<OwnRange> out;
    for (const auto& [name, link] : links) {
        if (is_gateway_port(name)) continue;
        for (const auto* const list : {&link.ipv4, &link.far})
            for (const auto& text : *list)
                if (const auto range = range_of(text)) out.push_back({*range, std::format("{} of {}", text, name)});
    }
    for (const auto& line : split(routes, '\n')) {  // Iface Destination Gateway Flags ...
        const auto cells = split(line, '\t');
        if (cells.size() < 4 || is_gateway_port(trim(cells[0]))) continue;
        if (const auto hop = address_in_route(trim(cells[2])); hop && *hop != 0) out.push_back({{*hop, 32}, std::format("{}, the way out by {}", format_ipv4(*hop), trim(cells[0]))});
    }
    for (const auto& site : sites)
        if (const auto address = parse_ipv4(site.address); address && site.state != kRevoked) out.push_back({{*address, 32}, std::format("{}, the address of site '{}'", site.address, site.name)});
    return out;
}

const OwnRange* overlapping(const Cidr& cidr, const std::vector<OwnRange>& own) {
    const auto at = std::ranges::find_if(own, [&](const OwnRange& one) { return overlap(cidr, one.cidr); });
    return at == own.end() ? nullptr : &*at;
}

std::string plan_gateway_links(const std::map<std::string, Link>& links, const std::vector<GatewayPort>& gateways) {
    std::string lines;
    for (const auto& gateway : gateways) {
        const auto at = links.find(gateway.name);
        if (at == links.end()) continue;
        if (!at->second.up) lines += std::format("link set dev {} addrgenmode none\nlink set dev {} up\n", gateway.name, gateway.name);
        want_address(lines, gateway.name, at->second, std::format("{}/{}", format_ipv4(gateway.ip), gateway.prefix));
    }
    return lines;
}

std::string plan_wireguard_link(const std::map<std::string, Link>& links, const Underlay& underlay) {
    if (underlay.address == 0) return {};
    const std::string name = kWireGuardInterface;
    const auto at = links.find(name);
    std::string lines;
    Link link{.ipv4 = {}};
    if (at == links.end()) lines += std::format("link add {} type wireguard\n", name);
    else link = at->second;
    want_address(lines, name, link, format_ipv4(underlay.address) + "/16");
    if (link.mtu != underlay.mtu || !link.up) lines += std::format("link set dev {} mtu {} up\n", name, underlay.mtu);
    return lines;
}

std::string plan_wireguard_routes(const Underlay& underlay) {
    std::string lines;
    for (const auto& peer : underlay.peers) lines += std::format("route replace {} dev {}{}\n", peer.allowed, kWireGuardInterface, peer.mtu == 0 ? "" : std::format(" mtu {}", peer.mtu));
    return lines;
}

namespace {

std::string_view word_of(IpProto proto) { return proto == IpProto::kUdp ? "udp" : "tcp"; }

// The frame's sender and `chaddr` (RFC 2131 section 2: 28 bytes into the message, behind 8 of UDP) are one card's.
std::string dhcp_rule(const std::vector<Endpoint>& cards) {
    std::set<std::string> own;
    for (const auto& card : cards) own.insert(std::format("\"{}\" . {} . {:#014x}", gateway_name(card.vni), format_mac(card.mac), card.mac));
    std::string list;
    for (const auto& one : own) list += (list.empty() ? "" : ", ") + one;
    return list.empty() ? list : std::format("        udp sport 68 udp dport 67 iifname . ether saddr . @th,288,48 {{ {} }} accept\n", list);
}

std::string way_rules(const std::vector<RelayedWay>& ways) {
    std::string list;
    for (const auto& way : ways) list += std::format("{}{} . {}", list.empty() ? "" : ", ", wireguard_address(way.relay), kRelayPort + way.other);
    return (list.empty() ? list : std::format("        iifname \"{}\" udp dport {} ip saddr . udp sport {{ {} }} accept\n", kWireGuardInterface, kWireGuardPort, list)) +
           std::format("        iifname \"{}\" udp dport {{ {}, {}-{} }} drop\n", kWireGuardInterface, kWireGuardPort, kRelayPort + 1, kRelayPort + 254);
}

}  // namespace

std::string firewall_rules(const std::vector<AnchorPoint>& anchors, const std::vector<Endpoint>& cards, const std::vector<RelayedPair>& relays,
                           const std::vector<RelayedWay>& ways) {
    std::string in, out, pass, between;
    for (const auto& pair : relays)
        for (const auto& [from, to] : {std::pair(pair.a, pair.b), {pair.b, pair.a}}) {
            const std::string sender = wireguard_address(from), relay = wireguard_address(pair.relay), taker = wireguard_address(to);
            in += std::format("        iifname \"{}\" ip saddr {} ip daddr {} udp sport {} udp dport {} dnat ip to {}:{}\n", kWireGuardInterface, sender, relay, kWireGuardPort, kRelayPort + to, taker, kWireGuardPort);
            out += std::format("        oifname \"{}\" ip saddr {} ip daddr {} udp dport {} ct status dnat snat ip to {}:{}\n", kWireGuardInterface, sender, taker, kWireGuardPort, relay, kRelayPort + from);
            between += std::format("        iifname \"{0}\" oifname \"{0}\" ip saddr {1} ip daddr {2} udp sport {3} udp dport {3} ct status dnat accept\n", kWireGuardInterface, sender, taker, kWireGuardPort);
        }
    for (const auto& anchor : anchors) {
        if (!anchor.local) continue;
        const std::string link = gateway_name(anchor.vni);
        for (const auto& port : anchor.ports) {
            const std::string vm = format_ipv4(port.ip);
            const auto proto = word_of(port.proto);
            in += std::format("        iifname != {{ \"wg-blanket\", \"gw*\", \"lo\" }} fib daddr . iif type local {} dport {} dnat ip to {}:{}\n", proto, port.port, vm, port.to);
            out += std::format("        oifname \"{}\" ip daddr {} {} dport {} ct status dnat snat ip to {}\n", link, vm, proto, port.to, format_ipv4(anchor.ip));
            pass += std::format("        oifname \"{0}\" ip daddr {1} {2} dport {3} ct direction original ct status dnat accept\n"
                                "        iifname \"{0}\" ip saddr {1} {2} sport {3} ct direction reply ct status dnat accept\n",
                                link, vm, proto, port.to);
        }
    }
    std::string text = R"(table inet blanket_net
delete table inet blanket_net
table inet blanket_net {
    chain input {
        type filter hook input priority -10; policy accept;
        udp dport 4789 iifname != "wg-blanket" drop
        ip saddr 10.213.0.0/16 iifname != { "wg-blanket", "lo" } drop
        ip daddr 10.213.0.0/16 iifname != { "wg-blanket", "lo" } drop
)" + way_rules(ways) + dhcp_rule(cards) + R"(        iifname "gw*" icmp type { echo-request, echo-reply } accept
        iifname "gw*" tcp flags & ack == ack accept
        iifname "gw*" drop
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
)";
    if (pass.empty() && between.empty()) {
        text += R"(        iifname { "wg-blanket", "gw*" } drop
        oifname { "wg-blanket", "gw*" } drop
    }
}
)";
        return text;
    }
    text += between;
    if (!pass.empty()) text += std::format("        ct state new ct count over {} drop\n{}        icmp type destination-unreachable ct state related ct status dnat accept\n", kMostPublicConnections, pass);
    text += "        drop\n    }\n";
    text += std::format("    chain public_in {{\n        type nat hook prerouting priority dstnat; policy accept;\n{}    }}\n", in);
    text += std::format("    chain public_out {{\n        type nat hook postrouting priority srcnat; policy accept;\n{}    }}\n}}\n", out);
    return text;
}

}  // namespace blanket::net
