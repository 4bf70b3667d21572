// SPDX-License-Identifier: GPL-2.0-or-later
// blanket uplink list|stat.
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_uplink_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/uplinks"));
    show(context, reply, [&](const Json& value) { return format_table(uplink_table(value), context.terminal); });
    return 0;
}

Result<int> run_stat(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/uplinks"));
    show(context, reply, [&](const Json& value) {
        std::string text = format_table(uplink_stat_table(value), context.terminal);
        if (const auto bus = uplink_bus_fields(value); !bus.empty()) text += "\n" + format_fields(bus);
        return text;
    });
    return 0;
}

}  // namespace

std::vector<VerbSpec> uplink_verbs() {
    return {{.noun = "uplink",
             .verb = "list",
             .summary = "list the provider's disks and network cards",
             .details = "Lists the disks and network cards that the provider gave this host, what drives each, and whether that is a good way: paravirtual (made for virtual machines), "
                        "native (a device's own driver) or emulated (slow). Where there is a better one, the last column says how to get it.",
             .action = "list the uplinks",
             .example = "blanket uplink list",
             .run = run_uplink_list},
            {.noun = "uplink",
             .verb = "stat",
             .summary = "show what went through each uplink",
             .details = "Shows bytes and requests of each disk and network card since it came. Inside a provider's Xen also the event ports, grants and events of the uplink modules.",
             .action = "show the uplinks' counters",
             .example = "blanket uplink stat -o json",
             .run = run_stat}};
}

}  // namespace blanket::cli
