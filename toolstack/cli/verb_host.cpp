// SPDX-License-Identifier: GPL-2.0-or-later
// blanket host drain.
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_drain(Context& context, const Invocation& call) {
    // --dry-run plans before it answers, and each site that does not answer may cost a minute.
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/drain", .body = {{"to", call.option("to")}}, .deadline = std::chrono::minutes(3)}});
}

}  // namespace

std::vector<VerbSpec> host_verbs() {
    return {{.noun = "host",
             .verb = "drain",
             .summary = "move every running VM of this host to other sites",
             .details = "Moves the VMs that run here, one after another and live, the largest first: before an update or a reboot of this host. Each site is asked first; if one VM cannot move, the "
                        "reasons are told and nothing is moved. Without --to each VM goes to a site that has room, the one that gets least first. VMs that are stopped stay. Nothing keeps new VMs "
                        "from being started here meanwhile.",
             .action = "drain this host",
             .options = {{.name = "to", .value = "SITE", .help = "where all of them are to go; otherwise to any site that fits", .kind = ArgKind::kSite}},
             .mutates = true,
             .job = true,
             .example = "blanket host drain --to west",
             .run = run_drain}};
}

}  // namespace blanket::cli
