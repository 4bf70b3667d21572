// SPDX-License-Identifier: GPL-2.0-or-later
// See nets.hpp.
#include "toolstack/daemon/nets.hpp"

#include "toolstack/base/text.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {

Result<Json> create_net(App& app, const Json& body, bool dry_run) {
    Net net;
    BLANKET_TRY(net.name, json_string(body, "name"));
    BLANKET_CHECK(check_name(net.name, "network"));
    BLANKET_TRY(net.cidr, json_string(body, "cidr"));
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    net.gateway = format_ipv4(cidr.base + 1);
    BLANKET_CHECK(app.world.refresh());
    if (app.world.net(net.name))
        return fail_hint(Kind::kConflict, std::format("a network '{}' exists already", net.name), "choose another name: blanket net list");
    if (dry_run)
        return Json{{"steps", {std::format("take a free network number and record network '{}' ({}, gateway {}, MTU {})", net.name, net.cidr, net.gateway, net.mtu)}}};
    BLANKET_TRY(const std::uint64_t vni, next_number(app.registry, "vni"));
    if (vni > 0xffffff) return fail(Kind::kConflict, "all {} network numbers are taken", 0xffffff);
    net.vni = static_cast<std::uint32_t>(vni);
    BLANKET_CHECK(app.registry.put("nets/" + net.name, to_json(net), 0));
    (void)app.world.refresh();
    return to_json(net);
}

}  // namespace blanket
