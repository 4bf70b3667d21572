// SPDX-License-Identifier: GPL-2.0-or-later
// Making ports of a VM public at a site, and taking that back. A network's public ports are in its record; that no two networks claim one port of a site is
// seen to by reading all records anew once it is written: of two operators who wrote at the same time at least one sees the other, and takes his own back.
// (Should both die just then, the planner gives the port to neither: net/anchors.hpp.)
#include <algorithm>

#include "net/listeners.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr int kAddressTries = 64;
constexpr std::size_t kMaxWords = 64;

struct Wish {
    std::vector<PublicPort> ports;
    std::string at, net;
};

Result<Wish> parse_wish(const Json& body, const std::string& uuid) {
    Wish wish{.ports = {}, .at = json_string_or(body, "at", ""), .net = json_string_or(body, "net", "")};
    if (!wish.at.empty()) BLANKET_CHECK(check_name(wish.at, "site"));
    if (!wish.net.empty()) BLANKET_CHECK(check_name(wish.net, "network"));
    const auto list = body.find("ports");
    if (list == body.end()) return wish;
    if (!list->is_array() || list->size() > kMaxWords) return fail(Kind::kInvalid, "field 'ports' is not a list of up to {}", kMaxWords);
    for (const auto& word : *list) {
        if (!word.is_string()) return fail(Kind::kInvalid, "field 'ports' holds something other than text");
        BLANKET_TRY(PublicPort port, parse_public_port(word.get<std::string>()));
        port.vm = uuid;
        wish.ports.push_back(std::move(port));
    }
    return wish;
}

struct Records {
    std::vector<Net> nets;
    std::vector<VmRecord> vms;
};

Result<Records> read_records(App& app) {
    BLANKET_TRY(const Snapshot now, app.registry.snapshot());
    Records out;
    for (const auto& net : now.nets) out.nets.push_back(net.value);
    for (const auto& vm : now.vms) out.vms.push_back(vm.value);
    return out;
}

std::string ports_text(const std::vector<PublicPort>& ports) {
    std::string text;
    for (const auto& port : ports) text += (text.empty() ? "" : ", ") + to_text(port);
    return text;
}

// Which of the VM's networks.
Result<std::string> net_for(const VmRecord& vm, const std::string& wanted) {
    std::vector<std::string> names;
    for (const auto& nic : vm.nics)
        if (std::ranges::find(names, nic.net) == names.end()) names.push_back(nic.net);
    if (names.empty()) return fail_hint(Kind::kInvalid, std::format("VM '{}' has no network card", vm.name), "blanket vm show " + vm.name);
    if (wanted.empty() && names.size() > 1)
        return fail_hint(Kind::kInvalid, std::format("VM '{}' has cards in {} networks", vm.name, names.size()), std::format("say which one: --net {}", names.front()));
    if (!wanted.empty() && std::ranges::find(names, wanted) == names.end())
        return fail_hint(Kind::kInvalid, std::format("VM '{}' has no card in network '{}'", vm.name, wanted), "blanket vm show " + vm.name);
    return wanted.empty() ? names.front() : wanted;
}

Result<void> check_one_table(const Net& net, const std::vector<Net>& nets) {
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    for (const auto& other : nets)
        if (const auto twin = parse_cidr(other.cidr); other.name != net.name && twin && overlap(cidr, *twin))
            return fail_hint(Kind::kConflict, std::format("network '{}' has addresses of network '{}' ({}) too, and a host has one routing table: it could not tell their VMs apart", other.name, net.name, net.cidr),
                             "make VMs public in a network with addresses of its own");
    return {};
}

// A port that this host listens on. (Another site's own list is kept to by that site: what it listens on is not opened there.)
Result<void> check_not_ours(const std::vector<PublicPort>& ports) {
    BLANKET_TRY(const auto own, net::listeners("/proc/net"));
    for (const auto& port : ports)
        if (own.contains({static_cast<net::IpProto>(port.proto), port.port}))
            return fail_hint(Kind::kConflict, std::format("{}: this host listens on that port itself", to_text(port)), "choose another public port, as in --port tcp:8080:80; who listens: ss -lntup");
    return {};
}

