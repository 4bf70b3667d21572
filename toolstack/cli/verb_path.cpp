// SPDX-License-Identifier: GPL-2.0-or-later
// blanket path list.
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_path_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/paths"));
    show(context, reply, [&](const Json& value) { return format_table(path_table(value), context.terminal) + path_notes(value); });
    return 0;
}

}  // namespace

std::vector<VerbSpec> path_verbs() {
    return {{.noun = "path",
             .verb = "list",
             .summary = "measure the paths to the other sites",
             .details = "Sends a few pings to each other site, which takes some seconds, and shows by which way the tunnel goes (direct: to the site's address; punched: to where its NAT lets us in; via SITE: through "
                        "another site, which passes on what it cannot read; - while nothing is heard) and why not by a better one, round trip and loss through the encrypted tunnel, the largest packet that the path carries, headers "
                        "of the tunnel and all (MTU; searched for in the background, and again every ten minutes; - while nothing is answered), how long ago the two last agreed on keys, and the bytes that went through the tunnel since it was made.",
             .action = "list the paths",
             .example = "blanket path list",
             .run = run_path_list}};
}

}  // namespace blanket::cli
