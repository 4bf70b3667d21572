// SPDX-License-Identifier: GPL-2.0-or-later
// See completion.hpp. The scripts hold the words; names of VMs and the like come from `blanket completion names --of KIND` when Tab is pressed.
#include "toolstack/cli/completion.hpp"

#include <algorithm>

#include "toolstack/cli/spec.hpp"

namespace blanket::cli {
namespace {

std::string_view word_of(ArgKind kind) {
    switch (kind) {
        case ArgKind::kVm: return "vm";
        case ArgKind::kSite: return "site";
        case ArgKind::kImage: return "image";
        case ArgKind::kNet: return "net";
        case ArgKind::kJob: return "job";
        case ArgKind::kFile: return "file";
        case ArgKind::kShell: return "shell";
        case ArgKind::kNoun: return "noun";
        default: return "-";
    }
}

std::string joined(const std::vector<std::string_view>& words) {
    std::string out;
    for (const auto word : words) out += (out.empty() ? "" : " ") + std::string(word);
    return out;
}

std::vector<std::string_view> verbs_of(std::string_view noun) {
    std::vector<std::string_view> names;
    for (const auto& verb : verbs())
        if (verb.noun == noun && !verb.verb.empty()) names.push_back(verb.verb);
    return names;
}

std::string bash_script() {
    std::string nouns_cases, verb_cases, value_cases;
    for (const auto noun : nouns())
        if (const auto names = verbs_of(noun); !names.empty()) nouns_cases += std::format("        {}) words='{}' ;;\n", noun, joined(names));
    for (const auto& verb : verbs()) {
        std::string options, kinds;
        for (const auto& option : options_of(verb)) {
            options += std::format("{}--{}", options.empty() ? "" : " ", option.name);
            if (!option.value.empty()) {
                const std::string_view kind = option.name == "output" ? "form" : word_of(option.kind);
                const std::string entry = std::format("{}:--{}", command_of(verb), option.name);
                value_cases += std::format("        '{}') kind={} ;;\n", entry, kind);
            }
        }
        for (const auto& arg : verb.args) kinds += (kinds.empty() ? "" : " ") + std::string(word_of(arg.kind));
        verb_cases += std::format("        '{}') options='{}' kinds='{}' ;;\n", command_of(verb), options, kinds);
    }
    return std::format(R"BASH(# bash completion for blanket; made by `blanket completion bash`
_blanket() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} nouns='{}'
    local noun='' verb='' command='' words='' options='' kinds='' kind='' place=0 i word
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        case $word in
            -o|--output|--socket) i=$((i + 1)); continue ;;
            -*) continue ;;
        esac
        if [ -z "$noun" ]; then noun=$word
        elif [ -z "$verb" ]; then verb=$word
        else place=$((place + 1)); fi
    done
    if [ -z "$noun" ]; then
        COMPREPLY=($(compgen -W "$nouns --help --version" -- "$current"))
        return
    fi
    case $noun in
{}        *) words='' ;;
    esac
    if [ -n "$words" ] && [ -z "$verb" ]; then
        COMPREPLY=($(compgen -W "$words --help" -- "$current"))
        return
    fi
    if [ -n "$words" ]; then command="$noun $verb"
    else
        command=$noun
        [ -z "$verb" ] || place=$((place + 1))
    fi
    case $command in
{}    esac
    case "$command:$before" in
{}        *) kind='' ;;
    esac
    if [ -z "$kind" ]; then
        if [[ $current == -* ]]; then
            COMPREPLY=($(compgen -W "$options" -- "$current"))
            return
        fi
        set -- $kinds
        shift "$place" 2>/dev/null || return
        kind=${{1:-}}
    fi
    case $kind in
        file) COMPREPLY=($(compgen -f -- "$current")) ;;
        form) COMPREPLY=($(compgen -W 'table json yaml' -- "$current")) ;;
        shell) COMPREPLY=($(compgen -W 'bash zsh fish' -- "$current")) ;;
        noun) COMPREPLY=($(compgen -W "$nouns" -- "$current")) ;;
        vm|site|image|net|job) COMPREPLY=($(compgen -W "$(blanket completion names --of "$kind" 2>/dev/null)" -- "$current")) ;;
    esac
}}
complete -o filenames -F _blanket blanket
)BASH",
                       joined(nouns()), nouns_cases, verb_cases, value_cases);
}

std::string fish_quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return out + "'";
}

std::string fish_script() {
    std::string out = "# fish completion for blanket; made by `blanket completion fish`\ncomplete -c blanket -f\n";
    for (const auto noun : nouns()) {
        out += std::format("complete -c blanket -n __fish_use_subcommand -a {} -d {}\n", noun, fish_quoted(noun_summary(noun)));
        const std::string names = joined(verbs_of(noun));
        for (const auto& verb : verbs()) {
            if (verb.noun != noun) continue;
            if (!verb.verb.empty())
                out += std::format("complete -c blanket -n '__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}' -a {} -d {}\n", noun, names, verb.verb,
                                   fish_quoted(verb.summary));
            const std::string here = verb.verb.empty() ? std::format("'__fish_seen_subcommand_from {}'", noun)
                                                       : std::format("'__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}'", noun, verb.verb);
            for (const auto& arg : verb.args)
                if (const auto kind = word_of(arg.kind); kind == "file") out += std::format("complete -c blanket -n {} -F\n", here);
                else if (kind == "shell") out += std::format("complete -c blanket -n {} -a 'bash zsh fish'\n", here);
                else if (kind != "-" && kind != "noun") out += std::format("complete -c blanket -n {} -a '(blanket completion names --of {} 2>/dev/null)'\n", here, kind);
            for (const auto& option : options_of(verb))
                out += std::format("complete -c blanket -n {} -l {}{} -d {}\n", here, option.name, option.value.empty() ? "" : " -r", fish_quoted(option.help));
        }
    }
    return out;
}

}  // namespace

Result<std::string> completion_script(std::string_view shell) {
    if (shell == "bash") return bash_script();
    if (shell == "zsh") return "#compdef blanket\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script();
    if (shell == "fish") return fish_script();
    return fail_hint(Kind::kInvalid, std::format("no completion for shell '{}'", shell.substr(0, 40)), "one of: bash, zsh, fish");
}

}  // namespace blanket::cli
