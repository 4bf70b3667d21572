// SPDX-License-Identifier: GPL-2.0-or-later
// blanket site token|join|list|show|rotate-key|revoke.
#include <algorithm>
#include <array>
#include <unistd.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_token(Context& context, const Invocation& call) {
    BLANKET_TRY(const auto ttl, parse_duration(call.option("ttl"), "time to live"));
    const bool witness = call.has("witness");
    BLANKET_TRY(const Json reply, context.client.call({.method = "POST",
                                                       .path = context.dry_run ? "/1.0/tokens?dry_run=1" : "/1.0/tokens",
                                                       .body = {{"role", witness ? "witness" : "site"}, {"name", call.option("name")}, {"ttl_s", ttl}}}));
    if (context.dry_run) {
        show(context, reply, steps_text);
        return 0;
    }
    BLANKET_TRY(const std::string token, json_string(reply, "token"));
    show(context, reply, [&](const Json&) { return printable(token) + "\n"; });
    const std::string where = witness ? "on the machine that is to be the witness, run: blanket-witness join - --dir DIR --address ITS-ADDRESS\n" : "on the new site, run: blanket site join -\n";
    context.note(std::format("This token is a secret, and good for one {} during {}.\n{}and give it this line on standard input.\n", witness ? "witness" : "site",
                             call.option("ttl"), where));
    return 0;
}

// "-" reads the token from standard input: there it is in nobody's process list.
Result<std::string> read_token(const std::string& given) {
    if (given != "-") return given;
    std::array<std::byte, 8192> buffer;
    std::string text;
    for (;;) {
        BLANKET_TRY(const std::size_t got, read_some(STDIN_FILENO, buffer));
        if (got == 0) break;
        text.append(reinterpret_cast<const char*>(buffer.data()), got);
        if (text.contains('\n')) break;
        if (text.size() > 64u << 10) return fail_hint(Kind::kInvalid, "the token on standard input is longer than 64 KiB", "give the one line that blanket site token printed");
    }
    return std::string(trim(std::string_view(text).substr(0, text.find('\n'))));
}

Result<int> run_join(Context& context, const Invocation& call) {
    BLANKET_TRY(const std::string token, read_token(call.arg(0)));
    if (!token.starts_with("blanket1."))
        return fail_hint(Kind::kInvalid, "this is not a token: it does not begin with 'blanket1.'", "on a site of the federation, run: blanket site token");
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/join", .body = {{"token", token}}}});
}

std::string revoked_text(const Json& reply) {
    const auto at = reply.find("revoked");
    if (at == reply.end() || !at->is_object()) return {};
    const Json& done = *at;
    std::string text = std::format("site '{}' is cut off: {} sites confirmed it within {} ms\n", printable(json_string_or(done, "site", "?")),
                                   done.contains("confirmed") ? done["confirmed"].size() : 0, json_number_or(done, "ms", 0));
    if (const auto open = done.find("open"); open != done.end() && open->is_array())
        for (const auto& one : *open)
            text += std::format("not told yet: {}: {}; it hears of it from the registry\n", printable(json_string_or(one, "site", "?")), printable(json_string_or(one, "why", "")));
    if (!json_bool_or(done, "recorded", true)) text += "the registry did not answer: this site writes it there as soon as it does\n";
    const auto members = done.find("unclaimed");
    const bool seen = members != done.end() && members->is_array();
    if (!json_bool_or(done, "member_removed", true)) text += seen && members->empty() ? "no member of etcd went with it: it had no vote, or was removed before\n" : "no member of etcd went with it\n";
    if (!seen) text += "whether a member of etcd is still its, could not be seen: blanket federation show\n";
    else
        for (const auto& one : *members) text += std::format("the member of etcd '{}' is no site's: run this again, then look at blanket federation show\n", printable(one.is_string() ? one.get<std::string>() : "?"));
    return text;
}

Result<int> run_site_revoke(Context& context, const Invocation& call) {
    BLANKET_CHECK(check_name(call.arg(0), "site"));
    return mutate(context, {.request = {.method = "POST", .path = std::format("/1.0/sites/{}/revoke", percent_encode(call.arg(0))), .body = {{"unknown", call.has("unknown")}}}, .table = revoked_text});
}

