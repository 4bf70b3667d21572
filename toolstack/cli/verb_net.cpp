// SPDX-License-Identifier: GPL-2.0-or-later
// blanket net create|list|show|delete|trace.
#include "toolstack/base/text.hpp"
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_net_create(Context& context, const Invocation& call) {
    BLANKET_CHECK(check_name(call.arg(0), "net"));
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/nets", .body = {{"name", call.arg(0)}, {"cidr", call.option("cidr")}, {"same_addresses", call.has("same-addresses")}}}});
}

Result<int> run_net_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/nets"));
    show(context, reply, [&](const Json& value) { return format_table(net_table(value), context.terminal); });
    return 0;
}

Result<int> run_net_show(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/nets/" + percent_encode(call.arg(0))));
    show(context, reply, [&](const Json& value) { return net_text(value, context.terminal); });
    return 0;
}

Result<int> run_net_delete(Context& context, const Invocation& call) { return mutate(context, {.request = {.method = "DELETE", .path = "/1.0/nets/" + percent_encode(call.arg(0))}}); }

Result<int> run_net_trace(Context& context, const Invocation& call) {
    std::string path = std::format("/1.0/trace?from={}&to={}&proto={}", percent_encode(call.arg(0)), percent_encode(call.option("to")), percent_encode(call.option("proto")));
    if (call.has("port")) path += "&port=" + percent_encode(call.option("port"));
    BLANKET_TRY(const Json reply, context.client.get(path));
    show(context, reply, [&](const Json& value) { return trace_text(value, context.terminal); });
    return 0;
}

}  // namespace

std::vector<VerbSpec> net_verbs() {
    return {{.noun = "net",
             .verb = "create",
             .summary = "create a network that spans all sites",
             .details = "Creates a layer 2 network with the given IPv4 range. Its first address is the gateway; VMs get theirs by DHCP and keep them wherever they move.",
             .action = "create net {NAME}",
             .args = {{"NAME", "the network's name"}},
             .options = {{.name = "cidr", .value = "CIDR", .help = "the IPv4 range, as in 10.1.0.0/24", .required = true},
                         {.name = "same-addresses", .help = "although another network has addresses of that range too: they are isolated, but a host reaches the VMs of only one of the two"}},
             .mutates = true,
             .job = true,
             .example = "blanket net create lan --cidr 10.1.0.0/24",
             .run = run_net_create},
            {.noun = "net",
             .verb = "list",
             .summary = "list the networks",
             .details = "Lists the networks with their range, gateway, network identifier and their own MTU; what guests are offered may be less (`net show`).",
             .action = "list the networks",
             .example = "blanket net list",
             .run = run_net_list},
            {.noun = "net",
             .verb = "show",
             .summary = "show one network and the VMs in it",
             .details = "Shows the network's range, gateway and identifier, the MTU that its guests are offered and why, its security groups, and its VMs with address, MAC, site and state.",
             .action = "show network {NET}",
             .args = {{"NET", "the network", ArgKind::kNet}},
             .example = "blanket net show lan",
             .run = run_net_show},
            {.noun = "net",
             .verb = "delete",
             .summary = "remove a network that no VM uses",
             .details = "Removes the network at all sites, and its security groups with it. Refused while a VM has a card in it, in whatever state, or while a VM is being created or imported into it.",
             .action = "delete network {NET}",
             .args = {{"NET", "the network", ArgKind::kNet}},
             .mutates = true,
             .example = "blanket net delete lan",
             .run = run_net_delete},
            {.noun = "net",
             .verb = "trace",
             .summary = "explain hop by hop what happens to a packet of a VM",
             .details = "Walks a packet, and the answer to it, through the flow tables of each site that it passes, and says at each table which entry takes it and what comes of it; of a packet "
                        "that is dropped, why, and the next step. Nothing is sent. At this site each entry is compared with what Open vSwitch really has (IN SWITCH: yes, missing, differs), and "
                        "every difference between plan and switch is named; at the other sites it is what they make of the same records. Ask at the site where the VM runs.",
             .action = "trace a packet of {VM}",
             .args = {{"VM", "the VM that sends it: its name or address", ArgKind::kVm}},
             .options = {{.name = "to", .value = "IP", .help = "where to: an address, or a VM of the same network", .required = true},
                         {.name = "proto", .value = "PROTO", .help = "icmp, tcp (a connection's first packet) or udp", .fallback = "icmp"},
                         {.name = "port", .value = "N", .help = "the port that tcp or udp goes to"}},
             .example = "blanket net trace web --to 10.1.0.3 --proto tcp --port 443",
             .run = run_net_trace}};
}

}  // namespace blanket::cli
