// SPDX-License-Identifier: GPL-2.0-or-later
// tests/golden/net/*.in.json -> *.expect: the whole plan of a site as text. UPDATE_GOLDEN=1 writes the expectations anew.
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>

#include "net/commands.hpp"
#include "net/dhcp.hpp"
#include "net/host.hpp"
#include "net/ovs.hpp"
#include "net/path_mtu.hpp"
#include "net/wireguard.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::net::test {
namespace {

std::string text(const Json& object, const char* field) { return json_string_or(object, field, ""); }

World world_from(const Json& in) {
    World world{.site = text(in, "site"), .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}};
    for (const auto& net : in["nets"]) {
        world.nets.push_back({text(net, "name"), net["vni"].get<std::uint32_t>(), text(net, "cidr"), text(net, "gateway"), net.value("mtu", kGuestMtu)});
        if (net.contains("groups")) world.nets.back().groups = parse_groups(net["groups"]).value();
        if (net.contains("anchors")) world.nets.back().anchors = parse_anchors(net["anchors"], world.nets.back()).value();
    }
    for (const auto& item : in["sites"]) {
        Site site;
        site.name = text(item, "name");
        site.index = item["index"].get<std::uint32_t>();
        site.address = text(item, "address");
        site.wireguard_key = text(item, "key");
        if (item.contains("path_mtu")) site.path_mtu = item["path_mtu"].get<std::map<std::string, std::uint32_t>>();
        if (item.contains("heard"))
            for (const auto& [name, heard] : item["heard"].items()) site.heard[name] = {text(heard, "from"), static_cast<std::uint32_t>(json_number_or(heard, "rtt_ms", 0))};
        world.sites.push_back(site);
    }
    for (const auto& item : in["vms"]) {
        VmRecord vm;
        vm.uuid = text(item, "uuid");
        vm.name = text(item, "name");
        vm.owner = text(item, "owner");
        vm.epoch = item["epoch"].get<std::uint64_t>();
        vm.phase = parse_phase(item.value("phase", std::string("running"))).value();
        if (item.contains("target")) vm.migration = Migration{"m1", text(item, "target")};
        for (const auto& nic : item["nics"]) vm.nics.push_back({text(nic, "net"), text(nic, "mac"), text(nic, "ip")});
        world.vms.push_back(vm);
    }
    world.ports.tunnel = static_cast<std::uint32_t>(json_number_or(in["ports"], "tunnel", 0));
    for (const auto& item : in["ports"]["gateways"]) world.ports.gateways[item["vni"].get<std::uint32_t>()] = item["port"].get<std::uint32_t>();
    for (const auto& item : in["ports"]["vms"])
        world.ports.vms.push_back({text(item, "uuid"), parse_mac(text(item, "mac")).value(), item["port"].get<std::uint32_t>()});
    if (in.contains("handovers"))
        for (const auto& item : in["handovers"])
            world.handovers.push_back({text(item, "uuid"), text(item, "site"), text(item, "way") == "in" ? Handover::Way::kIn : Handover::Way::kOut});
    return world;
}

std::string render(const World& world) {
    std::vector<std::string> warnings;
    std::string out = "# flows\n";
    for (const auto& flow : plan_flows(world, warnings)) out += flow_text(flow) + '\n';
    const auto gateways = plan_gateways(with_offered_mtu(world.nets, world.vms, world.sites), warnings);
    const auto underlay = plan_underlay(world.site, world.sites, kUplinkMtu, warnings);
    out += "\n# switch, from nothing\n";
    for (const auto& step : plan_switch({}, gateways, underlay.address, "system", {})) out += to_string(step) + '\n';
    out += "\n# links, from nothing\n";
    std::map<std::string, Link> links;
    for (const auto& gateway : gateways) links[gateway.name] = {};
    out += plan_gateway_links(links, gateways) + plan_wireguard_link(links, underlay) + plan_wireguard_routes(underlay);
    out += "\n# wireguard\n" + wireguard_config({"SECRET", "PUBLIC"}, underlay);
    for (const auto& net : plan_dhcp(gateways, resolve(world, warnings), "/run/blanket/dhcp")) {
        out += std::format("\n# dhcp {}\n{}", net.vni, net.config);
        for (const auto& host : net.hosts) out += "host " + host + '\n';
    }
    const auto anchors = plan_anchors(world, resolve(world, warnings), warnings);
    const auto relays = relayed_by(world.site, world.nets, world.vms, world.sites);
    if (!anchors.empty() || !relays.empty()) out += "\n# firewall\n" + firewall_rules(anchors, resolve(world, warnings), relays);
    out += "\n# warnings\n";
    std::ranges::sort(warnings);
    warnings.erase(std::ranges::unique(warnings).begin(), warnings.end());
    for (const auto& warning : warnings) out += warning + '\n';
    return out;
}

void compare(const std::string& path, const std::string& got) {
    if (std::getenv("UPDATE_GOLDEN") != nullptr) {
        ASSERT_TRUE(write_file(path, got));
        return;
    }
    const auto want = read_file(path);
    ASSERT_TRUE(want) << want.error().what << " (make it with UPDATE_GOLDEN=1)";
    EXPECT_EQ(*want, got);
}

TEST(Golden, Plans) {
    const std::filesystem::path folder = BLANKET_SOURCE_DIR "/tests/golden/net";
    unsigned seen = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string path = entry.path().string();
        if (!path.ends_with(".in.json")) continue;
        SCOPED_TRACE(path);
        ++seen;
        const auto raw = read_file(path);
        ASSERT_TRUE(raw);
        const auto json = parse_json(*raw);
        ASSERT_TRUE(json) << json.error().what;
        compare(path.substr(0, path.size() - 8) + ".expect", render(world_from(*json)));
    }
    EXPECT_GE(seen, 3u);
}

TEST(Golden, Commands) {
    std::string got;
    for (const auto& command :
         {commands::switch_read(), commands::switch_change({{"--may-exist", "add-br", "br-int"}, {"set", "Bridge", "br-int", "fail_mode=secure"}}),
          commands::flows_read(), commands::flows_read_all(), commands::flows_change("flow add x\n"), commands::addresses_read(), commands::addresses_change("link set dev gw1 up\n"),
          commands::wireguard_sync("PrivateKey = s\n"), commands::wireguard_endpoints(), commands::firewall_load("table x\n"), commands::firewall_read(), commands::dhcp_unit("reload", 101)})
        got += to_string(command.argv) + (command.input.empty() ? "" : " <<< " + command.input.substr(0, command.input.find('\n'))) + '\n';
    got += '\n' + firewall_rules();
    compare(BLANKET_SOURCE_DIR "/tests/golden/net/commands.expect", got);
}

}  // namespace
}  // namespace blanket::net::test
