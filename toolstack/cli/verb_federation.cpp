// SPDX-License-Identifier: GPL-2.0-or-later
// blanket federation init|show.
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_init(Context& context, const Invocation& call) {
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/federation", .body = {{"name", call.arg(0)}}},
                            .table = [&](const Json& reply) { return federation_text(reply, context.terminal); }});
}

Result<int> run_federation_show(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/federation"));
    show(context, reply, [&](const Json& value) { return federation_text(value, context.terminal); });
    return 0;
}

}  // namespace

std::vector<VerbSpec> federation_verbs() {
    return {{.noun = "federation",
             .verb = "init",
             .summary = "found a federation with this site as its first",
             .details = "Gives the federation its name and makes this site its first voter. Other sites join it with a token of `blanket site token`.",
             .action = "found the federation {NAME}",
             .args = {{"NAME", "the federation's name"}},
             .mutates = true,
             .job = true,
             .example = "blanket federation init mycloud",
             .run = run_init},
            {.noun = "federation",
             .verb = "show",
             .summary = "show the federation, its sites and the health of its voters",
             .details = "Shows the federation's name and id, its sites, and the members of the registry with their role and health.",
             .action = "show the federation",
             .example = "blanket federation show --output yaml",
             .run = run_federation_show}};
}

}  // namespace blanket::cli