Result<std::string> reserve_address(App& app, const Net& net, const std::string& site, std::vector<VmRecord> vms) {
    for (int attempt = 0; attempt < kAddressTries; ++attempt) {
        BLANKET_TRY(const std::string ip, allocate_anchor_ip(net, vms));
        const auto taken = app.registry.put(address_key(net.name, ip), {{"anchor", site}}, 0);
        if (taken) return ip;
        if (taken.error().kind != Kind::kConflict) return std::unexpected(taken.error());
        VmRecord other;
        other.nics.push_back({net.name, {}, ip});
        vms.push_back(std::move(other));
    }
    return fail_hint(Kind::kConflict, std::format("no free address in network '{}' after {} tries", net.name, kAddressTries), "try again");
}

void release(App& app, const std::string& net, const std::vector<std::string>& addresses) {
    for (const auto& ip : addresses)
        if (auto freed = app.registry.remove(address_key(net, ip)); !freed) log::warning("net", "address {} of network '{}' stays reserved: {}", ip, net, freed.error().what);
}

Result<Net> take_away(App& app, const std::string& net, const std::string& uuid, const std::string& site, const std::vector<PublicPort>& ports) {
    std::vector<std::string> addresses;
    BLANKET_TRY(Net changed, change_net(app, net, [&](Net& record) -> Result<void> {
        BLANKET_TRY(addresses, remove_public(record, uuid, site, ports));
        return {};
    }));
    release(app, net, addresses);
    return changed;
}

}  // namespace

std::string address_key(const std::string& net, const std::string& ip) { return std::format("ips/{}/{}", net, ip); }

Result<Json> expose_vm(App& app, const std::string& name, const Json& body, bool dry_run) {
    BLANKET_CHECK(check_name(name, "VM"));
    BLANKET_CHECK(app.world.refresh());
    BLANKET_TRY(const auto found, app.world.vm(name));
    const VmRecord& vm = found.value;
    BLANKET_TRY(const Wish wish, parse_wish(body, vm.uuid));
    if (wish.ports.empty()) return fail_hint(Kind::kInvalid, "nothing is made public but the ports that are named", std::format("blanket net expose {} --public --port tcp:80", vm.name));
    if (vm.phase == Phase::kDeleting) return fail_hint(Kind::kConflict, std::format("VM '{}' is being deleted", vm.name), "blanket vm list");
    BLANKET_TRY(const Site site, app.world.site(wish.at.empty() ? vm.owner : wish.at));
    if (site.role == "witness" || site.index == 0)
        return fail_hint(Kind::kInvalid, std::format("'{}' is no site with a network of VMs", site.name), "name another one with --at: blanket site list");
    BLANKET_TRY(const std::string net_name, net_for(vm, wish.net));
    BLANKET_TRY(const Records before, read_records(app));
    const auto net = std::ranges::find(before.nets, net_name, &Net::name);
    if (net == before.nets.end()) return fail_hint(Kind::kNotFound, std::format("network '{}' has been deleted meanwhile", net_name), "blanket net list shows all");
    BLANKET_CHECK(check_open(*net));
    BLANKET_CHECK(check_one_table(*net, before.nets));
    BLANKET_CHECK(check_free(wish.ports, site.name, before.nets, before.vms));
    if (site.name == app.site) BLANKET_CHECK(check_not_ours(wish.ports));
    const auto anchor = std::ranges::find(net->anchors, site.name, &Anchor::site);
    if (dry_run) {
        Json steps = Json::array();
        if (anchor == net->anchors.end()) steps.push_back(std::format("reserve an address in network '{}' ({}) for what comes from outside at '{}'", net->name, net->cidr, site.name));
        for (const auto& port : wish.ports) steps.push_back(std::format("record that {} of {} (site '{}') leads to VM '{}'", to_text(port), site.address, site.name, vm.name));
        steps.push_back(std::format("site '{}' forwards these ports, and nothing else; every site with VMs of network '{}' sends their answers back there", site.name, net->name));
        return Json{{"steps", std::move(steps)}};
    }
    std::string ip = anchor == net->anchors.end() ? std::string() : anchor->ip, reserved;
    if (ip.empty()) {
        BLANKET_TRY(reserved, reserve_address(app, *net, site.name, before.vms));
        ip = reserved;
    }
    const auto changed = change_net(app, net_name, [&](Net& record) { return add_public(record, site.name, ip, wish.ports); });
    const auto stays = [&] { return changed && std::ranges::any_of(changed->anchors, [&](const Anchor& one) { return one.ip == reserved; }); };
    if (!reserved.empty() && !stays()) release(app, net_name, {reserved});  // refused, or somebody else made the anchor
    if (!changed) return std::unexpected(changed.error());

    const auto recheck = [&]() -> Result<void> {
        BLANKET_TRY(Records after, read_records(app));
        if (std::ranges::find(after.vms, vm.uuid, &VmRecord::uuid) == after.vms.end()) return fail_hint(Kind::kConflict, std::format("VM '{}' has been deleted meanwhile", vm.name), "blanket vm list");
        std::erase_if(after.nets, [&](const Net& one) { return one.name == net_name; });
        BLANKET_CHECK(check_one_table(*changed, after.nets));
        return check_free(wish.ports, site.name, after.nets, after.vms);
    };
    if (auto still = recheck(); !still) {
        if (auto back = take_away(app, net_name, vm.uuid, site.name, wish.ports); !back && back.error().kind != Kind::kNotFound) still.error().what += std::format("; and it stays recorded: {}", back.error().what);
        return std::unexpected(std::move(still).error());
    }
    app.events.add("net", net_name, std::format("{} of site '{}' leads to VM '{}'", ports_text(wish.ports), site.name, vm.name));
    const auto made = std::ranges::find(changed->anchors, site.name, &Anchor::site);
    return Json{{"net", net_name}, {"vm", vm.name}, {"site", site.name}, {"address", site.address}, {"ip", made == changed->anchors.end() ? ip : made->ip}, {"ports", ports_text(wish.ports)}};
}

