// SPDX-License-Identifier: GPL-2.0-or-later
// See args.hpp.
#include "toolstack/cli/args.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/suggest.hpp"

namespace blanket::cli {
namespace {

std::unexpected<Error> unknown(std::string what, std::string_view word, const std::vector<std::string>& candidates, std::string_view prefix,
                               std::string_view see) {
    const std::string near = nearest(word, candidates);
    std::string hint = near.empty() ? std::format("{} lists them", see) : std::format("did you mean '{}{}'? {} lists all", prefix, near, see);
    return fail_hint(Kind::kInvalid, std::move(what), std::move(hint));
}

std::vector<std::string> verb_names(std::string_view noun) {
    std::vector<std::string> names;
    for (const auto& verb : verbs())
        if (verb.noun == noun && !verb.verb.empty()) names.emplace_back(verb.verb);
    return names;
}

Result<Format> parse_format(std::string_view text) {
    if (text == "table") return Format::kTable;
    if (text == "json") return Format::kJson;
    if (text == "yaml") return Format::kYaml;
    return fail_hint(Kind::kInvalid, std::format("unknown output form '{}'", text.substr(0, 40)), "use --output table, json or yaml");
}

// Sorts words into options and the rest. Options may stand anywhere, so the verb is found in the rest.
struct Sorted {
    std::vector<std::string> words;
    struct Option {
        std::string name;
        std::string value;
        bool has_value = false;
    };
    std::vector<Option> options;
};

const OptionSpec* find_option(const std::vector<OptionSpec>& specs, std::string_view name) {
    const auto at = std::ranges::find(specs, name, &OptionSpec::name);
    return at == specs.end() ? nullptr : &*at;
}
const OptionSpec* find_letter(const std::vector<OptionSpec>& specs, char letter) {
    const auto at = std::ranges::find_if(specs, [&](const auto& spec) { return spec.letter != 0 && spec.letter == letter; });
    return at == specs.end() ? nullptr : &*at;
}

// The noun and the verb are the first words that are no options (nor the value of a common option before them).
const VerbSpec* locate(std::span<const std::string> words, std::string& noun, std::string& verb) {
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word == "--") break;
        if (word.size() > 1 && word.front() == '-') {
            const OptionSpec* spec = word.starts_with("--") ? find_option(common_options(), std::string_view(word).substr(2))
                                     : word.size() == 2     ? find_letter(common_options(), word[1])
                                                            : nullptr;
            if (spec != nullptr && !spec->value.empty()) ++i;
            continue;
        }
        if (noun.empty()) {
            noun = word;
            if (const auto* whole = find_verb(noun, "")) return whole;
        } else {
            verb = word;
            return find_verb(noun, verb);
        }
    }
    return nullptr;
}

Result<Sorted> sort_words(std::span<const std::string> words, const std::vector<OptionSpec>& specs, std::string_view command) {
    Sorted sorted;
    bool only_words = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (only_words || word.size() < 2 || word.front() != '-') {
            sorted.words.push_back(word);
            continue;
        }
        if (word == "--") {
            only_words = true;
            continue;
        }
        const OptionSpec* spec = nullptr;
        Sorted::Option option;
        if (word.starts_with("--")) {
            const auto equals = word.find('=');
            const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
            spec = find_option(specs, name);
            if (spec != nullptr && equals != std::string::npos) option = {name, word.substr(equals + 1), true};
        } else {
            spec = find_letter(specs, word[1]);
            if (spec != nullptr && word.size() > 2) option = {"", word.substr(2), true};
        }
        if (spec == nullptr) {
            std::vector<std::string> names;
            for (const auto& one : specs) names.push_back(std::format("--{}", one.name));
            return unknown(std::format("unknown option '{}'{}", word.substr(0, 60), command.empty() ? "" : std::format(" of '{}'", command)), word,
                           names, "", command.empty() ? "blanket --help" : std::format("blanket {} --help", command));
        }
        option.name = spec->name;
        if (spec->value.empty()) {
            if (option.has_value) return fail_hint(Kind::kInvalid, std::format("option '--{}' takes no value", spec->name), "leave out the value");
        } else if (!option.has_value) {
            if (i + 1 == words.size())
                return fail_hint(Kind::kInvalid, std::format("option '--{}' needs a value", spec->name), std::format("--{} {}", spec->name, spec->value));
            option.value = words[++i];
        }
        sorted.options.push_back(std::move(option));
    }
    return sorted;
}

