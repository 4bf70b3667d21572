// SPDX-License-Identifier: GPL-2.0-or-later
// Tables, YAML and single lines.
#include <gtest/gtest.h>

#include "toolstack/cli/render.hpp"
#include "toolstack/cli/yaml.hpp"

namespace blanket::cli {
namespace {

TEST(Table, AlignsByCharactersAndCleansCells) {
    EXPECT_EQ(format_table({{"NAME", ">SIZE"}, {{"é", "7"}, {"long-name", ""}, {"a\033[1m\nb", "100"}}}, {}),
              "NAME       SIZE\n"
              "é             7\n"
              "long-name     -\n"
              "a?[1m b     100\n");
    EXPECT_EQ(format_fields({{"a", "1"}, {"empty", ""}, {"long", "2"}}), "a:     1\nlong:  2\n");
}

TEST(Table, BoldHeadingOnlyWithColour) {
    Terminal terminal;
    terminal.out = terminal.out_colour = true;
    EXPECT_EQ(format_table({{"A"}, {}}, terminal), "\033[1mA\033[0m\n");
}

TEST(Yaml, ScalarsThatLookLikeOthersAreQuoted) {
    const Json value{{"plain", "web server"}, {"number", 7},       {"like_number", "7"}, {"yes", "yes"},      {"none", nullptr}, {"empty", ""},
                     {"list", {1, "two"}},     {"nothing", Json::array()}, {"time", "2026-01-01T00:00:00Z"}, {"xml", "<a>\n  <b/>\n</a>\n"}, {"esc", "a\033b"},
                     {"objects", {{{"x", 1}, {"y", {{"z", true}}}}}}};
    EXPECT_EQ(to_yaml(value), R"(empty: ""
esc: "a\u001bb"
like_number: "7"
list:
  - 1
  - two
none: null
nothing: []
number: 7
objects:
  - x: 1
    "y":
      z: true
plain: web server
time: "2026-01-01T00:00:00Z"
xml: |
  <a>
    <b/>
  </a>
"yes": "yes"
)");
    EXPECT_EQ(to_yaml(Json::object()), "{}\n");
}

TEST(Render, ErrorsSayActionCauseAndNextStep) {
    const Error error{Kind::kPrecondition, "west has 120 MiB free, web needs 256 MiB", "blanket site show west; free memory there or choose another site"};
    EXPECT_EQ(error_text(error, "migrate web to west"),
              "blanket: cannot migrate web to west: west has 120 MiB free, web needs 256 MiB\n"
              "  next: blanket site show west; free memory there or choose another site\n");
    EXPECT_EQ(error_text({Kind::kInternal, "cannot start web: no", ""}, "start web"), "blanket: cannot start web: no\n");
    EXPECT_EQ(error_text({Kind::kInternal, "a\nb\033", ""}, ""), "blanket: a b?\n");
}

TEST(Render, SummaryOfAMigration) {
    const auto job = parse_json(R"({"verb":"migrate","subject":"vm/web","state":"done","result":{"from":"east","to":"west","ok":true,"total_s":31.24,"downtime_ms":412,
        "memory_wire_bytes":66060288,"disk_wire_bytes":12582912,"rounds":5,"epoch":2}})").value();
    EXPECT_EQ(job_summary(job, "migrate web to west"), "web moved from east to west in 31.2 s: stopped for 412 ms, 5 rounds, 63.0 MiB of memory and 12.0 MiB of disk sent, epoch 2\n");
    EXPECT_EQ(job_summary(Json::object(), "start web"), "done: start web\n");
}

TEST(Render, TimesForPeople) {
    EXPECT_EQ(seconds_text(0.0004), "0 ms");
    EXPECT_EQ(seconds_text(0.412), "412 ms");
    EXPECT_EQ(seconds_text(31.25), "31.2 s");
    EXPECT_EQ(seconds_text(125), "2 min 05 s");
}

TEST(Render, DoctorUsesSignsOnlyOnAUtf8Terminal) {
    const auto reply = parse_json(R"({"checks":[{"name":"xen","status":"ok","detail":"4.20"},{"name":"clock","status":"warning","detail":"off","hint":"set it"},
        {"name":"storage","status":"fail","detail":"gone","hint":"look"},{"name":"odd","status":"weird","detail":"?"}]})").value();
    Terminal terminal;
    EXPECT_EQ(doctor_text(reply, terminal),
              "ok       xen      4.20\n"
              "warning  clock    off\n"
              "                  next: set it\n"
              "FAIL     storage  gone\n"
              "                  next: look\n"
              "FAIL     odd      ?\n"
              "1 ok, 1 warning, 2 failed\n");
    terminal.out = terminal.utf8 = true;
    EXPECT_TRUE(doctor_text(reply, terminal).starts_with("✓  xen      4.20\n!  clock    off\n            next: set it\n✗  storage"));
    terminal.out_colour = true;
    EXPECT_TRUE(doctor_text(reply, terminal).starts_with("\033[32m✓\033[0m  xen"));
}

TEST(Render, StrangeRepliesDoNotFail) {
    for (const char* text : {"{}", "[]", "null", R"({"vms":[{}],"sites":[1],"jobs":[null],"nets":"x","images":[[]],"events":[{"seq":"x"}],"checks":{},"steps":[{}],"federation":7})"}) {
        const auto reply = parse_json(text).value();
        (void)net_text(Json::parse(text), {});
        for (auto* table : {vm_table, site_table, image_table, net_table, job_table, event_table}) (void)format_table(table(reply), {});
        (void)federation_text(reply, {});
        (void)doctor_text(reply, {});
        (void)steps_text(reply);
        (void)format_fields(vm_fields(reply));
        (void)format_fields(job_fields(reply));
        (void)to_yaml(reply);
    }
}

}  // namespace
}  // namespace blanket::cli
