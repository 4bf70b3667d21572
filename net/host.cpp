// SPDX-License-Identifier: GPL-2.0-or-later
// See host.hpp.
#include "net/host.hpp"

#include "net/commands.hpp"

namespace blanket::net {
namespace {

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
                if (json_string_or(address, "family", "") == "inet")
                    link.ipv4.insert(std::format("{}/{}", json_string_or(address, "local", ""), json_number_or(address, "prefixlen", 32)));
        links[name] = std::move(link);
    }
    return links;
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

}  // namespace

std::string firewall_rules(const std::vector<AnchorPoint>& anchors) {
    std::string in, out, pass;
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
        iifname "gw*" udp sport 68 udp dport 67 accept
        iifname "gw*" icmp type { echo-request, echo-reply } accept
        iifname "gw*" tcp flags & ack == ack accept
        iifname "gw*" drop
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
)";
    if (pass.empty()) {
        text += R"(        iifname { "wg-blanket", "gw*" } drop
        oifname { "wg-blanket", "gw*" } drop
    }
}
)";
        return text;
    }
    text += std::format("        ct state new ct count over {} drop\n{}        icmp type destination-unreachable ct state related ct status dnat accept\n        drop\n    }}\n", kMostPublicConnections, pass);
    text += std::format("    chain public_in {{\n        type nat hook prerouting priority dstnat; policy accept;\n{}    }}\n", in);
    text += std::format("    chain public_out {{\n        type nat hook postrouting priority srcnat; policy accept;\n{}    }}\n}}\n", out);
    return text;
}

}  // namespace blanket::net
