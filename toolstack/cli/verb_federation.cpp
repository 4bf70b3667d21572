// SPDX-License-Identifier: GPL-2.0-or-later
// blanket federation init|show|rotate-ca.
#include "toolstack/base/text.hpp"
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

Result<int> run_rotate_ca(Context& context, const Invocation& call) {
    BLANKET_TRY(const auto patience, parse_duration(call.option("patience"), "patience"));
    Json without = Json::array();
    if (const auto given = call.options.find("without"); given != call.options.end())
        for (const auto& site : given->second) {
            BLANKET_CHECK(check_name(site, "site"));
            without.push_back(site);
        }
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/federation/rotate-ca", .body = {{"without", without}, {"patience_s", patience}}}});
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
             .run = run_federation_show},
            {.noun = "federation",
             .verb = "rotate-ca",
             .summary = "replace the CA that signs the sites' certificates",
             .details = "Makes a new CA at the site that holds the old one's key, and brings it to all sites and the witness: first both are trusted, then every site gets a certificate of the "
                        "new one, then the old one is refused. Each step waits until all sites have followed. Connections, moves and VMs go on. What a failure or a restart breaks off goes "
                        "on when this is run again.",
             .action = "replace the federation's CA",
             .options = {{.name = "without", .value = "SITE", .help = "do not wait for a site that is away: it needs a token of its name to come back", .kind = ArgKind::kSite, .repeats = true},
                         {.name = "patience", .value = "TIME", .help = "how long to wait for a site that does not follow", .fallback = "10m"}},
             .mutates = true,
             .job = true,
             .example = "blanket federation rotate-ca --without west",
             .run = run_rotate_ca}};
}

}  // namespace blanket::cli
