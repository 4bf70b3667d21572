// SPDX-License-Identifier: GPL-2.0-or-later
// Progress on a terminal and elsewhere, from successive states of one job.
#include <gtest/gtest.h>

#include "toolstack/cli/progress.hpp"

namespace blanket::cli {
namespace {

Json job(const char* text) { return parse_json(text).value(); }
const char* const kFirst = R"({"verb":"migrate","subject":"vm/web","state":"running","progress":{"phase":"disk","percent":40},
    "phases":[{"name":"prepare","start_ms":0,"end_ms":800},{"name":"disk","start_ms":800,"end_ms":null}],
    "messages":[{"ms":900,"text":"round 1: 12.0 MiB sent"}]})";
const char* const kSecond = R"({"verb":"migrate","subject":"vm/web","state":"running","progress":{"phase":"memory","percent":7},
    "phases":[{"name":"prepare","start_ms":0,"end_ms":800},{"name":"disk","start_ms":800,"end_ms":2000},{"name":"memory","start_ms":2000,"end_ms":null}],
    "messages":[{"ms":900,"text":"round 1: 12.0 MiB sent"},{"ms":2500,"text":"evil \u001b[2J\nname"}]})";

TEST(Progress, PlainLinesTellEachThingOnce) {
    Progress progress((Terminal()));
    EXPECT_EQ(progress.update(job(kFirst), 1), "     0.0 s  prepare ...\n     0.8 s  prepare took 800 ms\n     0.8 s  disk ...\n     0.9 s  round 1: 12.0 MiB sent\n");
    EXPECT_EQ(progress.update(job(kFirst), 2), "");
    EXPECT_EQ(progress.update(job(kSecond), 3), "     2.0 s  disk took 1.2 s\n     2.0 s  memory ...\n     2.5 s  evil ?[2J name\n");
    EXPECT_EQ(progress.clear(), "");
}

TEST(Progress, ABarOnATerminalNeverWiderThanIt) {
    Terminal terminal;
    terminal.err = true;
    terminal.width = 60;
    Progress progress(terminal);
    const std::string first = progress.update(job(kFirst), 1);
    EXPECT_NE(first.find("prepare took 800 ms\n"), std::string::npos);
    EXPECT_NE(first.find("\r\033[Kmigrate web  #########--------------- "), std::string::npos) << first;
    EXPECT_LT(first.size() - first.rfind("\033[K"), 3u + 60u);
    EXPECT_TRUE(progress.update(job(kSecond), 2).starts_with("\r\033[K"));  // the bar goes before lines come
    Json last = job(kSecond);
    last["state"] = "done";
    EXPECT_TRUE(progress.update(last, 3).ends_with("\r\033[K"));
    EXPECT_EQ(progress.clear(), "");
}

TEST(Progress, SurvivesJobsOfAnotherShape) {
    Progress progress((Terminal()));
    for (const char* text : {"{}", R"({"phases":3,"messages":"x","progress":[]})", R"({"phases":[1,{"name":7}],"messages":[null]})", R"({"progress":{"phase":"copy","percent":"x"}})"})
        (void)progress.update(job(text), 1);
    Terminal terminal;
    terminal.err = terminal.utf8 = true;
    Progress bar(terminal);
    EXPECT_NE(bar.update(job(R"({"progress":{"percent":-5,"round":2,"bytes":1048576}})"), 1).find("round 2, 1.0 MiB sent"), std::string::npos);
}

}  // namespace
}  // namespace blanket::cli
