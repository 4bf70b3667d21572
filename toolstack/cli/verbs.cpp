// SPDX-License-Identifier: GPL-2.0-or-later
// The table of verbs: joins what the verb_*.cpp files define, in the order of the help. See spec.hpp.
#include <algorithm>
#include <array>

#include "toolstack/cli/spec.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

struct Noun {
    std::string_view name, summary;
};
constexpr std::array kNouns{Noun{"federation", "The federation of sites"},
                            Noun{"site", "Sites: the hosts of one cloud region"},
                            Noun{"image", "Base images of disks"},
                            Noun{"net", "Networks that span the sites"},
                            Noun{"security-group", "What the VMs of a network may send and get"},
                            Noun{"vm", "Virtual machines"},
                            Noun{"host", "This host"},
                            Noun{"update", "The versions of this host's appliance"},
                            Noun{"job", "Long actions, running and past"},
                            Noun{"report", "A migration, drawn"},
                            Noun{"events", "What happened in the federation"},
                            Noun{"uplink", "The provider's disks and network cards"},
                            Noun{"path", "What lies between this site and the others"},
                            Noun{"doctor", "The health of this host"},
                            Noun{"completion", "Completion for shells"},
                            Noun{"help", "Help and the manual page"}};

}  // namespace

const std::vector<VerbSpec>& verbs() {
    static const std::vector<VerbSpec> kVerbs = [] {
        std::vector<VerbSpec> all;
        for (auto part : {federation_verbs(), site_verbs(), image_verbs(), net_verbs(), security_group_verbs(), vm_verbs(), host_verbs(), update_verbs(), job_verbs(), events_verbs(), uplink_verbs(), path_verbs(), doctor_verbs(), help_verbs()})
            std::ranges::move(part, std::back_inserter(all));
        return all;
    }();
    return kVerbs;
}

const std::vector<OptionSpec>& common_options() {
    static const std::vector<OptionSpec> kOptions{
        {.name = "output", .value = "FORM", .help = "table, json or yaml; json and yaml are the API's object unchanged", .fallback = "table", .letter = 'o'},
        {.name = "socket", .value = "PATH", .help = "blanketd's socket", .fallback = "/run/blanket/blanketd.sock", .kind = ArgKind::kFile},
        {.name = "quiet", .help = "no progress and no notes, only data and errors", .letter = 'q'},
        {.name = "help", .help = "this text", .letter = 'h'},
        {.name = "version", .help = "the version of this program"}};
    return kOptions;
}

std::vector<OptionSpec> options_of(const VerbSpec& verb) {
    std::vector<OptionSpec> options = verb.options;
    if (verb.mutates) options.push_back({.name = "dry-run", .help = "show the steps and change nothing"});
    if (verb.job) options.push_back({.name = "no-wait", .help = "start the job, print its id and do not wait for its end"});
    options.insert(options.end(), common_options().begin(), common_options().end());
    return options;
}

std::vector<std::string_view> nouns() {
    std::vector<std::string_view> names;
    for (const auto& noun : kNouns) names.push_back(noun.name);
    return names;
}

std::string_view noun_summary(std::string_view noun) {
    const auto at = std::ranges::find(kNouns, noun, &Noun::name);
    return at == kNouns.end() ? std::string_view() : at->summary;
}

const VerbSpec* find_verb(std::string_view noun, std::string_view verb) {
    const auto at = std::ranges::find_if(verbs(), [&](const auto& one) { return one.noun == noun && one.verb == verb; });
    return at == verbs().end() ? nullptr : &*at;
}

std::string command_of(const VerbSpec& verb) { return verb.verb.empty() ? std::string(verb.noun) : std::format("{} {}", verb.noun, verb.verb); }

std::string usage_of(const VerbSpec& verb) {
    std::string usage = command_of(verb);
    for (const auto& arg : verb.args) usage += arg.required ? std::format(" {}", arg.name) : std::format(" [{}]", arg.name);
    for (const auto& option : verb.options)
        if (option.required) usage += std::format(" --{} {}", option.name, option.value);
    return usage;
}

}  // namespace blanket::cli