Result<void> check_args(const VerbSpec& verb, const Invocation& call) {
    for (std::size_t i = 0; i < verb.args.size(); ++i)
        if (verb.args[i].required && i >= call.args.size())
            return fail_hint(Kind::kInvalid, std::format("{} is missing: {}", verb.args[i].name, verb.args[i].help), std::format("blanket {}", usage_of(verb)));
    if (call.args.size() > verb.args.size())
        return fail_hint(Kind::kInvalid, std::format("unexpected argument '{}'", call.args[verb.args.size()].substr(0, 60)),
                         std::format("blanket {}", usage_of(verb)));
    for (const auto& option : verb.options)
        if (option.required && !call.has(option.name))
            return fail_hint(Kind::kInvalid, std::format("option '--{}' is missing: {}", option.name, option.help), std::format("for example: {}", verb.example));
    const auto named = [](ArgKind kind) -> std::string_view {
        switch (kind) {
            case ArgKind::kVm: return "VM";
            case ArgKind::kSite: return "site";
            case ArgKind::kImage: return "image";
            case ArgKind::kNet: return "net";
            case ArgKind::kJob: return "job";
            default: return {};
        }
    };
    // Names go into the request's path: a word that cannot be a name never reaches the daemon.
    for (std::size_t i = 0; i < call.args.size(); ++i)
        if (const auto what = named(verb.args[i].kind); !what.empty()) BLANKET_CHECK(check_name(call.args[i], what));
    for (const auto& option : verb.options)
        if (const auto what = named(option.kind); !what.empty() && call.has(option.name)) BLANKET_CHECK(check_name(call.option(option.name), what));
    return {};
}

}  // namespace

Result<Invocation> parse_args(std::span<const std::string> words) {
    Invocation call;
    std::string noun, verb;
    call.verb = locate(words, noun, verb);
    call.noun = noun;
    const std::vector<OptionSpec> specs = call.verb != nullptr ? options_of(*call.verb) : common_options();
    if (call.verb == nullptr && !noun.empty()) {
        const auto known = nouns();
        if (std::ranges::find(known, noun) == known.end()) {
            std::vector<std::string> names(known.begin(), known.end());
            return unknown(std::format("unknown noun '{}'", noun.substr(0, 60)), noun, names, "blanket ", "blanket --help");
        }
        if (!verb.empty())
            return unknown(std::format("unknown verb '{}' of '{}'", verb.substr(0, 60), noun), verb, verb_names(noun), std::format("blanket {} ", noun),
                           std::format("blanket {} --help", noun));
    }
    BLANKET_TRY(Sorted sorted, sort_words(words, specs, call.verb != nullptr ? command_of(*call.verb) : noun));
    for (auto& option : sorted.options) {
        const OptionSpec* spec = find_option(specs, option.name);
        auto& values = call.options[option.name];
        if (spec->repeats) {
            if (values.size() == 64) return fail(Kind::kInvalid, "option '--{}' is given more than 64 times", option.name);
        } else values.clear();  // the last one counts
        values.push_back(std::move(option.value));
    }
    call.help = call.has("help");
    call.version = call.has("version");
    BLANKET_TRY(call.output, parse_format(call.has("output") ? call.option("output") : "table"));
    if (call.help || call.version) return call;
    if (call.verb == nullptr) {
        if (noun.empty()) return fail_hint(Kind::kInvalid, "no noun given", "blanket --help lists nouns and verbs");
        std::string list;
        for (const auto& name : verb_names(noun)) list += (list.empty() ? "" : ", ") + name;
        return fail_hint(Kind::kInvalid, std::format("no verb of '{}' given", noun), std::format("one of: {}", list));
    }
    const std::size_t skip = call.verb->verb.empty() ? 1 : 2;
    call.args.assign(sorted.words.begin() + static_cast<std::ptrdiff_t>(skip), sorted.words.end());
    BLANKET_CHECK(check_args(*call.verb, call));
    for (const auto& spec : specs)
        if (!spec.fallback.empty() && !spec.value.empty() && !call.has(spec.name)) call.options[std::string(spec.name)] = {std::string(spec.fallback)};
    return call;
}

std::string action_text(const Invocation& call) {
    if (call.verb == nullptr) return {};
    std::string text(call.verb->action);
    for (std::size_t i = 0; i < call.verb->args.size(); ++i) {
        const std::string mark = std::format("{{{}}}", call.verb->args[i].name);
        const auto at = text.find(mark);
        if (at != std::string::npos) text.replace(at, mark.size(), i < call.args.size() ? call.args[i] : std::string());
    }
    return std::string(trim(text));
}

Result<std::uint64_t> parse_duration(std::string_view text, std::string_view what) {
    constexpr std::array<std::pair<char, std::uint64_t>, 4> kUnits{{{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}}};
    std::uint64_t unit = 1;
    std::string_view digits = text;
    for (const auto& [letter, seconds] : kUnits)
        if (!digits.empty() && digits.back() == letter) {
            unit = seconds;
            digits.remove_suffix(1);
            break;
        }
    const auto value = parse_number(digits, 1, 366ull * 86400 / unit, what);
    if (!value) return fail_hint(Kind::kInvalid, std::format("{} '{}' is not a duration", what, text.substr(0, 40)), "use a number with s, m, h or d, as in 90s or 1h");
    return *value * unit;
}

}  // namespace blanket::cli
