// SPDX-License-Identifier: GPL-2.0-or-later
// The command line against the table of verbs: what is accepted, what is refused and with which suggestion.
#include <gtest/gtest.h>

#include "toolstack/cli/args.hpp"
#include "toolstack/cli/suggest.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<Invocation> parse(std::vector<std::string> words) { return parse_args(words); }

TEST(Args, FindsVerbArgumentsAndOptionsAnywhere) {
    const auto call = parse({"--output", "json", "vm", "--dry-run", "migrate", "web", "west", "--socket=/tmp/s"});
    ASSERT_TRUE(call) << call.error().what;
    EXPECT_EQ(call->verb->verb, "migrate");
    EXPECT_EQ(call->args, (std::vector<std::string>{"web", "west"}));
    EXPECT_EQ(call->output, Format::kJson);
    EXPECT_TRUE(call->has("dry-run"));
    EXPECT_EQ(call->option("socket"), "/tmp/s");
    EXPECT_EQ(action_text(*call), "migrate web to west");
}

TEST(Args, ShortFormsFallbacksAndTheLastOneCounts) {
    const auto call = parse({"vm", "stop", "web", "-ojson", "-o", "yaml", "-q"});
    ASSERT_TRUE(call) << call.error().what;
    EXPECT_EQ(call->output, Format::kYaml);
    EXPECT_TRUE(call->has("quiet"));
    EXPECT_EQ(call->option("timeout"), "120s");
    EXPECT_EQ(call->option("socket"), "/run/blanket/blanketd.sock");
}

TEST(Args, ADashAloneIsAWordAndTwoEndOptions) {
    const auto dash = parse({"site", "join", "-"});
    ASSERT_TRUE(dash);
    EXPECT_EQ(dash->arg(0), "-");
    const auto odd = parse({"image", "add", "debian", "--", "--odd-name"});
    ASSERT_TRUE(odd) << odd.error().what;
    EXPECT_EQ(odd->arg(1), "--odd-name");
}

struct Refused {
    std::vector<std::string> words;
    std::string what, hint;  // parts of the text
};

TEST(Args, RefusesWithASuggestion) {
    const std::vector<Refused> cases{
        {{}, "no noun", "--help"},
        {{"vmm", "list"}, "unknown noun 'vmm'", "blanket vm"},
        {{"vm"}, "no verb of 'vm'", "migrate"},
        {{"vm", "migrat", "web", "west"}, "unknown verb 'migrat' of 'vm'", "did you mean 'blanket vm migrate'"},
        {{"vm", "xyzzyplugh"}, "unknown verb", "blanket vm --help lists them"},
        {{"vm", "migrate", "web"}, "TARGET is missing", "blanket vm migrate NAME TARGET"},
        {{"vm", "list", "extra"}, "unexpected argument 'extra'", "blanket vm list"},
        {{"vm", "list", "--outptu", "json"}, "unknown option '--outptu'", "--output"},
        {{"vm", "list", "--output", "xml"}, "unknown output form 'xml'", "table, json or yaml"},
        {{"vm", "list", "--output"}, "needs a value", "FORM"},
        {{"vm", "list", "--quiet=3"}, "takes no value", ""},
        {{"vm", "list", "--dry-run"}, "unknown option '--dry-run' of 'vm list'", ""},
        {{"vm", "show", "../../etc"}, "VM name", "a-z"},
        {{"vm", "migrate", "web", "West!"}, "site name", "a-z"},
        {{"vm", "create", "web", "--image", "debian"}, "'--memory' is missing", "blanket vm create"},
    };
    for (const auto& one : cases) {
        const auto call = parse(one.words);
        ASSERT_FALSE(call) << one.what;
        EXPECT_EQ(call.error().kind, Kind::kInvalid);
        EXPECT_NE(call.error().what.find(one.what), std::string::npos) << call.error().what;
        EXPECT_NE(call.error().hint.find(one.hint), std::string::npos) << call.error().hint;
    }
}

TEST(Args, HelpNeedsNoArguments) {
    const auto call = parse({"vm", "migrate", "--help"});
    ASSERT_TRUE(call);
    EXPECT_TRUE(call->help);
}

TEST(Args, Durations) {
    EXPECT_EQ(parse_duration("90", "t").value(), 90u);
    EXPECT_EQ(parse_duration("15m", "t").value(), 900u);
    EXPECT_EQ(parse_duration("1h", "t").value(), 3600u);
    EXPECT_EQ(parse_duration("2d", "t").value(), 172800u);
    for (const char* bad : {"", "h", "0s", "-1", "1w", "1h30", "99999999999999999999d"}) EXPECT_FALSE(parse_duration(bad, "t")) << bad;
}

TEST(Suggest, DistanceAndNearest) {
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("wbe", "web"), 1u);  // a swap
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    const std::vector<std::string> names{"web", "database", "mail"};
    EXPECT_EQ(nearest("wbe", names), "web");
    EXPECT_EQ(nearest("databse", names), "database");
    EXPECT_EQ(nearest("da", names), "database");
    EXPECT_EQ(nearest("zzzzzz", names), "");
    EXPECT_EQ(nearest("x", names), "");
}

TEST(Import, DetectsTheFormByContent) {
    EXPECT_EQ(detect_definition("<?xml version='1.0'?>\n<!-- c -->\n<domain type='xen'>").value(), "libvirt-xml");
    EXPECT_EQ(detect_definition("\xef\xbb\xbf  <domain/>").value(), "libvirt-xml");
    EXPECT_EQ(detect_definition("# guest\nname = \"web\"\nmemory=256\n").value(), "xl-cfg");
    for (const std::string& bad : {std::string(), std::string(" \n"), std::string("<html/>"), std::string("hello"), std::string("a=b\n"), std::string("name=\0x", 7)})
        EXPECT_FALSE(detect_definition(bad)) << bad;
}

}  // namespace
}  // namespace blanket::cli