Result<int> run_rotate_key(Context& context, const Invocation&) {
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/site/rotate-key", .body = Json::object()}, .table = [](const Json& reply) {
                                const Json done = reply.value("rotated", Json::object());
                                return std::format("site '{}' has a new WireGuard key: {}\n", printable(json_string_or(done, "site", "?")), printable(json_string_or(done, "key", "?")));
                            }});
}

Result<int> run_site_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/sites"));
    show(context, reply, [&](const Json& value) { return format_table(site_table(value), context.terminal); });
    return 0;
}

Result<int> run_site_show(Context& context, const Invocation& call) {
    std::string name;
    if (!call.args.empty()) name = call.arg(0);
    else {
        BLANKET_TRY(const Json here, context.client.get("/1.0"));
        BLANKET_TRY(name, json_string(here, "site"));
    }
    BLANKET_TRY(const Json reply, context.client.get("/1.0/sites"));
    const auto sites = reply.find("sites");
    if (sites != reply.end())
        for (const auto& site : *sites)
            if (json_string_or(site, "name", "") == name) {
                show(context, site, [](const Json& value) { return format_fields(site_fields(value)); });
                return 0;
            }
    return fail_hint(Kind::kNotFound, std::format("there is no site '{}'", name), "blanket site list shows all");
}

}  // namespace

std::vector<VerbSpec> site_verbs() {
    return {{.noun = "site",
             .verb = "token",
             .summary = "make a token with which one new site joins",
             .details = "Prints a token on standard output, and nothing else. It is a secret, works once, and only until its time to live has passed. Give it to `blanket site join` on the "
                        "new site. With --witness it is for a witness: a small process on any Linux machine that gives the registry its third vote.",
             .action = "make a token",
             .options = {{.name = "name", .value = "N", .help = "the name that the newcomer gets; without it, it keeps its own"},
                         {.name = "ttl", .value = "TIME", .help = "how long the token is good: a number with s, m, h or d", .fallback = "1h"},
                         {.name = "witness", .help = "for a witness instead of a site"}},
             .mutates = true,
             .example = "blanket site token --name west --ttl 30m",
             .run = run_token},
            {.noun = "site",
             .verb = "join",
             .summary = "join the federation that made the token",
             .details = "Makes this host a site of the federation: gets its certificates, joins the registry and the overlay network. A host with VMs of its own cannot join.",
             .action = "join the federation",
             .args = {{"TOKEN", "what `blanket site token` printed, or - to read it from standard input"}},
             .mutates = true,
             .job = true,
             .example = "blanket site join - < token",
             .run = run_join},
            {.noun = "site",
             .verb = "list",
             .summary = "list the sites",
             .details = "Lists the sites of the federation with their address and role.",
             .action = "list the sites",
             .example = "blanket site list",
             .run = run_site_list},
            {.noun = "site",
             .verb = "show",
             .summary = "show one site",
             .details = "Shows the record of a site, its provider among it; without a name, of this one. Of this site also what drives its uplinks; of another one, ask there.",
             .action = "show site {NAME}",
             .args = {{"NAME", "the site", ArgKind::kSite, false}},
             .example = "blanket site show west",
             .run = run_site_show},
            {.noun = "site",
             .verb = "rotate-key",
             .summary = "replace this site's WireGuard key",
             .details = "Makes a new key for the tunnels to the other sites, which take it from this site's record. Connections go on: what this site sends waits until the others know "
                        "the key, and what they send is read meanwhile. Needs the registry; without it the old key stays.",
             .action = "replace this site's WireGuard key",
             .mutates = true,
             .example = "blanket site rotate-key",
             .run = run_rotate_key},
            {.noun = "site",
             .verb = "revoke",
             .summary = "cut off a lost or stolen site, for good",
             .details = "Refuses the site's certificates and its WireGuard key at every site, ends what is connected to it, and removes its vote. Unused tokens are removed. Its VMs' records "
                        "stay: take them over with `blanket vm recover`. Its name is never given again. Nothing takes this back. Refused while the voters that are left would be no quorum, and "
                        "for the site that holds the key of the federation's CA.",
             .action = "revoke site {NAME}",
             .args = {{"NAME", "the site", ArgKind::kSite}},
             .options = {{.name = "unknown", .help = "this site has never seen it: no record, no member of etcd, as it removed them itself"}},
             .mutates = true,
             .example = "blanket site revoke west",
             .run = run_site_revoke}};
}

}  // namespace blanket::cli
