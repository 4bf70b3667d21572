// SPDX-License-Identifier: GPL-2.0-or-later
// See help.hpp.
#include "toolstack/cli/help.hpp"

#include <algorithm>
#include <array>

namespace blanket::cli {
namespace {

constexpr std::size_t kWidth = 100;

struct ExitRow {
    int code;
    std::string_view meaning;
};
constexpr std::array kExits{ExitRow{0, "success"},
                            ExitRow{1, "internal error, or a device, file or socket failed"},
                            ExitRow{2, "wrong usage: unknown noun, verb or option, a value out of range, malformed input"},
                            ExitRow{3, "the named thing does not exist"},
                            ExitRow{4, "conflict: it exists already, somebody else changed it first, or its state forbids it"},
                            ExitRow{5, "precondition: the other side cannot take it (memory, CPU features, version, clock); a failed doctor check"},
                            ExitRow{6, "a deadline passed"},
                            ExitRow{7, "denied"},
                            ExitRow{8, "unavailable: no quorum, or a peer or blanketd cannot be reached"},
                            ExitRow{9, "cancelled; also Ctrl-C while a job is watched: the job goes on"}};

// Breaks text at spaces; the first line is taken to begin at `indent` already.
std::string wrap(std::string_view text, std::size_t indent) {
    std::string out;
    std::size_t column = indent;
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        const auto word = text.substr(0, end);
        if (column != indent && column + 1 + word.size() > kWidth) {
            out += "\n" + std::string(indent, ' ');
            column = indent;
        } else if (column != indent) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

using Rows = std::vector<std::pair<std::string, std::string>>;

std::string two_columns(const Rows& rows) {
    std::size_t width = 0;
    for (const auto& [left, right] : rows) width = std::max(width, left.size());
    std::string out;
    for (const auto& [left, right] : rows) out += "  " + left + std::string(width - left.size() + 2, ' ') + wrap(right, width + 4) + "\n";
    return out;
}

std::string option_form(const OptionSpec& option) {
    std::string form = option.letter != 0 ? std::format("-{}, ", option.letter) : "";
    form += std::format("--{}", option.name);
    if (!option.value.empty()) form += std::format(" {}", option.value);
    return form;
}

std::string option_help(const OptionSpec& option) {
    std::string text(option.help);
    if (option.required) text += " (required)";
    if (option.repeats) text += " (may be given several times)";
    if (!option.fallback.empty()) text += std::format(" (default: {})", option.fallback);
    return text;
}

Rows option_rows(const std::vector<OptionSpec>& options) {
    Rows rows;
    for (const auto& option : options) rows.emplace_back(option_form(option), option_help(option));
    return rows;
}

std::vector<OptionSpec> own_options(const VerbSpec& verb) {
    auto options = options_of(verb);
    options.resize(options.size() - common_options().size());
    return options;
}

// For the lists: without the required options, which would widen the column of all.
std::string short_usage(const VerbSpec& verb) {
    std::string usage = command_of(verb);
    for (const auto& arg : verb.args) usage += arg.required ? std::format(" {}", arg.name) : std::format(" [{}]", arg.name);
    return usage;
}

std::string roff(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool line_start = i == 0 || text[i - 1] == '\n';
        if (line_start && (c == '.' || c == '\'')) out += "\\&";
        if (c == '\\') out += "\\e";
        else if (c == '-') out += "\\-";
        else out += c;
    }
    return out;
}

std::string roff_options(const std::vector<OptionSpec>& options) {
    std::string out;
    for (const auto& option : options) out += std::format(".TP\n.B {}\n{}\n", roff(option_form(option)), roff(option_help(option)));
    return out;
}

}  // namespace

std::string program_help() {
    std::string out = "Usage: blanket NOUN VERB [arguments] [options]\n\nRuns your own cloud on rented machines: VMs, their networks and images, and their moves between sites.\n";
    for (const auto noun : nouns()) {
        out += std::format("\n{}\n", noun_summary(noun));
        Rows rows;
        for (const auto& verb : verbs())
            if (verb.noun == noun) rows.emplace_back(short_usage(verb), verb.summary);
        out += two_columns(rows);
    }
    return out + "\nOptions of every verb\n" + two_columns(option_rows(common_options())) +
           "\nblanket NOUN VERB --help tells more about one verb. blanket help --man prints the manual page.\n";
}

std::string noun_help(std::string_view noun) {
    std::string out = std::format("Usage: blanket {} VERB [arguments] [options]\n\n{}\n", noun, noun_summary(noun));
    Rows rows;
    for (const auto& verb : verbs())
        if (verb.noun == noun) rows.emplace_back(short_usage(verb), verb.summary);
    return out + two_columns(rows);
}

std::string verb_help(const VerbSpec& verb) {
    std::string out = std::format("Usage: blanket {} [options]\n\n{}\n", usage_of(verb), wrap(verb.details, 0));
    if (!verb.args.empty()) {
        Rows rows;
        for (const auto& arg : verb.args) rows.emplace_back(arg.name, arg.help);
        out += "\nArguments\n" + two_columns(rows);
    }
    if (const auto own = own_options(verb); !own.empty()) out += "\nOptions\n" + two_columns(option_rows(own));
    out += "\nOptions of every verb\n" + two_columns(option_rows(common_options()));
    return out + std::format("\nExample\n  {}\n", verb.example);
}

std::string man_page() {
    std::string out = std::format(".TH BLANKET 1 \"\" \"blanket {}\" \"Blanket\"\n.SH NAME\nblanket \\- run your own cloud on rented machines\n", BLANKET_VERSION);
    out += ".SH SYNOPSIS\n.B blanket\n.I NOUN VERB\n[arguments] [options]\n";
    out += ".SH DESCRIPTION\nblanket speaks to blanketd on this host over its unix socket. It manages virtual machines, their networks and images, and moves running machines between sites.\n"
           "Data goes to standard output, everything else to standard error.\n";
    out += ".SH COMMANDS\n";
    for (const auto noun : nouns()) {
        out += std::format(".SS {}\n", roff(noun_summary(noun)));
        for (const auto& verb : verbs()) {
            if (verb.noun != noun) continue;
            out += std::format(".TP\n.B blanket {}\n{}.\n{}\n", roff(usage_of(verb)), roff(verb.summary), roff(verb.details));
            for (const auto& arg : verb.args) out += std::format(".RS\n.TP\n.I {}\n{}\n.RE\n", roff(arg.name), roff(arg.help));
            if (const auto own = own_options(verb); !own.empty()) out += ".RS\n" + roff_options(own) + ".RE\n";
            out += std::format(".RS\n.PP\nExample:\n.EX\n{}\n.EE\n.RE\n", roff(verb.example));
        }
    }
    out += ".SH OPTIONS OF EVERY VERB\n" + roff_options(common_options());
    out += ".SH EXIT STATUS\n";
    for (const auto& row : kExits) out += std::format(".TP\n.B {}\n{}\n", row.code, roff(row.meaning));
    out += ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nno colour, even on a terminal\n";
    out += ".SH FILES\n.TP\n.I /run/blanket/blanketd.sock\nthe socket of blanketd\n.TP\n.I /etc/blanket/blanket.toml\nthe settings of blanketd\n";
    return out + ".SH SEE ALSO\n.BR virsh (1),\n.BR etcdctl (1)\n";
}

std::string markdown_table() {
    std::string out = "| command | what it does |\n|---|---|\n";
    for (const auto& verb : verbs()) out += std::format("| `blanket {}` | {} |\n", usage_of(verb), verb.summary);
    return out;
}

}  // namespace blanket::cli
