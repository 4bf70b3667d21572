// SPDX-License-Identifier: GPL-2.0-or-later
// From records that another site wrote to what this host is told: whatever the records are, the plan has only words that the switch, WireGuard and dnsmasq take as
// they were meant: each line of ours is one line, each entry is encoded, each key is one.
#include <algorithm>
#include <set>

#include "net/dhcp.hpp"
#include "net/host.hpp"
#include "net/openflow.hpp"
#include "net/ovs.hpp"
#include "net/path_mtu.hpp"
#include "net/site_plan.hpp"
#include "net/ways.hpp"
#include "net/wireguard.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::fuzz {

using namespace net;

const std::size_t target::kHeap = 24u << 20;

namespace {

bool is_plain(std::string_view line) {
    return std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; });
}

World world_of(const Json& json) {
    World world;
    world.site = "east";
    world.ports = {.tunnel = 1, .gateways = {{101, 2}, {102, 3}}, .vms = {}, .holds = {}};
    const auto each = [&](const char* field, auto take) {
        if (const auto list = json.find(field); list != json.end() && list->is_array())
            for (const auto& item : *list) take(item);
    };
    each("nets", [&](const Json& item) {
        if (auto net = parse_net(item)) world.nets.push_back(*net);
    });
    each("sites", [&](const Json& item) {
        if (auto site = parse_site(item)) world.sites.push_back(*site);
    });
    each("vms", [&](const Json& item) {
        auto vm = parse_vm(item);
        if (!vm || std::ranges::contains(world.vms, vm->uuid, &VmRecord::uuid)) return;  // it names the record in the registry
        std::uint32_t port = 10 + static_cast<std::uint32_t>(world.ports.vms.size());
        for (const auto& nic : vm->nics)
            if (const auto mac = parse_mac(nic.mac)) world.ports.vms.push_back({vm->uuid, *mac, port++, "vif1.0"});
        world.vms.push_back(*vm);
    });
    if (json_bool_or(json, "out", false))
        for (const auto& vm : world.vms) world.handovers.push_back({vm.uuid, "west", Handover::Way::kOut});
    if (json_bool_or(json, "in", false))
        for (const auto& vm : world.vms) world.handovers.push_back({vm.uuid, "west", Handover::Way::kIn});
    return world;
}

std::string digits(unsigned number) { return std::format("{:012}", number); }

Json sample() {
    VmRecord web;
    web.uuid = "11111111-2222-4333-8444-" + digits(1);
    web.name = "web";
    web.owner = "east";
    web.phase = Phase::kRunning;
    web.memory_mib = 256;
    web.nics = {{"lan", "02:00:00:00:00:01", "10.1.0.2"}};
    VmRecord db = web;
    db.uuid = "11111111-2222-4333-8444-" + digits(2);
    db.name = "db.one";
    db.owner = "west";
    db.nics = {{"lan", "02:00:00:00:00:02", "10.1.0.3"}, {"dmz", "02:00:00:00:00:03", "10.2.0.2"}};
    Net lan{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390, {}, false}, dmz{"dmz", 102, "10.2.0.0/30", "10.2.0.1", 1390, {}, false};
    lan.groups = {{"web", false, default_rules(), {web.uuid}}, {"all", true, {{true, RuleProto::kTcp, 80, 443, false, "", "web"}, {true, RuleProto::kUdp, 7, 1000, false, "10.1.0.0/25", ""}}, {}}};
    const std::string key = base64_encode(std::string(32, 'k'));
    const Site east{"east", 1, "192.0.2.1", key, "voter", "0.1.0", 1, "joined", {}}, west{"west", 2, "192.0.2.2", base64_encode(std::string(32, 'w')), "voter", "0.1.0", 2, "joined", {}, {{"east", 1420}}};
    return {{"nets", {to_json(lan), to_json(dmz)}}, {"sites", {to_json(east), to_json(west)}}, {"vms", {to_json(web), to_json(db)}}};
}

}  // namespace

std::vector<std::string> target::seeds() {
    Json out = sample(), in = sample(), doubled = sample();
    out["out"] = true;
    in["in"] = true;
    doubled["vms"][1]["nics"][0]["mac"] = "02:00:00:00:00:01";
    Json relay = sample();  // east passes on what west and home say
    relay["sites"].push_back(to_json(Site{"home", 3, "192.168.1.2", base64_encode(std::string(32, 'h')), "client", "0.1.0", 0, "joined", {}, {}, {}, {{"east", {}}}}));
    relay["sites"][0]["heard"] = {{"west", {{"rtt_ms", 32}}}, {"home", {{"from", "203.0.113.7:40123"}}}};
    relay["sites"][1]["heard"] = {{"east", Json::object()}};
    relay["vms"][0]["owner"] = "home";
    return {sample().dump(), out.dump(), in.dump(), doubled.dump(), relay.dump()};
}

