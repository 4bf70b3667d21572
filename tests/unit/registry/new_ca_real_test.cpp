// SPDX-License-Identifier: GPL-2.0-or-later
// A new CA in a federation of real etcd members: two sites and a witness vote, a third site is a client. The registry takes writes all along, and in the end nobody takes a
// certificate of the old CA. Then once more while a site is away, which comes back.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/unit/registry/founder.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using test::address_of;
using test::eventually;
using test::kQuiet;
using test::make_site;
using test::TestSite;

constexpr int kEast = 61, kWest = 62, kWitness = 63, kNorth = 64;

// What blanketd serves and does of it.
void serve_ca(RestServer& server, Federation& federation) {
    const auto route = [&](const char* method, const char* path, auto handler, Access access) {
        server.route(method, path, [handler](const RestRequest& request) {
            const auto body = request.json();
            const Result<Json> answer = body ? handler(request, *body) : Result<Json>(std::unexpected(body.error()));
            return answer ? RestResponse::of(*answer) : RestResponse::of(answer.error());
        }, access);
    };
    route("GET", "/1.0", [](const RestRequest&, const Json&) -> Result<Json> { return Json::object(); }, Access::kSites);
    route("GET", "/1.0/peer/ca", [&](const RestRequest&, const Json&) -> Result<Json> { return federation.ca_statements(); }, Access::kOpen);
    route("POST", "/1.0/peer/readmit", [&](const RestRequest&, const Json& body) { return federation.handle_readmit(body); }, Access::kOpen);
    route("POST", "/1.0/peer/renew", [&](const RestRequest& request, const Json& body) {
        return federation.handle_renew(Subject{request.peer_site, request.peer_address, request.signed_role}, body);
    }, Access::kMembers);
    federation.on_identity([&]() -> Result<void> {
        BLANKET_TRY(const TlsContext tls, federation.tls());
        return server.renew_tls(tls);
    });
}

std::jthread follows(Federation& federation) {
    return std::jthread([&](const std::stop_token& stop) {
        for (; !stop.stop_requested(); std::this_thread::sleep_for(100ms)) static_cast<void>(federation.follow_ca());
    });
}

// What the witness's own program does.
struct WitnessSide {
    Newcomer self;
    LocalState state;
    EtcdRunner& runner;
    std::shared_ptr<EtcdClient> client;
    EtcdRegistry registry{client};
    CaStore store{self.root};
    Renewal renewal{self.root, {self.name, self.address, kWitnessRole}, 7443};
    std::unique_ptr<CaFollower> follower;
    std::jthread thread;

    WitnessSide(Newcomer newcomer, LocalState local, EtcdRunner& its)
        : self(std::move(newcomer)), state(std::move(local)), runner(its), client(std::make_shared<EtcdClient>(state.endpoints, etcd_tls(self.root), 5s)) {
        CaFollower::Hooks hooks;
        hooks.sites = [this]() -> Result<std::vector<Site>> {
            BLANKET_TRY(const Snapshot now, registry.snapshot());
            std::vector<Site> out;
            for (const auto& site : now.sites) out.push_back(site.value);
            return out;
        };
        hooks.reload = [this]() -> Result<void> { return client->configure(state.endpoints, etcd_tls(self.root)), Result<void>(); };
        hooks.has_etcd = [] { return true; };
        hooks.restart_etcd = [this](bool wait) { return start_etcd_again(runner, etcd_config(self, state), wait); };
        hooks.may_restart = [this](const std::vector<std::string>& without) { return others_are_well(*client, etcd_tls(self.root), state.endpoints.front(), without); };
        hooks.renew = [this]() -> Result<void> {
            BLANKET_TRY(const TlsContext tls, TlsContext::load(PkiPaths::in(self.root + "/pki")));
            return renewal.renew(registry, tls);
        };
        follower = std::make_unique<CaFollower>(self.root, self.name, store, std::move(hooks));
        thread = std::jthread([this](const std::stop_token& stop) {
            for (; !stop.stop_requested(); std::this_thread::sleep_for(100ms)) static_cast<void>(follower->follow(registry));
        });
    }
};

