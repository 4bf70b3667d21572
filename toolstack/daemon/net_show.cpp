// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket net show`: a network's record, and who is in it.
#include <algorithm>

#include "net/path_mtu.hpp"
#include "toolstack/daemon/api_vms.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {

Result<Json> show_net(App& app, const std::string& name) {
    BLANKET_CHECK(app.world.refresh());
    BLANKET_TRY(const Net net, app.world.net(name));
    BLANKET_TRY(const auto domains, app.hypervisor.list());
    struct Card {
        std::uint32_t ip = 0;
        Json json;
    };
    std::vector<Card> cards;
    const Snapshot now = app.world.snapshot();
    for (const auto& [vm, revision] : now.vms)
        for (const auto& nic : vm.nics) {
            if (nic.net != name) continue;
            const Json view = vm_view(vm, domains, app.site);
            cards.push_back({parse_ipv4(nic.ip).value_or(0), {{"name", vm.name}, {"uuid", vm.uuid}, {"ip", nic.ip}, {"mac", nic.mac}, {"site", vm.owner}, {"state", view["state"]}}});
        }
    std::ranges::stable_sort(cards, {}, &Card::ip);
    Json value = to_json(net);
    value["state"] = net.deleting ? "being deleted" : "active";
    std::vector<VmRecord> vms;
    std::vector<Site> sites;
    for (const auto& [vm, revision] : now.vms) vms.push_back(vm);
    for (const auto& [site, revision] : now.sites) sites.push_back(site);
    const auto offered = net::offered_mtu(net, vms, sites);
    value["guest_mtu"] = {{"mtu", offered.mtu}, {"why", offered.why}};
    const auto here = app.overlay.check_net(net);
    value["trouble"] = here ? std::string() : here.error().what;
    value["public"] = Json::array();
    for (const auto& anchor : net.anchors) {
        const auto site = std::ranges::find(sites, anchor.site, &Site::name);
        for (const auto& port : anchor.ports) {
            const auto vm = std::ranges::find(vms, port.vm, &VmRecord::uuid);
            value["public"].push_back({{"site", anchor.site}, {"address", site == sites.end() ? std::string() : site->address}, {"proto", port.proto == RuleProto::kUdp ? "udp" : "tcp"}, {"port", port.port},
                                       {"vm", vm == vms.end() ? port.vm : vm->name}, {"to", port.to}});
        }
    }
    value["vms"] = Json::array();
    for (auto& card : cards) value["vms"].push_back(std::move(card.json));
    return value;
}

}  // namespace blanket
