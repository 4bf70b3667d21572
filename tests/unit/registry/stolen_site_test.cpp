// SPDX-License-Identifier: GPL-2.0-or-later
// A stolen site writes what it likes into etcd, as every member can, so that it cannot be revoked. It is, each way.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/registry/founder.hpp"

namespace blanket {
namespace {

using test::address_of;
using test::eventually;
using test::kQuiet;
using test::make_site;
using test::TestSite;

std::vector<std::string> names(const std::vector<EtcdMember>& members) {
    std::vector<std::string> out;
    for (const auto& member : members) out.push_back(member.name);
    std::ranges::sort(out);
    return out;
}

TEST(StolenSite, CannotMakeItselfUnrevocable) {
    const test::TempDir dir;
    test::Founder east(dir.path(), 21);
    east.open();
    EXPECT_EQ(east.site.federation->local().founder, "east");
    TestSite west = make_site(dir.path(), "west", 22);
    const auto joined = east.join(west);
    ASSERT_TRUE(joined) << joined.error().what;
    EXPECT_EQ(west.federation->local().founder, "east");
    const Newcomer witness = test::make_witness(dir.path(), 23);
    auto third = make_child_runner();
    const auto voted = east.join_witness(witness, *third);
    ASSERT_TRUE(voted) << voted.error().what;
    TestSite north = make_site(dir.path(), "north", 24);
    const auto client = east.join(north);
    ASSERT_TRUE(client) << client.error().what;
    ASSERT_TRUE(eventually([&] { return east.record("witness").state == "joined"; }));
    Federation& federation = *east.site.federation;

    // A member in etcd's key is not the holder of the CA's key; and the founder is it whatever the key says, also at the others and without a pin.
    east.write("federation", R"({"name":"lab","id":"x","founder":"west"})");
    EXPECT_EQ(north.federation->revoke("east", kQuiet).error().kind, Kind::kPrecondition);
    EXPECT_TRUE(north.federation->plan_revoke("west"));
    EXPECT_EQ(parse_token_text(north.federation->make_token("site", "", std::chrono::seconds(60)).value()["token"].get<std::string>()).value().endpoints.front(), address_of(21) + ":7443");
    LocalState unpinned = load_local_state(dir.path() + "/north").value();
    unpinned.founder.clear();
    ASSERT_TRUE(save_local_state(dir.path() + "/north", unpinned));
    EXPECT_EQ(ca_holder(dir.path() + "/north"), "east");
    EXPECT_EQ(north.federation->revoke("east", kQuiet).error().kind, Kind::kPrecondition);

    // Its member takes the witness's name.
    const std::uint64_t member = east.record("west").member, third_member = east.record("witness").member;
    EtcdConfig config;
    config.dir = dir.path() + "/west/etcd";
    std::string text = read_file(config.file(), 65536).value();
    const auto at = text.find("name: \"west\"");
    ASSERT_NE(at, std::string::npos);
    text.replace(at, 12, "name: \"witness\"");
    const auto strict = text.find("strict-reconfig-check: true");
    ASSERT_NE(strict, std::string::npos);
    ASSERT_TRUE(write_file(config.file(), text.replace(strict, 27, "strict-reconfig-check: false"), 0600));
    ASSERT_TRUE(west.runner->start(config));
    ASSERT_TRUE(eventually([&] {
        const auto members = east.etcd().members();
        return members && names(*members) == std::vector<std::string>{"east", "witness", "witness"};
    }));
    ASSERT_TRUE(eventually([&] {
        const auto status = west.federation->etcd()->status(address_of(22) + ":2379");
        return status && status->leader != 0;
    }));
    // And it adds voters that nobody has: without it the rest is no quorum of them.
    for (const int nobody : {26, 27})
        ASSERT_TRUE(eventually([&] { return west.federation->etcd()->member_add("https://" + address_of(nobody) + ":2380", false).has_value(); }));
    ASSERT_EQ(east.etcd().members().value().size(), 5u);
    const auto done = federation.revoke("west", kQuiet);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_TRUE((*done)["revoked"]["member_removed"].get<bool>());
    EXPECT_TRUE((*done)["revoked"]["unclaimed"].empty()) << done->dump(1);
    EXPECT_TRUE(federation.revocations()->refuses("west"));
    auto members = east.etcd().members().value();
    EXPECT_EQ(members.size(), 2u);
    EXPECT_FALSE(std::ranges::contains(members, member, &EtcdMember::id));
    EXPECT_TRUE(std::ranges::contains(members, third_member, &EtcdMember::id));

    // Its record names the witness's member, and the witness's none: the witness shows its certificate, and keeps its vote.
    TestSite south = make_site(dir.path(), "south", 25);
    const auto second = east.join(south);
    ASSERT_TRUE(second) << second.error().what;
    ASSERT_TRUE(eventually([&] { return east.record("south").state == "joined"; }));
    Site trap = east.record("south"), victim = east.record("witness");
    trap.member = third_member;
    victim.member = 0;
    east.write("sites/south", to_json(trap).dump());
    east.write("sites/witness", to_json(victim).dump());
    const auto trapped = federation.revoke("south", kQuiet);
    ASSERT_TRUE(trapped) << trapped.error().what;
    EXPECT_TRUE((*trapped)["revoked"]["member_removed"].get<bool>());
    members = east.etcd().members().value();
    EXPECT_EQ(names(members), (std::vector<std::string>{"east", "witness"}));

    // No record any more, or nonsense in its place; a name that nobody has ever seen is a slip, unless the operator means it.
    EXPECT_EQ(federation.revoke("north-2", kQuiet).error().kind, Kind::kNotFound);
    east.write("sites/north-2", "nonsense");
    EXPECT_TRUE(federation.plan_revoke("north-2"));
    ASSERT_TRUE(federation.refresh_endpoints(east.registry().snapshot().value().sites));
    east.erase("sites/north");
    const auto plan = federation.plan_revoke("north");
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_TRUE(plan->front().contains("'north' alone")) << plan->front();
    const auto nameless = federation.revoke("north", kQuiet);
    ASSERT_TRUE(nameless) << nameless.error().what;
    EXPECT_FALSE((*nameless)["revoked"]["member_removed"].get<bool>());  // it had none
    EXPECT_TRUE(federation.revocations()->refuses("north"));
    EXPECT_EQ(federation.revoke("ghost", kQuiet).error().kind, Kind::kNotFound);
    EXPECT_TRUE(federation.revoke("ghost", kQuiet, true));
    EXPECT_TRUE(federation.revocations()->refuses("ghost"));

    // A member that no record names is told, not passed over.
    east.erase("sites/witness");
    const auto odd = federation.revoke("ghost", kQuiet);
    ASSERT_TRUE(odd) << odd.error().what;
    ASSERT_EQ((*odd)["revoked"]["unclaimed"].size(), 1u) << odd->dump(1);
    EXPECT_TRUE((*odd)["revoked"]["unclaimed"][0].get<std::string>().ends_with("witness"));

    // Without etcd's key of the federation it is a member all the same.
    east.erase("federation");
    east.site.federation.reset();
    east.start();
    EXPECT_TRUE(east.site.federation->federated());
}

}  // namespace
}  // namespace blanket