TEST(NewCaReal, TheRegistryGoesOnAndTheOldOneIsRefused) {
    const test::TempDir dir;
    test::Founder east(dir.path(), kEast);
    serve_ca(east.server, *east.site.federation);
    east.open();
    TestSite west = make_site(dir.path(), "west", kWest), north = make_site(dir.path(), "north", kNorth);
    ASSERT_TRUE(east.join(west));
    const Newcomer witness = test::make_witness(dir.path(), kWitness);
    const auto third = make_child_runner();
    const auto voted = east.join_witness(witness, *third);
    ASSERT_TRUE(voted) << voted.error().what;
    ASSERT_TRUE(east.join(north));
    auto west_server = std::make_unique<RestServer>();
    RestServer north_server;
    serve_ca(*west_server, *west.federation);
    serve_ca(north_server, *north.federation);
    ASSERT_TRUE(west_server->listen_tls(west.federation->tls().value(), address_of(kWest), 7443));
    ASSERT_TRUE(north_server.listen_tls(north.federation->tls().value(), address_of(kNorth), 7443));
    const auto settled = [&] {
        const auto sites = east.registry().snapshot().value().sites;
        return std::ranges::all_of(sites, [](const auto& site) { return site.value.state == "joined"; });
    };
    ASSERT_TRUE(eventually(settled));
    for (TestSite* site : {&east.site, &west, &north}) ASSERT_TRUE(site->federation->refresh_endpoints(site->federation->registry()->snapshot().value().sites));

    // A thief's identity of the old CA, for afterwards.
    const PkiPaths east_pki = PkiPaths::in(dir.path() + "/east/pki");
    const CertAndKey old{read_file(east_pki.ca_cert).value(), read_file(east_pki.ca_key).value()};
    const PkiPaths thief = PkiPaths::in(dir.path() + "/thief");
    ASSERT_TRUE(make_dirs(dir.path() + "/thief", 0700));
    const Subject name{"north", "127.0.0.1", kSiteRole};
    const CsrAndKey request = make_csr(name).value();
    ASSERT_TRUE(write_file(thief.cert, sign_csr(old, request.csr, name).value()));
    ASSERT_TRUE(write_file(thief.key, request.key, 0600));
    ASSERT_TRUE(write_file(thief.ca_cert, old.cert));
    const auto taken_at = [&](const std::string& host, std::uint16_t port) {
        const Json nothing = Json::object();
        const TlsContext tls = TlsContext::load(thief).value();
        if (port == 7443) return RestClient::site(tls, host, port, "").call("GET", "/1.0", nullptr, 5s).has_value();
        return RestClient::site(tls, host, port, "").call("POST", "/v3/maintenance/status", &nothing, 5s).has_value();
    };
    const std::vector<std::pair<int, std::uint16_t>> doors{{kEast, 7443}, {kWest, 7443}, {kNorth, 7443}, {kEast, 2379}, {kWest, 2379}, {kWitness, 2379}};
    for (const auto& [host, port] : doors) EXPECT_TRUE(taken_at(address_of(host), port)) << host << " " << port;

    std::vector<std::jthread> threads;
    threads.push_back(follows(*east.site.federation));
    threads.push_back(follows(*north.federation));
    auto west_thread = follows(*west.federation);
    auto witness_side = std::make_unique<WitnessSide>(witness, *voted, *third);
    std::atomic<int> written = 0, failed = 0;
    threads.emplace_back([&](const std::stop_token& stop) {
        for (int i = 0; !stop.stop_requested(); ++i, std::this_thread::sleep_for(50ms)) {
            const auto now = north.federation->registry()->get("images/probe");
            const auto done = now ? north.federation->registry()->put("images/probe", {{"name", "probe"}, {"n", i}}, *now ? (*now)->revision : 0) : Result<std::uint64_t>(std::unexpected(now.error()));
            ++(done ? written : failed);
        }
    });

    EXPECT_EQ(west.federation->rotate_ca({}).error().kind, Kind::kPrecondition);  // the key is not there
    CaRotation how;
    how.patience = 120s;
    std::vector<std::string> notes;
    how.note = [&](const std::string& text) { notes.push_back(text); };
    const auto done = east.site.federation->rotate_ca(how);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(done->at("ca").at("sites").size(), 4u);
    EXPECT_GT(written.load(), 10);
    EXPECT_EQ(failed.load(), 0);
    const std::string fresh = read_file(east_pki.ca_cert).value();
    EXPECT_EQ(split_bundle(fresh).value().size(), 1u);
    EXPECT_NE(fingerprint(fresh).value(), fingerprint(old.cert).value());
    for (const char* site : {"east", "west", "north", "witness"}) EXPECT_EQ(read_file(dir.path() + "/" + site + "/pki/ca.crt").value(), fresh) << site;
    ASSERT_TRUE(write_file(thief.ca_cert, old.cert + fresh));
    for (const auto& [host, port] : doors) EXPECT_FALSE(taken_at(address_of(host), port)) << host << " " << port;
    ASSERT_TRUE(write_file(thief.cert, sign_csr(ca_signer(dir.path() + "/east").value(), request.csr, name).value()));
    for (const auto& [host, port] : doors) EXPECT_TRUE(taken_at(address_of(host), port)) << host << " " << port;
    EXPECT_FALSE(east.site.federation->ca_rotation_waits());
    EXPECT_EQ(east.etcd().members()->size(), 3u);

    // West is away while it happens again.
    west_thread = {};
    west_server.reset();
    west.federation.reset();
    how.without = {"west"};
    const auto again = east.site.federation->rotate_ca(how);
    ASSERT_TRUE(again) << again.error().what;
    west = make_site(dir.path(), "west", kWest);
    const auto lost = west.federation->ensure_local(kQuiet);
    ASSERT_FALSE(lost);
    west.federation->ask_ca();
    const auto behind = west.federation->ensure_local(kQuiet);
    ASSERT_FALSE(behind);
    EXPECT_EQ(behind.error().kind, Kind::kDenied);
    EXPECT_TRUE(behind.error().what.contains("CA was replaced")) << behind.error().what;
    EXPECT_TRUE(behind.error().hint.contains("blanket site token --name west")) << behind.error().hint;
    EXPECT_EQ(west.federation->join(east.token(), kQuiet).error().kind, Kind::kDenied);  // of nobody's name
    const auto token = east.site.federation->make_token("site", "west", 300s).value()["token"].get<std::string>();
    const auto joined = west.federation->join(token, kQuiet);
    ASSERT_TRUE(joined) << joined.error().what;
    const auto up = west.federation->ensure_local(kQuiet);
    ASSERT_TRUE(up) << up.error().what;
    EXPECT_EQ(west.federation->join(token, kQuiet).error().kind, Kind::kConflict);  // it is in the federation
    EXPECT_EQ(read_file(dir.path() + "/west/pki/ca.crt").value(), read_file(east_pki.ca_cert).value());
    EXPECT_EQ(east.etcd().members()->size(), 3u);
    ASSERT_TRUE(eventually([&] {
        static_cast<void>(west.federation->follow_ca());
        const auto own = east.record("west").ca;
        return own && own->to == fingerprint(read_file(east_pki.ca_cert).value()).value() && own->step == 3;
    }));
    threads.clear();
    witness_side.reset();
}

}  // namespace
}  // namespace blanket
