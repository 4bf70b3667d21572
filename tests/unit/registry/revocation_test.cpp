// SPDX-License-Identifier: GPL-2.0-or-later
// A site of a federation of real etcd members is cut off: how long it takes until the last door is shut, what it tries then, and that the rest goes on.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "tests/unit/registry/members.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using test::address_of;
using test::kQuiet;
using test::make_site;
using test::TestSite;
using Steady = std::chrono::steady_clock;

const std::string kWestKey = base64_encode(std::string(32, 'w')), kNorthKey = base64_encode(std::string(32, 'n'));

std::int64_t now_s() { return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// What blanketd serves to other sites of it.
void serve(RestServer& server, TestSite& site, int host) {
    const auto route = [&](const char* method, const char* path, auto handler, Access access) {
        server.route(method, path, [handler](const RestRequest& request) {
            const auto body = request.json();
            const Result<Json> answer = body ? handler(request, *body) : Result<Json>(std::unexpected(body.error()));
            return answer ? RestResponse::of(*answer) : RestResponse::of(answer.error());
        }, access);
    };
    Federation& federation = *site.federation;
    route("POST", "/1.0/peer/join", [&](const RestRequest&, const Json& body) { return federation.handle_join(body); }, Access::kOpen);
    route("GET", "/1.0/peer/standing", [&](const RestRequest& request, const Json&) -> Result<Json> { return federation.standing(request.query.at("site")); }, Access::kOpen);
    route("POST", "/1.0/peer/renew", [&](const RestRequest& request, const Json& body) { return federation.handle_renew(request.peer_site, body); }, Access::kMembers);
    route("POST", "/1.0/peer/revoked", [&](const RestRequest&, const Json& body) -> Result<Json> {
        BLANKET_CHECK(federation.accept_revocation(body));
        return Json::object();
    }, Access::kMembers);
    server.listen_tls(federation.tls().value(), address_of(host), 7443).value();
}

bool eventually(const std::function<bool()>& what, std::chrono::milliseconds limit = 60s) {
    for (const auto until = Steady::now() + limit; Steady::now() < until; std::this_thread::sleep_for(5ms))
        if (what()) return true;
    return what();
}

TEST(Revocation, ASiteIsCutOffEverywhere) {
    const test::TempDir dir;
    TestSite east = make_site(dir.path(), "east", 11);
    auto east_server = std::make_unique<RestServer>();
    ASSERT_TRUE(east.federation->ensure_local(kQuiet));
    EXPECT_EQ(east.federation->revoke("west", kQuiet).error().kind, Kind::kPrecondition);  // no federation yet
    ASSERT_TRUE(east.federation->init("lab"));
    serve(*east_server, east, 11);
    const auto token = [&](TestSite& site, const std::string& role = "site") { return site.federation->make_token(role, "", 300s).value()["token"].get<std::string>(); };
    const auto join = [&](TestSite& site) {
        Result<void> joined = fail(Kind::kConflict, "not tried");
        ASSERT_TRUE(site.federation->ensure_local(kQuiet));
        ASSERT_TRUE(eventually([&] {
            joined = site.federation->join(token(east), kQuiet);
            return joined || joined.error().kind != Kind::kConflict;
        }, 60s));
        ASSERT_TRUE(joined) << joined.error().what;
    };
    TestSite west = make_site(dir.path(), "west", 12, kWestKey);
    join(west);
    const Newcomer witness = test::make_witness(dir.path(), 13);
    auto third = make_child_runner();
    Result<LocalState> voted = fail(Kind::kConflict, "not tried");
    ASSERT_TRUE(eventually([&] {
        voted = join_federation(witness, parse_token_text(token(east, "witness")).value(), *third, kQuiet);
        return voted || voted.error().kind != Kind::kConflict;
    }, 60s));
    ASSERT_TRUE(voted) << voted.error().what;
    TestSite north = make_site(dir.path(), "north", 14, kNorthKey);
    join(north);
    EXPECT_EQ(north.federation->local().role, "client");
    RestServer north_server;
    serve(north_server, north, 14);
    for (TestSite* site : {&east, &west, &north}) ASSERT_TRUE(site->federation->refresh_endpoints(site->federation->registry()->snapshot().value().sites));

    // What the witness's own program does.
    const EtcdConfig witness_config = etcd_config(witness, *voted);
    const auto witness_list = Revocations::load(witness.root + "/pki").value();
    const auto witness_client = std::make_shared<EtcdClient>(voted->endpoints, etcd_tls(witness.root), 15s);
    std::atomic<bool> witness_cut = false;
    auto witness_watch = std::make_unique<Watcher>(witness_client, [&](std::span<const EtcdEvent>) {
        const auto taken = take_revocations(*witness_client, *witness_list, witness.root);
        if (taken && *taken) witness_cut = end_etcd_connections(witness_config).has_value();
    });
    // What blanketd of east and north does at a change of a record.
    const auto follow = [](TestSite& site) {
        return std::make_unique<Watcher>(site.federation->etcd(), [&federation = *site.federation](std::span<const EtcdEvent>) {
            if (auto snapshot = federation.registry()->snapshot()) federation.judge(*snapshot);
        });
    };

    // Refused, with the reason: itself, a stranger, the CA's holder, and while the rest would be no quorum.
    EXPECT_EQ(north.federation->revoke("north", kQuiet).error().kind, Kind::kInvalid);
    EXPECT_EQ(north.federation->revoke("south", kQuiet).error().kind, Kind::kNotFound);
    const auto holder = north.federation->revoke("east", kQuiet);
    ASSERT_FALSE(holder);
    EXPECT_EQ(holder.error().kind, Kind::kPrecondition);
    EXPECT_TRUE(holder.error().what.contains("CA")) << holder.error().what;
    // The leader whom these members see, all the same one; 0: none, as at an election. Each member's word may be late.
    const auto leader_of = [&](const std::vector<int>& hosts) {
        std::set<std::uint64_t> leaders;
        for (const int host : hosts) {
            const auto status = east.federation->etcd()->status(address_of(host) + ":2379");
            leaders.insert(status ? status->leader : 0);
        }
        return leaders.size() == 1 ? *leaders.begin() : 0;
    };
    ASSERT_TRUE(eventually([&] { return leader_of({11, 12, 13}) != 0; }));
    ASSERT_TRUE(third->stop());
    Result<Json> broken = fail(Kind::kInternal, "not tried");
    ASSERT_TRUE(eventually([&] {
        broken = north.federation->revoke("west", kQuiet);
        return broken || broken.error().what.contains("1 is well");  // none is while, the witness having led, the two that are left elect another
    }));
    ASSERT_FALSE(broken);
    EXPECT_EQ(broken.error().kind, Kind::kPrecondition);
    EXPECT_TRUE(broken.error().what.contains("2 voters, of which 1 is well")) << broken.error().what;
    EXPECT_EQ(east.federation->etcd()->members()->size(), 3u);
    EXPECT_FALSE(north.federation->revocations()->refuses("west"));
    ASSERT_TRUE(third->start(witness_config));
    const std::vector<std::string> doors{address_of(11), address_of(13)};
    ASSERT_TRUE(eventually([&] { return leader_of({11, 12, 13}) != 0; }));

    // West has everything open that it can: a watch at each member, a token of its own, the registry's leader.
    const std::string stolen = token(west);
    const EtcdTls west_tls = etcd_tls(dir.path() + "/west");
    const TlsContext west_identity = TlsContext::load(PkiPaths::in(dir.path() + "/west/pki")).value();
    std::atomic<int> watching = 0, watches_over = 0, heard = 0;
    std::atomic<bool> cut_off = false;
    std::vector<std::jthread> watches;
    for (const auto& door : doors)
        watches.emplace_back([&, door](const std::stop_token& stop) {
            EtcdClient client({door + ":2379"}, west_tls, 15s);
            static_cast<void>(client.watch(std::string(kRegistryPrefix), stop, [&](std::span<const EtcdEvent> events) {
                if (events.empty()) ++watching;
                if (cut_off) ++heard;
            }));
            ++watches_over;
        });
    ASSERT_TRUE(eventually([&] { return watching == 2; }));
    const auto at_peer_port = [&](const std::string& door, const std::string& site) {
        const auto reply = RestClient::site(west_identity, door, 2380, site).call("GET", "/members", nullptr, 15s);
        return reply && reply->status == 200;
    };
    ASSERT_TRUE(at_peer_port(doors[0], "east"));
    ASSERT_TRUE(at_peer_port(doors[1], "witness"));
    const auto west_member = east.federation->etcd()->status(address_of(12) + ":2379");
    ASSERT_TRUE(west_member) << west_member.error().what;
    ASSERT_TRUE(eventually([&] {
        const std::uint64_t leader = leader_of({11, 12, 13});
        if (leader != 0 && leader != west_member->member) (void)east.federation->move_leader_to("west");
        return leader == west_member->member;
    }));
    auto east_watch = follow(east), north_watch = follow(north);

    const auto plan = north.federation->plan_revoke("west");
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->size(), 5u);
    const auto begin = Steady::now();
    const auto done = north.federation->revoke("west", kQuiet);
    ASSERT_TRUE(done) << done.error().what;
    const auto command = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - begin);
    ASSERT_TRUE(eventually([&] { return watches_over == 2 && witness_list->refuses("west") && witness_cut; }));
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - begin);
    cut_off = true;
    std::printf("revocation: told after %llu ms, the command ended after %lld ms, the last open connection after %lld ms\n",
                static_cast<unsigned long long>((*done)["revoked"]["ms"].get<std::uint64_t>()), static_cast<long long>(command.count()), static_cast<long long>(took.count()));
    EXPECT_LT(took, 60s);  // a hang; how long it takes is printed: two elections of etcd are in it
    EXPECT_TRUE((*done)["revoked"]["recorded"].get<bool>());
    EXPECT_TRUE((*done)["revoked"]["open"].empty()) << done->dump(1);
    EXPECT_EQ((*done)["revoked"]["confirmed"].size(), 2u);

    // It replays its certificate: at every member's client and peer port, and at both sites.
    for (const auto& door : doors) {
        EtcdClient client({door + ":2379"}, west_tls, 2s);
        EXPECT_FALSE(client.get(std::string(kRegistryPrefix) + "federation")) << door;
        EXPECT_FALSE(client.txn({}, {{std::string(kRegistryPrefix) + "revoked/west", std::nullopt}})) << door;
        EXPECT_FALSE(at_peer_port(door, door == doors[0] ? "east" : "witness"));
    }
    const Json nothing = Json::object();
    EXPECT_FALSE(RestClient::site(west_identity, address_of(11), 7443, "east").call("POST", "/1.0/peer/renew", &nothing, 15s));
    EXPECT_FALSE(RestClient::site(west_identity, address_of(14), 7443, "north").call("GET", "/1.0/peer/standing?site=west", nullptr, 15s));
    EXPECT_EQ(east.federation->handle_renew("west", Json{{"csr", make_csr({"west", address_of(12)}).value().csr}}).error().kind, Kind::kDenied);
    // A token of before, the old name, the old WireGuard key: none of them opens the door again.
    const auto ask = [&](const std::string& text, const std::string& name, const std::string& key) {
        Newcomer again = witness;
        again.role = "site";
        again.name = name;
        again.address = address_of(15);
        again.wireguard_key = key;
        const auto answer = east.federation->handle_join(join_request(again, parse_token_text(text).value(), make_csr({name, again.address}).value().csr));
        return answer ? Kind::kInternal : answer.error().kind;
    };
    EXPECT_EQ(ask(stolen, "ghost", ""), Kind::kDenied);
    EXPECT_EQ(ask(token(east), "west", ""), Kind::kDenied);
    EXPECT_EQ(ask(token(east), "ghost", kWestKey), Kind::kDenied);

    // The registry goes on with two voters, and says what west is.
    EXPECT_EQ(east.federation->etcd()->members()->size(), 2u);
    const auto& registry = east.federation->registry();
    const auto written = registry->put("seq/after", Json{{"n", 1}}, 0);
    ASSERT_TRUE(written) << written.error().what;
    const auto seen = [&](TestSite& site) {
        Snapshot snapshot = site.federation->registry()->snapshot().value();
        site.federation->judge(snapshot);
        return snapshot;
    };
    const auto record_of = [](const Snapshot& snapshot, const std::string& name) {
        for (const auto& site : snapshot.sites)
            if (site.value.name == name) return site.value;
        return Site{};
    };
    EXPECT_EQ(record_of(seen(east), "west").state, kRevoked);
    EXPECT_EQ(record_of(seen(east), "north").state, "joined");
    // Forged records: west as before with another key, no statement any more, west's statement about north, nonsense. Nobody falls for them.
    const Revocation revenge = [&] {
        Revocation one;
        one.site = "north";
        one.since = "2026-01-01T00:00:00Z";
        return sign_revocation(PkiPaths::in(dir.path() + "/west/pki"), one).value();
    }();
    Site forged = record_of(seen(east), "west");
    forged.state = "joined";
    forged.wireguard_key = base64_encode(std::string(32, 'x'));
    const auto raw = east.federation->etcd();
    ASSERT_TRUE(raw->txn({}, {{std::string(kRegistryPrefix) + "sites/west", to_json(forged).dump()}, {std::string(kRegistryPrefix) + "revoked/west", std::nullopt},
                              {std::string(kRegistryPrefix) + "revoked/north", to_json(revenge).dump()}, {std::string(kRegistryPrefix) + "revoked/east", "nonsense"}}));
    for (TestSite* site : {&east, &north}) {
        const Snapshot judged = seen(*site);
        EXPECT_EQ(record_of(judged, "west").state, kRevoked);
        EXPECT_TRUE(record_of(judged, "west").wireguard_key.empty());
        EXPECT_EQ(record_of(judged, "north").state, "joined");
        EXPECT_EQ(record_of(judged, "north").wireguard_key, kNorthKey);
        EXPECT_EQ(record_of(judged, "east").state, "joined");
        EXPECT_FALSE(site->federation->revocations()->refuses("north"));
    }
    EXPECT_EQ(RestClient::site(north.federation->tls().value(), address_of(11), 7443, "east").call_ok("POST", "/1.0/peer/revoked", nullptr, 15s).error().kind, Kind::kInvalid);
    const Json revenge_body = to_json(revenge);
    EXPECT_EQ(RestClient::site(north.federation->tls().value(), address_of(11), 7443, "east").call_ok("POST", "/1.0/peer/revoked", &revenge_body, 15s).error().kind, Kind::kDenied);
    EXPECT_TRUE(registry->get("revoked/west").value());  // written back
    ASSERT_TRUE(registry->remove("revoked/north"));

    // West learns why nobody talks to it, and does not start as if nothing had been.
    EXPECT_FALSE(west.federation->revoked());
    west.federation->ask_standing();
    ASSERT_TRUE(west.federation->revoked());
    EXPECT_EQ(west.federation->revoked()->by, "north");
    const auto restart = west.federation->ensure_local(kQuiet);
    ASSERT_FALSE(restart);
    EXPECT_EQ(restart.error().kind, Kind::kDenied);
    EXPECT_TRUE(restart.error().what.contains("revoked by 'north'")) << restart.error().what;
    north.federation->ask_standing();
    EXPECT_FALSE(north.federation->revoked());

    // A second time is harmless; a newcomer hears of it at once; certificates are renewed for those in good standing.
    const auto twice = east.federation->revoke("west", kQuiet);
    ASSERT_TRUE(twice) << twice.error().what;
    EXPECT_EQ((*twice)["revoked"]["by"], "north");
    TestSite south = make_site(dir.path(), "south", 16);
    join(south);
    EXPECT_TRUE(south.federation->revocations()->refuses("west"));
    const std::string before = read_file(dir.path() + "/north/pki/site.crt").value(), key = read_file(dir.path() + "/north/pki/site.key").value();
    EXPECT_FALSE(*north.federation->renew_if_due(now_s()));
    EXPECT_FALSE(*north.federation->renew_if_due(now_s() + 181 * 86400));
    const std::int64_t due = now_s() + 184 * 86400;
    const auto renewed = north.federation->renew_if_due(due);
    ASSERT_TRUE(renewed) << renewed.error().what;
    EXPECT_TRUE(*renewed);
    EXPECT_NE(read_file(dir.path() + "/north/pki/site.crt").value(), before);
    EXPECT_EQ(read_file(dir.path() + "/north/pki/site.key").value(), key);
    EXPECT_FALSE(*north.federation->renew_if_due(due + 3599));  // not asked again within the hour
    EXPECT_TRUE(RestClient::site(north.federation->tls().value(), address_of(11), 7443, "east").call("GET", "/1.0/peer/standing?site=north", nullptr, 15s));
    EXPECT_TRUE(*east.federation->renew_if_due(due));  // by itself
    // The witness's, as its own program does it.
    Renewal renewal(witness.root, {witness.name, witness.address}, 7443);
    const std::string votes_by = read_file(witness.root + "/pki/site.crt").value();
    EXPECT_FALSE(*renewal.due(now_s()));
    EXPECT_TRUE(*renewal.due(due));
    EXPECT_FALSE(*renewal.due(due + 3599));
    EtcdRegistry through_witness(witness_client);
    const auto third_renewed = renewal.renew(through_witness, TlsContext::load(PkiPaths::in(witness.root + "/pki"), witness_list).value());
    ASSERT_TRUE(third_renewed) << third_renewed.error().what;
    EXPECT_NE(read_file(witness.root + "/pki/site.crt").value(), votes_by);
    EXPECT_TRUE(EtcdClient(voted->endpoints, etcd_tls(witness.root), 15s).get(std::string(kRegistryPrefix) + "federation"));
    EXPECT_EQ(east.federation->handle_renew("ghost", Json{{"csr", make_csr({"ghost", address_of(15)}).value().csr}}).error().kind, Kind::kDenied);
    east_server.reset();
    const auto away = north.federation->renew_if_due(due + 7200);
    ASSERT_FALSE(away);  // the CA's holder is away: said, and tried again later
    EXPECT_EQ(away.error().kind, Kind::kUnavailable);

    // It holds over a restart, before the registry answers and after.
    east_watch.reset();
    north_watch.reset();
    witness_watch.reset();
    east.federation.reset();
    TestSite back = make_site(dir.path(), "east", 11);
    EXPECT_TRUE(back.federation->revocations()->refuses("west"));
    const auto up = back.federation->ensure_local(kQuiet);
    ASSERT_TRUE(up) << up.error().what;
    EXPECT_EQ(record_of(seen(back), "west").state, kRevoked);
    EtcdClient client({doors[0] + ":2379"}, west_tls, 2s);
    EXPECT_FALSE(client.get(std::string(kRegistryPrefix) + "federation"));
    EXPECT_EQ(heard, 0);
}

TEST(Revocation, ReadsWhatSsPrints) {
    const auto found = parse_connections("0      0          127.0.0.1:42379    127.0.0.1:57728\nESTAB 0 0 [::ffff:10.0.0.1]:2379 [::ffff:10.0.0.2]:40000 \n\ngarbage\n");
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0], "127.0.0.1:42379 127.0.0.1:57728");
    EXPECT_TRUE(found[1].contains("10.0.0.2"));
}

}  // namespace
}  // namespace blanket
