// SPDX-License-Identifier: GPL-2.0-or-later
// blanket security-group create|list|show|delete|add-rule|remove-rule|attach|detach.
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

std::string groups_path(const Invocation& call) { return "/1.0/nets/" + percent_encode(call.arg(0)) + "/groups"; }
std::string group_path(const Invocation& call) { return groups_path(call) + "/" + percent_encode(call.arg(1)); }

// For people: the record has the VMs' UUIDs, which a name may leave; those of VMs that are there no more stay as they are.
Json with_names(Context& context, Json group) {
    const auto vms = group.find("vms");
    if (vms == group.end() || vms->empty()) return group;
    const auto all = context.client.get("/1.0/vms");
    if (!all || !all->contains("vms")) return group;
    for (auto& uuid : *vms)
        for (const auto& vm : (*all)["vms"])
            if (uuid == vm.value("uuid", Json())) {
                uuid = vm.value("name", Json());
                break;
            }
    return group;
}

std::string answer_text(Context& context, const Json& reply) {
    const auto group = reply.find("group");
    return group == reply.end() || !group->is_object() ? std::format("done: {}\n", context.action) : security_group_text(reply.value("net", Json()), with_names(context, *group), context.terminal);
}

Result<int> change(Context& context, Request request) {
    return mutate(context, {.request = std::move(request), .table = [&context](const Json& reply) { return answer_text(context, reply); }});
}

Result<int> run_group_create(Context& context, const Invocation& call) {
    return change(context, {.method = "POST", .path = groups_path(call), .body = {{"name", call.arg(1)}, {"everybody", call.has("all-vms")}}});
}

Result<int> run_group_delete(Context& context, const Invocation& call) { return change(context, {.method = "DELETE", .path = group_path(call)}); }

Result<int> run_group_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/nets"));
    show(context, reply, [&](const Json& value) { return format_table(security_group_table(value), context.terminal); });
    return 0;
}

Result<int> run_group_show(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/nets"));
    if (const auto nets = reply.find("nets"); nets != reply.end())
        for (const auto& net : *nets) {
            if (json_string_or(net, "name", "") != call.arg(0)) continue;
            if (const auto groups = net.find("groups"); groups != net.end())
                for (const auto& group : *groups)
                    if (json_string_or(group, "name", "") == call.arg(1)) {
                        show(context, group, [&](const Json& value) { return security_group_text(net["name"], with_names(context, value), context.terminal); });
                        return 0;
                    }
        }
    return fail_hint(Kind::kNotFound, std::format("there is no security group '{}' in a network '{}'", call.arg(1), call.arg(0)), "blanket security-group list shows all");
}

Result<int> run_add_rule(Context& context, const Invocation& call) {
    return change(context, {.method = "POST",
                            .path = group_path(call) + "/rules",
                            .body = {{"direction", call.arg(2)}, {"proto", call.option("proto")}, {"ports", call.option("port")}, {"established", call.has("established")},
                                     {"remote", call.option("remote")}, {"remote_group", call.option("remote-group")}}});
}

Result<int> run_remove_rule(Context& context, const Invocation& call) {
    return change(context, {.method = "DELETE", .path = group_path(call) + "/rules/" + percent_encode(call.arg(2))});
}

Result<int> run_attach(Context& context, const Invocation& call) { return change(context, {.method = "POST", .path = group_path(call) + "/vms", .body = {{"vm", call.arg(2)}}}); }

Result<int> run_detach(Context& context, const Invocation& call) { return change(context, {.method = "DELETE", .path = group_path(call) + "/vms/" + percent_encode(call.arg(2))}); }

const ArgSpec kNetArg{"NET", "the network", ArgKind::kNet};
const ArgSpec kGroupArg{"GROUP", "the security group"};
const ArgSpec kVmArg{"VM", "the VM", ArgKind::kVm};

}  // namespace

