// SPDX-License-Identifier: GPL-2.0-or-later
// What a verb is: the one table from which parsing, --help, the man page and completion are made. Filled by verb_*.cpp, read by args, help, completion.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::cli {

struct Context;     // run.hpp
struct Invocation;  // args.hpp

// What a value names: completion offers these, and an unknown name is answered with the nearest one.
enum class ArgKind : std::uint8_t { kText, kVm, kSite, kImage, kNet, kJob, kFile, kShell, kNoun, kVerb };

struct ArgSpec {
    std::string_view name;  // upper case, as shown in the usage line
    std::string_view help;
    ArgKind kind = ArgKind::kText;
    bool required = true;
};

struct OptionSpec {
    std::string_view name;        // without "--"
    std::string_view value = {};  // what stands for the value in help; empty = a flag
    std::string_view help = {};
    std::string_view fallback = {};  // the value when the option is absent; empty = none
    ArgKind kind = ArgKind::kText;
    bool required = false;
    bool repeats = false;
    char letter = 0;  // short form, 0 = none
};

struct VerbSpec {
    std::string_view noun, verb;  // verb empty: the noun is the whole command
    std::string_view summary;     // one line, no full stop
    std::string_view details;     // a paragraph or two
    std::string_view action;      // for errors, "migrate {NAME} to {TARGET}": "cannot " is put before it
    std::vector<ArgSpec> args = {};
    std::vector<OptionSpec> options = {};
    bool mutates = false;  // takes --dry-run
    bool job = false;      // takes --no-wait
    std::string_view example;
    Result<int> (*run)(Context&, const Invocation&) = nullptr;  // returns the exit code
};

const std::vector<VerbSpec>& verbs();                 // the table, in the order of the help
const std::vector<OptionSpec>& common_options();      // those of every verb
std::vector<OptionSpec> options_of(const VerbSpec&);  // own, then --dry-run and --no-wait where they apply, then the common ones
std::string_view noun_summary(std::string_view noun);
std::vector<std::string_view> nouns();                // each once, in the order of the table
const VerbSpec* find_verb(std::string_view noun, std::string_view verb);
std::string command_of(const VerbSpec& verb);         // "vm migrate"
std::string usage_of(const VerbSpec& verb);           // "vm migrate NAME TARGET"

}  // namespace blanket::cli
