// SPDX-License-Identifier: GPL-2.0-or-later
// blanket net create|list.
#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_net_create(Context& context, const Invocation& call) {
    BLANKET_CHECK(check_name(call.arg(0), "net"));
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/nets", .body = {{"name", call.arg(0)}, {"cidr", call.option("cidr")}}}});
}

Result<int> run_net_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/nets"));
    show(context, reply, [&](const Json& value) { return format_table(net_table(value), context.terminal); });
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
             .options = {{.name = "cidr", .value = "CIDR", .help = "the IPv4 range, as in 10.1.0.0/24", .required = true}},
             .mutates = true,
             .job = true,
             .example = "blanket net create lan --cidr 10.1.0.0/24",
             .run = run_net_create},
            {.noun = "net",
             .verb = "list",
             .summary = "list the networks",
             .details = "Lists the networks with their range, gateway, network identifier and the MTU that guests get.",
             .action = "list the networks",
             .example = "blanket net list",
             .run = run_net_list}};
}

}  // namespace blanket::cli
