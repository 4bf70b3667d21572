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

const char* const kLive = R"({"verb":"migrate","subject":"vm/web","state":"running","progress":{"phase":"memory","percent":40,"ms":12300,"round":2,"pages_left":1234,"bytes_left":5054464,
    "bytes_per_s":47185920,"wire_bytes_per_s":12687769,"left_ms":3000,"forecast_ms":320}})";

TEST(Progress, ALostLinkIsTold) {
    Json lost = job(kLive);
    lost["progress"] = {{"phase", "memory"}, {"percent", 40}, {"ms", 20'000u}, {"link_lost_ms", 12'300u}, {"link_patience_ms", 90'000u}};
    Progress plain((Terminal()));
    EXPECT_TRUE(plain.update(job(kLive), 1).find("round 2") != std::string::npos);
    EXPECT_EQ(plain.update(lost, 2), "    20.0 s  memory: link lost, trying again (12 s of 90)\n");
    lost["progress"]["ms"] = 21'000u;
    EXPECT_EQ(plain.update(lost, 3), "");
    Terminal wide;
    wide.err = true;
    wide.width = 120;
    EXPECT_NE(Progress(wide).update(lost, 4).find("40%  memory, link lost, trying again (12 s of 90)"), std::string::npos);
}

TEST(Progress, FiguresAsPlainLinesOncePerRoundAndNowAndThen) {
    Progress progress((Terminal()));
    Json now = job(kLive);
    const std::string figures = "    12.3 s  memory: round 2, 1234 pages (4.8 MiB) left, 45.0 MiB/s, 12.1 MiB/s on the wire, about 3.0 s left, a stop after this round takes about 320 ms\n";
    EXPECT_TRUE(progress.update(now, 1).ends_with(figures));
    now["progress"]["ms"] = 14'000u;
    EXPECT_EQ(progress.update(now, 2), "");
    now["progress"]["ms"] = 22'400u;
    EXPECT_TRUE(progress.update(now, 3).starts_with("    22.4 s  memory: round 2, "));
    // The first round: nothing is known yet of those after it, then not even of a rate.
    now["progress"] = {{"phase", "memory"}, {"percent", 3}, {"ms", 500u}, {"round", 0u}, {"pages_left", 65536u}, {"bytes_left", 268435456u}, {"bytes_per_s", 1048576u}, {"round_left_ms", 256000u}};
    EXPECT_EQ(progress.update(now, 4), "     0.5 s  memory: round 0, 65536 pages (256.0 MiB) left, 1.0 MiB/s, round ends in 4 min 16 s\n");
    now["state"] = "done";
    now["progress"]["round"] = 1u;
    EXPECT_EQ(progress.update(now, 5), "");
}

TEST(Progress, FiguresShortenTheBar) {
    Terminal terminal;
    terminal.err = true;
    terminal.width = 120;
    EXPECT_EQ(Progress(terminal).update(job(kLive), 12.3), "\r\033[Kmigrate web  #########---------------  40%  memory, round 2, 4.8 MiB left, 45.0 MiB/s, 3.0 s left, stop 320 ms  12.3 s");
    terminal.width = 101;
    EXPECT_EQ(Progress(terminal).update(job(kLive), 12.3), "\r\033[Kmigrate web  ##----  40%  memory, round 2, 4.8 MiB left, 45.0 MiB/s, 3.0 s left, stop 320 ms  12.3 s");
    for (const int width : {20, 60, 80, 200}) {
        terminal.width = width;
        EXPECT_LT(Progress(terminal).update(job(kLive), 12.3).size(), 4u + static_cast<unsigned>(width));
    }
}

TEST(Progress, SurvivesJobsOfAnotherShape) {
    Progress progress((Terminal()));
    for (const char* text : {"{}", R"({"phases":3,"messages":"x","progress":[]})", R"({"phases":[1,{"name":7}],"messages":[null]})", R"({"progress":{"phase":"copy","percent":"x"}})",
                             R"({"progress":{"ms":-1,"round":1e300,"bytes_left":"x","left_ms":null}})", R"({"progress":{"ms":18446744073709551615,"round":18446744073709551615,"bytes_left":18446744073709551615}})"})
        (void)progress.update(job(text), 1);
    Terminal terminal;
    terminal.err = terminal.utf8 = true;
    Progress bar(terminal);
    EXPECT_NE(bar.update(job(R"({"progress":{"percent":-5,"round":2,"bytes":1048576}})"), 1).find("round 2, 1.0 MiB sent"), std::string::npos);
}

}  // namespace
}  // namespace blanket::cli
