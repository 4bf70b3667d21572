// SPDX-License-Identifier: GPL-2.0-or-later
// blanket net create|list|show|delete|expose|unexpose|trace.
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

Json public_body(const Invocation& call) {
    Json body = Json::object();
    if (call.has("port")) body["ports"] = split(call.option("port"), ',');
    for (const char* option : {"at", "net"})
        if (call.has(option)) body[option] = call.option(option);
    return body;
}

Result<int> run_net_expose(Context& context, const Invocation& call) {
    if (!call.has("public")) return fail_hint(Kind::kInvalid, "to whom it is to be open must be said", std::format("blanket net expose {} --public --port tcp:80", call.arg(0)));
    if (!call.has("port")) return fail_hint(Kind::kInvalid, "nothing is made public but the ports that are named", std::format("blanket net expose {} --public --port tcp:80", call.arg(0)));
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/vms/" + percent_encode(call.arg(0)) + "/expose", .body = public_body(call)}});
}

Result<int> run_net_unexpose(Context& context, const Invocation& call) {
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/vms/" + percent_encode(call.arg(0)) + "/unexpose", .body = public_body(call)}});
}

Result<int> run_net_trace(Context& context, const Invocation& call) {
    if (call.has("to") == call.has("public")) return fail_hint(Kind::kInvalid, "a trace needs one of --to and --public", std::format("blanket net trace {0} --to IP, or: blanket net trace {0} --public tcp:80", call.arg(0)));
    if (call.has("public")) {
        std::string path = std::format("/1.0/trace?from={}&public={}", percent_encode(call.arg(0)), percent_encode(call.option("public")));
        if (call.has("at")) path += "&at=" + percent_encode(call.option("at"));
        BLANKET_TRY(const Json reply, context.client.get(path));
        show(context, reply, [&](const Json& value) { return trace_text(value, context.terminal); });
        return 0;
    }
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
             .details = "Shows the network's range, gateway and identifier, the MTU that its guests are offered and why, its security groups, what of it is public, and its VMs with address, MAC, site and state.",
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
             .verb = "expose",
             .summary = "let the outside world reach ports of a VM",
             .details = "Connections to the named ports of a site's machine are brought to the VM, wherever it runs, and its answers go back the same way: they come from the same address outside, so "
                        "that connections live on when the VM moves. Nothing else is opened. The VM sees them come from an address of its own network, which `net show` tells; its security groups still decide what gets "
                        "in. Ports that the machine itself uses are refused, and so are those above 32767, which its own connections come from. The provider's firewall must let the ports in.",
             .action = "expose {VM}",
             .args = {{"VM", "the VM", ArgKind::kVm}},
             .options = {{.name = "public", .help = "to everybody who reaches the site's machine; must be given"},
                         {.name = "port", .value = "PORTS", .help = "tcp:80 or udp:53, several with commas; tcp:8080:80 leads from the machine's port 8080 to the VM's port 80; must be given"},
                         {.name = "at", .value = "SITE", .help = "the site whose machine takes the connections; else the one where the VM is now", .kind = ArgKind::kSite},
                         {.name = "net", .value = "NET", .help = "by which network, where the VM has cards in several", .kind = ArgKind::kNet}},
             .mutates = true,
             .example = "blanket net expose web --public --port tcp:80,tcp:8443:443 --at east",
             .run = run_net_expose},
            {.noun = "net",
             .verb = "unexpose",
             .summary = "close ports that expose opened",
             .details = "The ports lead to the VM no more, and connections through them end. Without --port all of its public ports are meant, without --at those at every site.",
             .action = "unexpose {VM}",
             .args = {{"VM", "the VM", ArgKind::kVm}},
             .options = {{.name = "port", .value = "PORTS", .help = "only these, as in tcp:80,udp:53"},
                         {.name = "at", .value = "SITE", .help = "only at that site", .kind = ArgKind::kSite},
                         {.name = "net", .value = "NET", .help = "only by that network", .kind = ArgKind::kNet}},
             .mutates = true,
             .example = "blanket net unexpose web --port tcp:80",
             .run = run_net_unexpose},
            {.noun = "net",
             .verb = "trace",
             .summary = "explain hop by hop what happens to a packet of a VM",
             .details = "Walks a packet, and the answer to it, through the flow tables of each site that it passes, and says at each table which entry takes it and what comes of it; of a packet "
                        "that is dropped, why, and the next step. Nothing is sent. At this site each entry is compared with what Open vSwitch really has (IN SWITCH: yes, missing, differs), and "
                        "every difference between plan and switch is named; at the other sites it is what they make of the same records. Ask at the site where the VM runs.",
             .action = "trace a packet of {VM}",
             .args = {{"VM", "the VM that sends it: its name or address", ArgKind::kVm}},
             .options = {{.name = "to", .value = "IP", .help = "where to: an address, or a VM of the same network"},
                         {.name = "proto", .value = "PROTO", .help = "icmp, tcp (a connection's first packet) or udp", .fallback = "icmp"},
                         {.name = "port", .value = "N", .help = "the port that tcp or udp goes to"},
                         {.name = "public", .value = "PORT", .help = "instead: a connection from outside to its public port, as in tcp:80, and the answer"},
                         {.name = "at", .value = "SITE", .help = "with --public: at that site", .kind = ArgKind::kSite}},
             .example = "blanket net trace web --to 10.1.0.3 --proto tcp --port 443",
             .run = run_net_trace}};
}

}  // namespace blanket::cli