void target::run(Input input) {
    const auto json = parse_json(input.rest_text());
    if (!json) return;
    World world = world_of(*json);
    world.nets = with_offered_mtu(world.nets, world.vms, world.sites);
    std::vector<std::string> warnings;
    const auto flows = plan_flows(world, warnings);
    std::set<std::string> keys;
    std::string lines;
    for (const auto& flow : flows) {
        const FlowText text = to_flow_text(flow);
        require(keys.insert(text.key()).second, "two entries of one key: " + text.key());
        const auto parsed = parse_flow_line(flow_text(flow));
        require_value(parsed, "an entry of ours");
        require(parsed->key() == text.key() && parsed->actions == text.actions && parsed->cookie == text.cookie, "an entry that is read back is another: " + flow_text(flow));
        require(is_plain(flow_text(flow)), "an entry of two lines");
        lines += "flow add " + flow_text(flow) + "\nflow delete_strict " + strict_text(flow) + '\n';
    }
    if (flows.size() < 20'000) require_value(encode_bundle(lines, 2), "the entries as messages");
    require(plan_bundle(flows, [&] {
                std::vector<FlowText> same;
                for (const auto& flow : flows) same.push_back(to_flow_text(flow));
                return same;
            }()).empty(), "an entry that is right is changed");

    SitePlan kept(world.site);
    kept.records(world.nets, world.sites);
    kept.ports(world.ports);
    kept.handovers(world.handovers);
    for (const auto& vm : world.vms) {
        kept.put(vm);
        kept.settle();
    }
    require(kept.is(flows), "the plan that is kept record by record is another");

    const auto endpoints = resolve(world, warnings);
    const auto gateways = plan_gateways(world.nets, warnings);
    for (const auto& net : plan_dhcp(gateways, endpoints, "/run/dhcp")) {
        require(std::ranges::count(net.config, '\n') == 16, "dnsmasq is told more than was meant: " + net.config);
        for (const auto& host : net.hosts) require(is_plain(host) && std::ranges::count(host, ',') <= 2, "a host's line: " + host);
        require(plan_dhcp_verb(net, {net.config, [&] {
                                         std::string text;
                                         for (const auto& host : net.hosts) text += host + '\n';
                                         return text;
                                     }()}).empty(), "dnsmasq is told again what it knows");
    }
    const Underlay underlay = plan_underlay("east", world.sites, 1500, warnings);
    const std::string config = wireguard_config({base64_encode(std::string(32, 's')), "pub"}, underlay);
    require(static_cast<std::size_t>(std::ranges::count(config, '\n')) == 3 + 6 * underlay.peers.size(), "WireGuard is told more than was meant: " + config);
    for (const auto& line : split(config, '\n')) require(is_plain(line), "a line of WireGuard's");
    const auto relays = relayed_by("east", world.nets, world.vms, world.sites);
    require(relays.size() <= kMostRelayedPairs, "too many pairs");
    const auto ways = relayed_to("east", world.nets, world.vms, world.sites);
    const std::string rules = firewall_rules({}, {}, relays, ways);
    require(static_cast<std::size_t>(std::ranges::count(rules, '\n')) == static_cast<std::size_t>(std::ranges::count(firewall_rules(), '\n')) + (relays.empty() ? 0 : 6 * relays.size() + 5) + (ways.empty() ? 0u : 1u), "the firewall is told more than was meant: " + rules);
    for (const auto& line : split(rules, '\n')) require(is_plain(line), "a line of the firewall's");
    const Shares shares = shares_of(world.nets, world.vms);
    for (const auto& a : world.sites)
        for (const auto& b : world.sites) {
            const auto list = candidates(a.name, b, world.sites, relays_for(a, b, world.sites, shares));
            require(!list.empty() && list.size() <= 1 + kMostPunched + kRelaysOfAPair, "too many ways to try");
            for (const auto& one : list) require(one.way == Way::kDirect || parse_ipv4_port(one.endpoint).has_value(), "no endpoint: " + one.endpoint);
        }
    for (const auto& line : split(plan_gateway_links({}, gateways) + plan_wireguard_link({}, underlay) + plan_wireguard_routes(underlay), '\n')) require(is_plain(line), "a line for ip: " + line);
}

}  // namespace blanket::fuzz