std::vector<VerbSpec> security_group_verbs() {
    return {{.noun = "security-group",
             .verb = "create",
             .summary = "make a security group in a network",
             .details = "A VM that is in no group sends and gets everything inside its network. A VM in groups sends only what an egress rule of one of them allows, and gets only what an ingress "
                        "rule of one of them allows. Rules have no memory of connections: answers need a rule too. So a new group has two: everything out, and TCP's answers (established) in. "
                        "DHCP, echo of the gateway, and connections from a host to its VMs are not subject to groups.",
             .action = "make security group {GROUP} in {NET}",
             .args = {kNetArg, {"GROUP", "its name"}},
             .options = {{.name = "all-vms", .help = "all VMs of the network are in it, present and future"}},
             .mutates = true,
             .example = "blanket security-group create lan web",
             .run = run_group_create},
            {.noun = "security-group",
             .verb = "list",
             .summary = "list the security groups of all networks",
             .details = "Lists the security groups with their network, and how many rules and VMs each has. With --output json or yaml the networks' records, which hold them.",
             .action = "list the security groups",
             .example = "blanket security-group list",
             .run = run_group_list},
            {.noun = "security-group",
             .verb = "show",
             .summary = "show a security group's rules and VMs",
             .details = "Shows the rules with the numbers that `security-group remove-rule` takes, and the VMs in it (with --output json or yaml: their UUIDs).",
             .action = "show security group {GROUP} of {NET}",
             .args = {kNetArg, kGroupArg},
             .example = "blanket security-group show lan web",
             .run = run_group_show},
            {.noun = "security-group",
             .verb = "delete",
             .summary = "remove a security group",
             .details = "Its VMs stay, under the rules of their other groups; one that is then in no group sends and gets everything inside its network. A group that another one's rule names is kept.",
             .action = "remove security group {GROUP} of {NET}",
             .args = {kNetArg, kGroupArg},
             .mutates = true,
             .example = "blanket security-group delete lan web",
             .run = run_group_delete},
            {.noun = "security-group",
             .verb = "add-rule",
             .summary = "allow something to a security group's VMs",
             .details = "Adds a rule; each only allows, the order does not matter. A port is that of the packet's destination. At most 64 rules in a group. `blanket net trace` shows what "
                        "comes of them.",
             .action = "add a rule to {GROUP} of {NET}",
             .args = {kNetArg, kGroupArg, {"DIRECTION", "ingress (to the VM) or egress (from the VM)"}},
             .options = {{.name = "proto", .value = "PROTO", .help = "any, icmp, tcp or udp", .fallback = "any"},
                         {.name = "port", .value = "N[-M]", .help = "destination port or range of tcp or udp; without it all"},
                         {.name = "remote", .value = "CIDR", .help = "the other end's addresses; without it anybody"},
                         {.name = "remote-group", .value = "GROUP", .help = "or: the other end is in that group of the network"},
                         {.name = "established", .help = "only packets of TCP connections that exist (ACK is set)"}},
             .mutates = true,
             .example = "blanket security-group add-rule lan web ingress --proto tcp --port 80-443",
             .run = run_add_rule},
            {.noun = "security-group",
             .verb = "remove-rule",
             .summary = "remove a rule of a security group",
             .details = "Removes the rule with the number that `security-group show` gives it. What it allowed stops at once, also in connections that exist.",
             .action = "remove rule {NUMBER} of {GROUP} of {NET}",
             .args = {kNetArg, kGroupArg, {"NUMBER", "the rule's number"}},
             .mutates = true,
             .example = "blanket security-group remove-rule lan web 1",
             .run = run_remove_rule},
            {.noun = "security-group",
             .verb = "attach",
             .summary = "put a VM into a security group",
             .details = "From then on the VM sends and gets only what the rules of its groups allow. It stays in the group wherever it moves.",
             .action = "put {VM} into {GROUP} of {NET}",
             .args = {kNetArg, kGroupArg, kVmArg},
             .mutates = true,
             .example = "blanket security-group attach lan web web1",
             .run = run_attach},
            {.noun = "security-group",
             .verb = "detach",
             .summary = "take a VM out of a security group",
             .details = "A VM that is then in no group sends and gets everything inside its network.",
             .action = "take {VM} out of {GROUP} of {NET}",
             .args = {kNetArg, kGroupArg, kVmArg},
             .mutates = true,
             .example = "blanket security-group detach lan web web1",
             .run = run_detach}};
}

}  // namespace blanket::cli
