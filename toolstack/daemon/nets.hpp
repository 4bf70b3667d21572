// SPDX-License-Identifier: GPL-2.0-or-later
// Creating, changing, showing and deleting a network: one record; every site that runs a VM of it builds it from that.
#pragma once

#include "toolstack/daemon/app.hpp"

namespace blanket {

Result<Json> create_net(App& app, const Json& body, bool dry_run);  // {name, cidr, same_addresses} -> the record

// Whether this site can serve all networks of a VM (Overlay::check_net). One whose record is not here yet is not judged.
Result<void> check_nets_here(App& app, const VmRecord& vm);

// Why this site cannot serve networks (Overlay::check_nets): those of VMs that it owns or that come here, and all others.
struct UnservedNets {
    std::vector<std::string> used, unused;
};
UnservedNets unserved_nets(App& app);

// Reads the record, lets `edit` change it (it may refuse), writes it by compare-and-swap; again when somebody was faster. Returns what was written.
// kConflict while the network is being deleted.
Result<Net> change_net(App& app, const std::string& name, const std::function<Result<void>(Net&)>& edit);

// The record with `state`, `guest_mtu` {"mtu","why"}, `trouble` (why this site cannot serve it; "": it can), `public` [{"site","address","proto","port","vm","to"}] and `vms` [{"name","uuid","ip","mac","site","state"}]: one entry for each card in it, by address.
Result<Json> show_net(App& app, const std::string& name);

// The key that reserves an address of a network.
std::string address_key(const std::string& net, const std::string& ip);

// What the outside world reaches of a VM (core/exposures.hpp). {"vm","ports":["tcp:8080:80"],"at","net"}: `at` defaults to the VM's site, `net` to its only card's.
// -> {"net","vm","site","address","ip","ports"}. kNotFound, kInvalid for ports of the host, kConflict for ports that are taken at that site.
Result<Json> expose_vm(App& app, const std::string& name, const Json& body, bool dry_run);
// {"ports","at"}: those ports (all when empty) of that site (every one when empty). kNotFound when nothing of it is public there.
Result<Json> unexpose_vm(App& app, const std::string& name, const Json& body, bool dry_run);
// Of a VM that is being deleted.
Result<void> forget_public(App& app, const std::string& uuid);

// The record goes, with its security groups; every site then takes its part away. kConflict while a VM has a card in it, or a job (here, or at a site that
// answers) brings one; a VM that is created at the same moment is refused, or refuses the deletion (net_delete.cpp). -> {"net"}, or the steps.
Result<Json> delete_net(App& app, const std::string& name, bool dry_run);

}  // namespace blanket
