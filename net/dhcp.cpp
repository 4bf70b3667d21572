// SPDX-License-Identifier: GPL-2.0-or-later
// See dhcp.hpp.
#include "net/dhcp.hpp"

#include <algorithm>
#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

// What dnsmasq takes for something else in a host's line (its option.c): a lease time, or a word of its own.
bool is_keyword(std::string_view name) {
    if (name == "infinite" || name == "ignore") return true;
    if (name.size() > 1 && std::string_view("wdhms").contains(name.back())) name.remove_suffix(1);
    return name.find_first_not_of("0123456789") == std::string_view::npos;
}

// VM names may hold '.' and '_', which a DHCP host name may not.
bool is_host_name(std::string_view name) {
    return !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos && !is_keyword(name);
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + '\n';
    return text;
}

Result<std::optional<std::string>> read_if_there(const std::string& path) {
    auto text = read_file(path, 64u << 20);
    if (text) return std::optional(std::move(*text));
    if (text.error().kind == Kind::kNotFound) return std::nullopt;
    return std::unexpected(text.error());
}

}  // namespace

std::vector<DhcpNet> plan_dhcp(const std::vector<GatewayPort>& gateways, const std::vector<Endpoint>& endpoints, const std::string& folder) {
    std::vector<DhcpNet> out;
    for (const auto& gateway : gateways) {
        const std::uint32_t mask = ~(0xffff'ffffu >> gateway.prefix);
        DhcpNet net{.vni = gateway.vni, .config = {}, .hosts = {}};
        net.config = std::format(
            "port=0\nno-resolv\nno-hosts\nno-ping\nuser=root\npid-file=\nleasefile-ro\n"
            "interface={}\nexcept-interface=lo\nbind-dynamic\n"
            "dhcp-authoritative\ndhcp-range={},static,{},1h\ndhcp-hostsfile={}/{}.hosts\n"
            "dhcp-option=option:mtu,{}\ndhcp-option=option:router\ndhcp-option=option:dns-server\n",
            gateway.name, format_ipv4(gateway.ip & mask), format_ipv4(mask), folder, gateway.vni, gateway.mtu);
        for (const auto& endpoint : endpoints) {
            if (endpoint.vni != gateway.vni) continue;
            std::string line = std::format("{},{}", format_mac(endpoint.mac), format_ipv4(endpoint.ip));
            if (endpoint.nic == 0 && is_host_name(endpoint.name)) line += ',' + endpoint.name;
            net.hosts.push_back(std::move(line));
        }
        std::ranges::sort(net.hosts);
        out.push_back(std::move(net));
    }
    return out;
}

std::string_view plan_dhcp_verb(const DhcpNet& net, const DhcpPresent& present) {
    if (!present.config || !present.hosts) return "restart";
    if (*present.config != net.config) return "restart";
    auto before = split(trim(*present.hosts), '\n');
    std::erase(before, std::string());
    std::ranges::sort(before);
    if (before == net.hosts) return {};
    return std::ranges::includes(net.hosts, before) ? "reload" : "restart";
}

Result<void> apply_dhcp(const std::vector<DhcpNet>& nets, const std::string& folder, CommandRunner& runner, std::set<std::uint32_t>& started) {
    BLANKET_CHECK(make_dirs(folder, 0755));
    for (const auto& net : nets) {
        const std::string base = std::format("{}/{}", folder, net.vni);
        DhcpPresent present;
        BLANKET_TRY(present.config, read_if_there(base + ".conf"));
        BLANKET_TRY(present.hosts, read_if_there(base + ".hosts"));
        // One that this process has not started, or whose reload failed, may run with what the files said before.
        const std::string_view verb = started.contains(net.vni) ? plan_dhcp_verb(net, present) : "restart";
        if (verb.empty()) continue;
        // Not started until the unit says so: after a failure the next round restarts it although the files are right by then.
        started.erase(net.vni);
        BLANKET_CHECK(write_file(base + ".conf", net.config, 0644));
        BLANKET_CHECK(write_file(base + ".hosts", joined(net.hosts), 0644));
        if (auto done = runner.run(commands::dhcp_unit(verb, net.vni)); !done)
            return std::unexpected(std::move(done).error().context(std::format("DHCP of VNI {}", net.vni)));
        started.insert(net.vni);
    }
    std::error_code code;
    std::vector<std::uint32_t> gone;
    for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
        if (entry.path().extension() != ".conf") continue;
        const auto vni = parse_number(entry.path().stem().string(), 1, 0xff'ffff, "VNI");
        if (vni && std::ranges::find(nets, *vni, &DhcpNet::vni) == nets.end()) gone.push_back(static_cast<std::uint32_t>(*vni));
    }
    for (const auto vni : gone) {
        BLANKET_CHECK(runner.run(commands::dhcp_unit("stop", vni)));
        started.erase(vni);
        BLANKET_CHECK(remove_file(std::format("{}/{}.hosts", folder, vni)));
        BLANKET_CHECK(remove_file(std::format("{}/{}.conf", folder, vni)));
    }
    return {};
}

}  // namespace blanket::net
