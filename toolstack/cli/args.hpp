// SPDX-License-Identifier: GPL-2.0-or-later
// The command line against the table of verbs. Pure. Called by main and by the tests.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"
#include "toolstack/cli/spec.hpp"

namespace blanket::cli {

enum class Format : std::uint8_t { kTable, kJson, kYaml };

struct Invocation {
    const VerbSpec* verb = nullptr;  // null: `noun` says what to show help of (empty = everything), or `version`
    std::string noun;
    bool help = false, version = false;
    Format output = Format::kTable;
    std::vector<std::string> args;
    std::map<std::string, std::vector<std::string>, std::less<>> options;  // given or with a fallback

    [[nodiscard]] const std::string& arg(std::size_t index) const { return args[index]; }
    [[nodiscard]] bool has(std::string_view option) const { return options.contains(option); }
    [[nodiscard]] std::string option(std::string_view name) const {
        const auto at = options.find(name);
        return at == options.end() ? std::string() : at->second.back();
    }
};

// Everything after the program's name. Errors are kInvalid (exit 2) and suggest the nearest word.
Result<Invocation> parse_args(std::span<const std::string> words);

// "migrate web to west" from the verb's action and what was given.
std::string action_text(const Invocation& invocation);

// "90", "90s", "15m", "1h", "7d" -> seconds; kInvalid otherwise.
Result<std::uint64_t> parse_duration(std::string_view text, std::string_view what);

}  // namespace blanket::cli
