// SPDX-License-Identifier: GPL-2.0-or-later
// See exposures.hpp.
#include "toolstack/core/exposures.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {
namespace {

constexpr const char* kHowToWrite = "as in --port tcp:80, or tcp:8080:80 for the host's port 8080 and the VM's port 80";

struct OwnPorts {
    RuleProto proto;
    std::uint16_t first, last;
    std::string_view what;
};
constexpr std::array kOwnPorts{
    OwnPorts{RuleProto::kTcp, 22, 22, "SSH to the host"},           OwnPorts{RuleProto::kTcp, 53, 53, "names"},
    OwnPorts{RuleProto::kUdp, 53, 53, "names"},                     OwnPorts{RuleProto::kUdp, 67, 68, "DHCP"},
    OwnPorts{RuleProto::kUdp, 123, 123, "the clock"},               OwnPorts{RuleProto::kTcp, 2379, 2380, "the registry"},
    OwnPorts{RuleProto::kUdp, 4789, 4789, "the overlay"},           OwnPorts{RuleProto::kTcp, 5900, 5999, "consoles"},
    OwnPorts{RuleProto::kTcp, 7443, 7444, "the other sites"},       
    OwnPorts{RuleProto::kTcp, 16509, 16514, "libvirt"},
};

std::string_view proto_name(RuleProto proto) { return proto == RuleProto::kUdp ? "udp" : "tcp"; }

auto key_of(const PublicPort& port) { return std::tuple(port.proto, port.port); }

Anchor* anchor_at(Net& net, const std::string& site) {
    const auto at = std::ranges::find(net.anchors, site, &Anchor::site);
    return at == net.anchors.end() ? nullptr : &*at;
}

std::string vm_name(const std::string& uuid, const std::vector<VmRecord>& vms) {
    const auto at = std::ranges::find(vms, uuid, &VmRecord::uuid);
    return at == vms.end() ? uuid : at->name;
}

}  // namespace

Result<PublicPort> parse_public_port(std::string_view text) {
    const auto words = split(text, ':');
    if (words.size() < 2 || words.size() > 3) return fail_hint(Kind::kInvalid, std::format("'{}' is no public port", text.substr(0, 40)), kHowToWrite);
    PublicPort port;
    if (words[0] == "udp") port.proto = RuleProto::kUdp;
    else if (words[0] != "tcp") return fail_hint(Kind::kInvalid, std::format("'{}' is no protocol that can be exposed", words[0].substr(0, 20)), kHowToWrite);
    BLANKET_TRY(const auto number, parse_number(words[1], 1, 65535, "port"));
    port.port = port.to = static_cast<std::uint16_t>(number);
    if (words.size() == 3) {
        BLANKET_TRY(const auto to, parse_number(words[2], 1, 65535, "port of the VM"));
        port.to = static_cast<std::uint16_t>(to);
    }
    BLANKET_CHECK(check_public_port(port));
    return port;
}

std::string to_text(const PublicPort& port) {
    return port.port == port.to ? std::format("{}:{}", proto_name(port.proto), port.port) : std::format("{}:{}:{}", proto_name(port.proto), port.port, port.to);
}

Result<void> check_public_port(const PublicPort& port) {
    if (port.proto != RuleProto::kTcp && port.proto != RuleProto::kUdp) return fail(Kind::kInvalid, "only TCP and UDP have ports to expose");
    if (port.port == 0 || port.to == 0) return fail(Kind::kInvalid, "there is no port 0");
    if (port.port > kLastPublicPort)
        return fail_hint(Kind::kInvalid, std::format("{}:{} may be the port of one of the host's own connections", proto_name(port.proto), port.port),
                         std::format("choose a public port up to {}, as in {}:8080:{}", kLastPublicPort, proto_name(port.proto), port.to));
    for (const auto& own : kOwnPorts)
        if (own.proto == port.proto && port.port >= own.first && port.port <= own.last)
            return fail_hint(Kind::kInvalid, std::format("{}:{} is the host's own, for {}", proto_name(port.proto), port.port, own.what),
                             std::format("choose another public port for it, as in {}:{}:{}", proto_name(port.proto), 20000 + port.to % 10000, port.to));
    if (port.proto == RuleProto::kUdp && (port.to == 67 || port.to == 68)) return fail_hint(Kind::kInvalid, std::format("no VM plays DHCP server: udp port {} of it cannot be exposed", port.to), "choose another port of the VM");
    return {};
}

Json to_json(const Anchor& anchor) {
    Json ports = Json::array();
    for (const auto& port : anchor.ports) ports.push_back({{"vm", port.vm}, {"proto", proto_name(port.proto)}, {"port", port.port}, {"to", port.to}});
    return {{"site", anchor.site}, {"ip", anchor.ip}, {"ports", std::move(ports)}};
}

