// SPDX-License-Identifier: GPL-2.0-or-later
// A new CA: what is news, who is waited for, and that no order of steps leaves two members who cannot talk.
#include <gtest/gtest.h>

#include "toolstack/core/ca_rollover.hpp"

namespace blanket {
namespace {

const std::string kA(64, 'a'), kB(64, 'b'), kC(64, 'c');

CaStatement said(CaStep step, std::uint64_t serial, const std::string& from = kA, const std::string& to = kB) {
    CaStatement statement;
    statement.from = from;
    statement.to = to;
    statement.cert = "cert";
    statement.step = step;
    statement.serial = serial;
    statement.by = "east";
    statement.since = "2026-01-01T00:00:00.000Z";
    statement.signature = "c2ln";
    return statement;
}

Site member(const std::string& name, const std::string& role, CaStep step, const std::string& to = kB) {
    Site site{.name = name, .address = "10.0.0.1", .role = role};
    if (step != CaStep::kNone) site.ca = CaMark{to, static_cast<std::uint32_t>(step)};
    return site;
}

TEST(CaRollover, StatementsComeBackAsTheyWere) {
    CaStatement statement = said(CaStep::kIssue, 7);
    statement.without = {"north", "west"};
    EXPECT_EQ(parse_ca_statement(to_json(statement)).value(), statement);
    EXPECT_TRUE(statement.text().ends_with("\nnorth\nwest\n"));
    const auto broken = [&](const char* field, const Json& value) {
        Json json = to_json(statement);
        json[field] = value;
        return parse_ca_statement(json).has_value();
    };
    EXPECT_FALSE(broken("from", kB));
    EXPECT_FALSE(broken("from", "A"));
    EXPECT_FALSE(broken("to", std::string(64, 'G')));
    EXPECT_FALSE(broken("step", 0));
    EXPECT_FALSE(broken("step", 4));
    EXPECT_FALSE(broken("step", "1"));
    EXPECT_FALSE(broken("by", "east\nwest"));
    EXPECT_FALSE(broken("since", "now\n"));
    EXPECT_FALSE(broken("cert", std::string(5000, 'x')));
    EXPECT_FALSE(broken("signature", std::string(500, 'x')));
    EXPECT_FALSE(broken("without", Json::array({"west", "north"})));
    EXPECT_FALSE(broken("without", Json::array({"a\nb"})));
    EXPECT_FALSE(broken("without", Json::array({1})));
    EXPECT_FALSE(broken("without", "west"));
    EXPECT_FALSE(parse_ca_statement(Json::array()));
}

TEST(CaRollover, AMarkThatMakesNoSenseIsNone) {
    Json json = to_json(member("west", "voter", CaStep::kIssue));
    EXPECT_EQ(parse_site(json).value().ca, (CaMark{kB, 2}));
    for (const Json& mark : {Json("x"), Json{{"to", kB}}, Json{{"to", "b"}, {"step", 1}}, Json{{"to", kB}, {"step", 4}}, Json{{"to", kB}, {"step", -1}}}) {
        json["ca"] = mark;
        EXPECT_FALSE(parse_site(json).value().ca) << mark.dump();
    }
}

TEST(CaRollover, WhatIsNews) {
    const std::vector<std::string> a{kA}, ab{kB, kA}, b{kB};
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 1), nullptr, a), CaNews::kNew);
    EXPECT_EQ(judge_ca_news(said(CaStep::kDrop, 3), nullptr, a), CaNews::kNew);      // all of it was missed
    EXPECT_EQ(judge_ca_news(said(CaStep::kDrop, 3), nullptr, b), CaNews::kOld);      // joined afterwards
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 9, kC, kB), nullptr, a), CaNews::kStranger);
    const CaStatement issue = said(CaStep::kIssue, 2);
    EXPECT_EQ(judge_ca_news(issue, &issue, ab), CaNews::kOld);
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 1), &issue, ab), CaNews::kOld);     // played again
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 3), &issue, ab), CaNews::kOld);     // never back
    EXPECT_EQ(judge_ca_news(said(CaStep::kIssue, 3), &issue, ab), CaNews::kNew);     // others are left out
    EXPECT_EQ(judge_ca_news(said(CaStep::kDrop, 3), &issue, ab), CaNews::kNew);
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 9, kA, kC), &issue, ab), CaNews::kOld);  // not instead of one that has signed
    const CaStatement trust = said(CaStep::kTrust, 1);
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 2, kA, kC), &trust, ab), CaNews::kNew);  // its key was lost before it signed
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 1, kA, kC), &trust, ab), CaNews::kOld);
    const CaStatement drop = said(CaStep::kDrop, 3);
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 4, kB, kC), &drop, b), CaNews::kNew);    // the next one
    EXPECT_EQ(judge_ca_news(drop, &drop, b), CaNews::kOld);
    EXPECT_EQ(judge_ca_news(said(CaStep::kTrust, 4, kA, kC), &drop, b), CaNews::kStranger);  // by the old CA's key, which is worth nothing any more
}

