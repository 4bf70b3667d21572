// SPDX-License-Identifier: GPL-2.0-or-later
// See nets.hpp.
#include "toolstack/daemon/nets.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {
namespace {

constexpr int kNetTries = 8;

template <typename T>
std::vector<T> values_of(const std::vector<Versioned<T>>& list) {
    std::vector<T> out;
    for (const auto& item : list) out.push_back(item.value);
    return out;
}

// VMs that were deleted leave their groups, and what was public of them, at the next change of the network: their ids never come again.
void forget_deleted(Net& net, const std::vector<Gone>& gone) {
    for (auto& anchor : net.anchors)
        std::erase_if(anchor.ports, [&](const PublicPort& port) { return std::ranges::find(gone, port.vm, &Gone::uuid) != gone.end(); });
    for (auto& group : net.groups)
        std::erase_if(group.vms, [&](const std::string& uuid) { return std::ranges::find(gone, uuid, &Gone::uuid) != gone.end(); });
}

}  // namespace

Result<Json> create_net(App& app, const Json& body, bool dry_run) {
    Net net;
    BLANKET_TRY(net.name, json_string(body, "name"));
    BLANKET_CHECK(check_name(net.name, "network"));
    BLANKET_TRY(net.cidr, json_string(body, "cidr"));
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    net.gateway = format_ipv4(cidr.base + 1);
    BLANKET_CHECK(app.world.refresh());
    const Snapshot now = app.world.snapshot();
    if (app.world.net(net.name))
        return fail_hint(Kind::kConflict, std::format("a network '{}' exists already", net.name), "choose another name: blanket net list");
    const bool same_addresses = json_bool_or(body, "same_addresses", false);
    BLANKET_CHECK(check_new_net(net, values_of(now.nets), values_of(now.sites), same_addresses));
    if (dry_run)
        return Json{{"steps", {std::format("take a free network number and record network '{}' ({}, gateway {}, MTU {})", net.name, net.cidr, net.gateway, net.mtu)}}};
    BLANKET_TRY(const std::uint64_t vni, next_number(app.registry, "vni"));
    if (vni > 0xffffff) return fail(Kind::kConflict, "all {} network numbers are taken", 0xffffff);
    net.vni = static_cast<std::uint32_t>(vni);
    BLANKET_CHECK(app.registry.put("nets/" + net.name, to_json(net), 0));
    // Of two who wrote at the same time at least one sees the other's here, and takes his own back.
    const auto recheck = [&]() -> Result<void> {
        BLANKET_TRY(const Snapshot after, app.registry.snapshot());
        auto others = values_of(after.nets);
        std::erase_if(others, [&](const Net& one) { return one.name == net.name; });
        return check_new_net(net, others, values_of(after.sites), same_addresses);
    };
    if (auto still = recheck(); !still) {
        if (const auto back = delete_net(app, net.name, false); !back && back.error().kind != Kind::kNotFound) still.error().what += std::format("; and it stays recorded: {}", back.error().what);
        return std::unexpected(std::move(still).error());
    }
    (void)app.world.refresh();
    return to_json(net);
}

Result<void> check_nets_here(App& app, const VmRecord& vm) {
    for (const auto& nic : vm.nics)
        if (const auto net = app.world.net(nic.net)) BLANKET_CHECK(app.overlay.check_net(*net));
    return {};
}

UnservedNets unserved_nets(App& app) {
    const Snapshot now = app.world.snapshot();
    const auto nets = values_of(now.nets);
    const auto served = app.overlay.check_nets(nets);
    UnservedNets out;
    for (std::size_t i = 0; i < nets.size(); ++i) {
        if (served[i]) continue;
        const bool used = std::ranges::any_of(now.vms, [&](const Versioned<VmRecord>& vm) {
            return (vm.value.owner == app.site || (vm.value.migration && vm.value.migration->target == app.site)) && std::ranges::contains(vm.value.nics, nets[i].name, &Nic::net);
        });
        if (used) out.used.push_back(served[i].error().what);
        else if (served[i].error().kind == Kind::kPrecondition) out.unused.push_back(served[i].error().what);  // not that `ip` failed, once for each
    }
    return out;
}

Result<Net> change_net(App& app, const std::string& name, const std::function<Result<void>(Net&)>& edit) {
    BLANKET_CHECK(check_name(name, "network"));
    for (int attempt = 0;; ++attempt) {
        BLANKET_TRY(const auto stored, app.registry.get("nets/" + name));
        if (!stored) {
            BLANKET_CHECK(app.world.refresh());
            BLANKET_CHECK(app.world.net(name));  // an error that says what there is
            return fail(Kind::kNotFound, "network '{}' has just been removed", name);
        }
        BLANKET_TRY(Net net, parse_net(stored->value));
        BLANKET_CHECK(check_open(net));
        forget_deleted(net, app.world.snapshot().gone);
        BLANKET_CHECK(edit(net));
        const auto put = app.registry.put("nets/" + name, to_json(net), stored->revision);
        if (put) {
            (void)app.world.refresh();
            return net;
        }
        if (put.error().kind != Kind::kConflict || attempt + 1 == kNetTries) return std::unexpected(put.error());
    }
}

}  // namespace blanket