Result<std::vector<Anchor>> parse_anchors(const Json& list, const Net& net) {
    if (!list.is_array() || list.size() > kMaxAnchors) return fail(Kind::kInvalid, "field 'anchors' is not a list of up to {}", kMaxAnchors);
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    std::vector<Anchor> out;
    std::set<std::string> sites, addresses;
    for (const auto& item : list) {
        Anchor anchor;
        BLANKET_TRY(anchor.site, json_string(item, "site"));
        BLANKET_CHECK(check_name(anchor.site, "site"));
        BLANKET_TRY(anchor.ip, json_string(item, "ip"));
        BLANKET_TRY(const std::uint32_t ip, parse_ipv4(anchor.ip));
        if (!inside(cidr, ip) || anchor.ip == net.gateway) return fail(Kind::kInvalid, "{} cannot be an anchor's address in network '{}' ({})", anchor.ip, net.name, net.cidr);
        if (!sites.insert(anchor.site).second || !addresses.insert(anchor.ip).second) return fail(Kind::kInvalid, "network '{}' has two anchors at site '{}', or with address {}", net.name, anchor.site, anchor.ip);
        const auto ports = item.find("ports");
        if (ports == item.end() || !ports->is_array() || ports->size() > kMaxPublicPorts) return fail(Kind::kInvalid, "field 'ports' of an anchor is not a list of up to {}", kMaxPublicPorts);
        std::set<std::tuple<RuleProto, std::uint16_t>> taken;
        for (const auto& entry : *ports) {
            PublicPort port;
            BLANKET_TRY(port.vm, json_string(entry, "vm"));
            BLANKET_CHECK(check_uuid(port.vm));
            BLANKET_TRY(const std::string proto, json_string(entry, "proto"));
            if (proto != "tcp" && proto != "udp") return fail(Kind::kInvalid, "'{}' is no protocol that can be exposed", proto.substr(0, 20));
            port.proto = proto == "udp" ? RuleProto::kUdp : RuleProto::kTcp;
            BLANKET_TRY(const auto number, json_number(entry, "port"));
            BLANKET_TRY(const auto to, json_number(entry, "to"));
            if (number > 65535 || to > 65535) return fail(Kind::kInvalid, "{} or {} is no port", number, to);
            port.port = static_cast<std::uint16_t>(number);
            port.to = static_cast<std::uint16_t>(to);
            BLANKET_CHECK(check_public_port(port));
            if (!taken.insert(key_of(port)).second) return fail(Kind::kInvalid, "the record of network '{}' gives {} of site '{}' away twice", net.name, to_text(port), anchor.site);
            anchor.ports.push_back(std::move(port));
        }
        out.push_back(std::move(anchor));
    }
    return out;
}

Result<std::string> allocate_anchor_ip(const Net& net, const std::vector<VmRecord>& vms) {
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    std::set<std::string> used{net.gateway};
    for (const auto& vm : vms)
        for (const auto& nic : vm.nics)
            if (nic.net == net.name) used.insert(nic.ip);
    for (const auto& anchor : net.anchors) used.insert(anchor.ip);
    for (std::uint32_t ip = (cidr.base | 0xffff'ffffu >> cidr.prefix) - 1; ip > cidr.base; --ip)
        if (std::string text = format_ipv4(ip); !used.contains(text)) return text;
    return fail_hint(Kind::kConflict, std::format("network '{}' ({}) has no free address for an anchor", net.name, net.cidr), "delete VMs of this network that are no longer wanted");
}

Result<void> check_free(const std::vector<PublicPort>& ports, const std::string& site, const std::vector<Net>& nets, const std::vector<VmRecord>& vms) {
    std::set<std::tuple<RuleProto, std::uint16_t>> wanted;
    for (const auto& port : ports)
        if (!wanted.insert(key_of(port)).second) return fail_hint(Kind::kInvalid, std::format("{}:{} is named twice", proto_name(port.proto), port.port), "name each public port once");
    for (const auto& net : nets)
        for (const auto& anchor : net.anchors)
            for (const auto& taken : anchor.ports)
                if (anchor.site == site && wanted.contains(key_of(taken)))
                    return fail_hint(Kind::kConflict, std::format("{}:{} at '{}' leads to VM '{}' of network '{}' already", proto_name(taken.proto), taken.port, site, vm_name(taken.vm, vms), net.name),
                                     std::format("choose another public port, as in --port {}:{}:{}; or first: blanket net unexpose {} --port {}", proto_name(taken.proto), taken.port == kLastPublicPort ? 8080 : taken.port + 1,
                                                 taken.to, vm_name(taken.vm, vms), to_text(taken)));
    return {};
}

Result<void> add_public(Net& net, const std::string& site, const std::string& ip, const std::vector<PublicPort>& ports) {
    for (const auto& port : ports) BLANKET_CHECK(check_public_port(port));
    BLANKET_CHECK(check_free(ports, site, {net}, {}));
    Anchor* anchor = anchor_at(net, site);
    if (anchor == nullptr) {
        if (net.anchors.size() == kMaxAnchors) return fail_hint(Kind::kConflict, std::format("network '{}' has anchors at {} sites, and no more can be", net.name, kMaxAnchors), "use one of them: blanket net show " + net.name);
        net.anchors.push_back({site, ip, {}});
        anchor = &net.anchors.back();
    }
    if (anchor->ports.size() + ports.size() > kMaxPublicPorts)
        return fail_hint(Kind::kConflict, std::format("site '{}' would have {} public ports for network '{}', and {} is the most", site, anchor->ports.size() + ports.size(), net.name, kMaxPublicPorts), "use another site: --at SITE");
    anchor->ports.insert(anchor->ports.end(), ports.begin(), ports.end());
    return {};
}

Result<std::vector<std::string>> remove_public(Net& net, const std::string& vm, const std::string& site, const std::vector<PublicPort>& ports) {
    std::size_t removed = 0;
    std::vector<std::string> addresses;
    for (auto& anchor : net.anchors) {
        if (!site.empty() && anchor.site != site) continue;
        removed += std::erase_if(anchor.ports, [&](const PublicPort& one) {
            return one.vm == vm && (ports.empty() || std::ranges::any_of(ports, [&](const PublicPort& port) { return key_of(port) == key_of(one); }));
        });
    }
    if (removed == 0) return fail_hint(Kind::kNotFound, "nothing of that VM is public there", "blanket net show " + net.name);
    for (const auto& anchor : net.anchors)
        if (anchor.ports.empty()) addresses.push_back(anchor.ip);
    std::erase_if(net.anchors, [](const Anchor& anchor) { return anchor.ports.empty(); });
    return addresses;
}

}  // namespace blanket
