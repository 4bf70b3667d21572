// SPDX-License-Identifier: GPL-2.0-or-later
// The table of verbs is complete, and help, man page, completion and README say the same.
#include <gtest/gtest.h>

#include <set>

#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/args.hpp"
#include "toolstack/cli/completion.hpp"
#include "toolstack/cli/help.hpp"

namespace blanket::cli {
namespace {

TEST(VerbTable, EveryVerbIsComplete) {
    std::set<std::string> seen;
    for (const auto& verb : verbs()) {
        const std::string name = command_of(verb);
        EXPECT_TRUE(seen.insert(name).second) << name << " twice";
        EXPECT_NE(verb.run, nullptr) << name;
        EXPECT_FALSE(verb.summary.empty() || verb.summary.ends_with('.')) << name;
        EXPECT_TRUE(verb.details.ends_with('.')) << name;
        EXPECT_FALSE(verb.action.empty()) << name;
        EXPECT_TRUE(verb.example.starts_with("blanket " + name)) << name;
        EXPECT_FALSE(noun_summary(verb.noun).empty()) << name;
        for (const auto& arg : verb.args) EXPECT_FALSE(arg.help.empty()) << name;
        std::set<std::string_view> options;
        std::set<char> letters;
        for (const auto& option : options_of(verb)) {
            EXPECT_FALSE(option.help.empty()) << name << " --" << option.name;
            EXPECT_TRUE(options.insert(option.name).second) << name << " --" << option.name;
            if (option.letter != 0) EXPECT_TRUE(letters.insert(option.letter).second) << name << " -" << option.letter;
        }
    }
}

TEST(VerbTable, EveryExampleParses) {
    for (const auto& verb : verbs()) {
        std::vector<std::string> words = split(verb.example, ' ');
        words.erase(words.begin());
        for (std::size_t i = 0; i < words.size(); ++i)
            if (words[i] == "<" || words[i] == ">") words.resize(i);  // what the shell takes
        const auto call = parse_args(words);
        EXPECT_TRUE(call) << verb.example << ": " << call.error().what;
        if (call) EXPECT_EQ(call->verb, &verb);
    }
}

// The verbs that the other parts of the project and its users rely on.
TEST(VerbTable, HasAllThatWasPromised) {
    for (const char* name : {"federation init", "federation show", "site token", "site join", "site list", "site show", "image add", "image list", "net create", "net list", "vm create",
                             "vm list", "vm show", "vm start", "vm stop", "vm destroy", "vm delete", "vm console", "vm import", "vm migrate", "job list", "job show", "job watch", "job report", "report",
                             "events", "uplink list", "uplink stat", "path list", "doctor"}) {
        const auto words = split(name, ' ');
        EXPECT_NE(find_verb(words[0], words.size() > 1 ? words[1] : ""), nullptr) << name;
    }
}

TEST(Help, ManPageAndOverviewListTheSameVerbs) {
    std::vector<std::string> manual;
    for (const auto& line : split(man_page(), '\n'))
        if (line.starts_with(".B blanket ")) {
            std::string text = line.substr(11);
            for (auto at = text.find("\\-"); at != std::string::npos; at = text.find("\\-")) text.erase(at, 1);
            manual.push_back(text);
        }
    std::vector<std::string> table;
    for (const auto& verb : verbs()) table.push_back(usage_of(verb));
    EXPECT_EQ(manual, table);
    const std::string overview = program_help();
    for (const auto& verb : verbs()) {
        EXPECT_NE(overview.find("\n  " + command_of(verb)), std::string::npos) << command_of(verb);
        EXPECT_TRUE(verb_help(verb).starts_with("Usage: blanket " + usage_of(verb)));
    }
}

TEST(Help, ManPageHasNoLineThatRoffWouldMistake) {
    const std::set<std::string> known{".TH", ".SH", ".SS", ".TP", ".B", ".I", ".BR", ".RS", ".RE", ".PP", ".EX", ".EE"};
    for (const auto& line : split(man_page(), '\n'))
        if (line.starts_with('.') || line.starts_with('\'')) EXPECT_TRUE(known.contains(line.substr(0, line.find(' ')))) << line;
}

TEST(Completion, BashScriptCompletes) {
    const auto script = completion_script("bash");
    ASSERT_TRUE(script);
    const std::string check = *script + R"(
        blanket() { [ "$*" = "completion names --of vm" ] && echo web mail; }
        try() { COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _blanket; echo "${COMPREPLY[*]}"; }
        try blanket v
        try blanket vm mig
        try blanket vm migrate w
        try blanket vm list --output j
        try blanket vm migrate web --dr
        try blanket completion z
        try blanket -o json vm sho
    )";
    const auto output = run({"bash", "--norc", "-s"}, {.input = check});
    ASSERT_TRUE(output) << output.error().what;
    EXPECT_EQ(*output, "vm\nmigrate\nweb\njson\n--dry-run\nzsh\nshow\n");
    EXPECT_FALSE(completion_script("csh"));
    EXPECT_TRUE(completion_script("zsh")->starts_with("#compdef blanket"));
    for (const auto& verb : verbs())
        if (!verb.verb.empty()) EXPECT_NE(completion_script("fish")->find(std::format("-a {} -d", verb.verb)), std::string::npos);
}

TEST(Readme, VerbTableIsTheOneOfTheCode) {
    const auto readme = read_file(BLANKET_SOURCE_DIR "/toolstack/README.md");
    ASSERT_TRUE(readme) << readme.error().what;
    EXPECT_NE(readme->find(markdown_table()), std::string::npos) << "put the output of `blanket help --markdown` into toolstack/README.md";
    EXPECT_EQ(readme->find("| `blanket ", readme->find(markdown_table()) + markdown_table().size()), std::string::npos) << "a verb that is not in the table";
}

}  // namespace
}  // namespace blanket::cli
