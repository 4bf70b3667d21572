// SPDX-License-Identifier: GPL-2.0-or-later
// blanket help and blanket completion: both only print what the table of verbs holds.
#include <algorithm>
#include <array>

#include "toolstack/cli/completion.hpp"
#include "toolstack/cli/help.hpp"
#include "toolstack/cli/suggest.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

std::unexpected<Error> unknown(std::string what, const std::string& word, const std::vector<std::string>& candidates, std::string_view prefix, std::string_view see) {
    const std::string near = nearest(word, candidates);
    return fail_hint(Kind::kInvalid, std::move(what), near.empty() ? std::format("{} lists them", see) : std::format("did you mean 'blanket help {}{}'? {} lists all", prefix, near, see));
}

Result<int> run_help(Context&, const Invocation& call) {
    if (call.has("man") || call.has("markdown")) {
        Context::out(call.has("man") ? man_page() : markdown_table());
        return 0;
    }
    if (call.args.empty()) {
        Context::out(program_help());
        return 0;
    }
    const std::string& noun = call.arg(0);
    const auto known = nouns();
    if (std::ranges::find(known, noun) == known.end())
        return unknown(std::format("unknown noun '{}'", noun.substr(0, 60)), noun, {known.begin(), known.end()}, "", "blanket --help");
    const VerbSpec* whole = find_verb(noun, "");
    if (call.args.size() == 1) {
        Context::out(whole != nullptr ? verb_help(*whole) : noun_help(noun));
        return 0;
    }
    const VerbSpec* verb = find_verb(noun, call.arg(1));
    if (verb != nullptr && !verb->verb.empty()) {
        Context::out(verb_help(*verb));
        return 0;
    }
    std::vector<std::string> names;
    for (const auto& one : verbs())
        if (one.noun == noun && !one.verb.empty()) names.emplace_back(one.verb);
    return unknown(std::format("unknown verb '{}' of '{}'", call.arg(1).substr(0, 60), noun), call.arg(1), names, noun + " ", std::format("blanket {} --help", noun));
}

Result<int> run_completion(Context& context, const Invocation& call) {
    if (call.arg(0) == "names") {
        constexpr std::array<std::pair<std::string_view, ArgKind>, 5> kKinds{
            {{"vm", ArgKind::kVm}, {"site", ArgKind::kSite}, {"image", ArgKind::kImage}, {"net", ArgKind::kNet}, {"job", ArgKind::kJob}}};
        for (const auto& [word, kind] : kKinds)
            if (call.option("of") == word)
                for (const auto& name : names_of(context.client, kind)) Context::out(printable(name) + "\n");
        return 0;
    }
    BLANKET_TRY(const std::string script, completion_script(call.arg(0)));
    Context::out(script);
    return 0;
}

}  // namespace

std::vector<VerbSpec> help_verbs() {
    return {{.noun = "completion",
             .verb = "",
             .summary = "print a completion script for bash, zsh or fish",
             .details = "Prints a script that completes nouns, verbs, options, and the names of VMs, sites, images, networks and jobs. `blanket completion names --of KIND` prints such names; "
                        "the scripts use it.",
             .action = "print the completion",
             .args = {{"SHELL", "bash, zsh, fish or names", ArgKind::kShell}},
             .options = {{.name = "of", .value = "KIND", .help = "with names: vm, site, image, net or job"}},
             .example = "blanket completion bash > /usr/share/bash-completion/completions/blanket",
             .run = run_completion},
            {.noun = "help",
             .verb = "",
             .summary = "show help about everything, a noun or a verb",
             .details = "Shows the same text as --help. With --man it prints the manual page blanket(1) in roff, with --markdown the table of verbs.",
             .action = "show help",
             .args = {{"NOUN", "what to show help of", ArgKind::kNoun, false}, {"VERB", "one of its verbs", ArgKind::kVerb, false}},
             .options = {{.name = "man", .help = "print the manual page"}, {.name = "markdown", .help = "print the table of verbs in Markdown"}},
             .example = "blanket help vm migrate",
             .run = run_help}};
}

}  // namespace blanket::cli