TEST(CaRollover, OnlyThoseThatCountAreWaitedFor) {
    CaStatement statement = said(CaStep::kIssue, 2);
    std::vector<Site> sites{member("west", "voter", CaStep::kTrust), member("east", "voter", CaStep::kIssue), member("witness", "witness", CaStep::kDrop, kC), member("north", "client", CaStep::kNone)};
    EXPECT_EQ(lagging(statement, sites), (std::vector<std::string>{"north", "west", "witness"}));
    statement.without = {"north"};
    sites[0].state = kRevoked;
    EXPECT_EQ(lagging(statement, sites), (std::vector<std::string>{"witness"}));
    // In turn: by name, voters only, not those that are left out or cut off.
    sites = {member("a", "voter", CaStep::kNone), member("b", "client", CaStep::kNone), member("c", "witness", CaStep::kNone), member("d", "voter", CaStep::kNone)};
    EXPECT_EQ(waits_for_turn(statement, CaStep::kTrust, sites, "a"), "");
    EXPECT_EQ(waits_for_turn(statement, CaStep::kTrust, sites, "d"), "a");
    sites[0] = member("a", "voter", CaStep::kTrust);
    EXPECT_EQ(waits_for_turn(statement, CaStep::kTrust, sites, "d"), "c");
    EXPECT_EQ(waits_for_turn(statement, CaStep::kDrop, sites, "d"), "a");
    sites[2].state = kRevoked;
    EXPECT_EQ(waits_for_turn(statement, CaStep::kTrust, sites, "d"), "");
    statement.without = {"a", "c"};
    EXPECT_EQ(waits_for_turn(statement, CaStep::kDrop, sites, "d"), "");

    EXPECT_TRUE(may_miss_one(1, 0, 0) && may_miss_one(2, 0, 0) && may_miss_one(3, 2, 0) && may_miss_one(5, 3, 0));
    EXPECT_FALSE(may_miss_one(3, 1, 0) || may_miss_one(5, 2, 0) || may_miss_one(5, 1, 2));
    EXPECT_TRUE(may_miss_one(3, 1, 1) && may_miss_one(5, 2, 2));  // all that are left: it stands still for a moment

    EXPECT_EQ(check_without({"d", "b", "d"}, sites, "a").value(), (std::vector<std::string>{"b", "d"}));
    EXPECT_EQ(check_without({"a"}, sites, "a").error().kind, Kind::kInvalid);
    EXPECT_EQ(check_without({"x"}, sites, "a").error().kind, Kind::kNotFound);
}

// A member as its files are.
struct Walker {
    CaHere here{.trusts_from = true};
    void act(CaStep step) {
        switch (next_ca_act(step, here)) {
            case CaAct::kTrustBoth: here.trusts_to = true; break;
            case CaAct::kRestartEtcd: here.etcd = here.etcd < CaStep::kTrust ? CaStep::kTrust : CaStep::kDrop; break;
            case CaAct::kRenew: here.shows_to = true; break;
            case CaAct::kTrustNew: here.trusts_from = false; break;
            case CaAct::kSay: here.said = step; break;
            case CaAct::kNothing: break;
        }
    }
    [[nodiscard]] bool takes(const Walker& other) const { return other.here.shows_to ? here.trusts_to : here.trusts_from; }
    // Its etcd, which knows what its file said when it was started.
    [[nodiscard]] bool etcd_takes(const Walker& other) const { return other.here.shows_to ? here.etcd >= CaStep::kTrust : here.etcd < CaStep::kDrop; }
};

// Two members, every order of their single acts, the holder's next word as soon as both have said the last: at no moment do two of them refuse each other.
void walk(const Walker& one, const Walker& two, CaStep step, int depth, int& ends) {
    ASSERT_TRUE(one.takes(two) && two.takes(one) && one.etcd_takes(two) && two.etcd_takes(one)) << to_string(step);
    ASSERT_LT(depth, 40);
    if (one.here.said == step && two.here.said == step) {
        if (step == CaStep::kDrop) {
            ++ends;
            EXPECT_FALSE(one.here.trusts_from || two.here.trusts_from);
            return;
        }
        return walk(one, two, static_cast<CaStep>(static_cast<std::uint32_t>(step) + 1), depth + 1, ends);
    }
    for (const bool first : {true, false}) {
        Walker a = one, b = two;
        Walker& who = first ? a : b;
        if (who.here.said == step) continue;
        who.act(step);
        walk(a, b, step, depth + 1, ends);
        if (testing::Test::HasFatalFailure()) return;
    }
}

TEST(CaRollover, AtNoMomentDoTwoMembersRefuseEachOther) {
    int ends = 0;
    walk({}, {}, CaStep::kTrust, 0, ends);
    EXPECT_GT(ends, 100);
}

TEST(CaRollover, WhoComesLateDoesAllOfIt) {
    for (const CaStep step : {CaStep::kTrust, CaStep::kIssue, CaStep::kDrop}) {
        Walker late;
        for (int i = 0; i < 10; ++i) late.act(step);
        EXPECT_EQ(late.here.said, step);
        EXPECT_EQ(late.here.shows_to, step >= CaStep::kIssue);
        EXPECT_EQ(late.here.trusts_from, step != CaStep::kDrop);
        EXPECT_EQ(next_ca_act(step, late.here), CaAct::kNothing);
    }
    Walker client;
    client.here.etcd = CaStep::kDrop;  // without etcd: none starts again
    for (int i = 0; i < 10; ++i) {
        EXPECT_NE(next_ca_act(CaStep::kDrop, client.here), CaAct::kRestartEtcd);
        client.act(CaStep::kDrop);
    }
    EXPECT_EQ(client.here.said, CaStep::kDrop);
}

}  // namespace
}  // namespace blanket