Result<Json> unexpose_vm(App& app, const std::string& name, const Json& body, bool dry_run) {
    BLANKET_CHECK(check_name(name, "VM"));
    BLANKET_CHECK(app.world.refresh());
    BLANKET_TRY(const auto found, app.world.vm(name));
    const VmRecord& vm = found.value;
    BLANKET_TRY(const Wish wish, parse_wish(body, vm.uuid));
    BLANKET_TRY(const Records now, read_records(app));
    Json steps = Json::array();
    std::vector<std::string> nets;
    for (Net net : now.nets)
        if (const bool meant = wish.net.empty() || net.name == wish.net; meant && remove_public(net, vm.uuid, wish.at, wish.ports)) {
            nets.push_back(net.name);
            steps.push_back(std::format("take it out of the record of network '{}': connections to it end", net.name));
        }
    if (nets.empty())
        return fail_hint(Kind::kNotFound, std::format("VM '{}' has {}{} that is public", vm.name, wish.ports.empty() ? "nothing" : "no " + ports_text(wish.ports), wish.at.empty() ? "" : " at '" + wish.at + "'"),
                         vm.nics.empty() ? "blanket net list" : "blanket net show " + vm.nics.front().net);
    if (dry_run) return Json{{"steps", std::move(steps)}};
    for (const auto& net : nets) {
        BLANKET_CHECK(take_away(app, net, vm.uuid, wish.at, wish.ports));
        app.events.add("net", net, wish.ports.empty() ? std::format("VM '{}' is public no more", vm.name) : std::format("{} of VM '{}' is public no more", ports_text(wish.ports), vm.name));
    }
    return Json{{"vm", vm.name}, {"nets", nets}};
}

Result<void> forget_public(App& app, const std::string& uuid) {
    BLANKET_TRY(const Records now, read_records(app));
    for (Net net : now.nets) {
        if (!remove_public(net, uuid, {}, {})) continue;
        const auto gone = take_away(app, net.name, uuid, {}, {});
        if (!gone && gone.error().kind != Kind::kNotFound && !net.deleting) return std::unexpected(gone.error());
    }
    return {};
}

}  // namespace blanket
