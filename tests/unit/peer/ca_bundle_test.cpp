// SPDX-License-Identifier: GPL-2.0-or-later
// Two CAs trusted at once, by our TLS: who is let in before, meanwhile and after; what is open goes on; and whose word about a new CA is believed.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <thread>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/ca_bundle.hpp"
#include "toolstack/peer/channel.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

struct CaBundle : testing::Test {
    test::TempDir dir;
    CertAndKey old = make_ca("east").value(), fresh = make_ca("east").value();  // of one name, as they are

    // An identity of `site` by that CA which trusts that bundle.
    PkiPaths files(const std::string& site, const CertAndKey& ca, const std::string& bundle) const {
        const PkiPaths paths = PkiPaths::in(dir.path() + "/" + random_hex(4));
        make_dirs(paths.ca_cert.substr(0, paths.ca_cert.rfind('/')), 0700).value();
        const Subject subject{site, "127.0.0.1", kSiteRole};
        const CsrAndKey request = make_csr(subject).value();
        write_file(paths.ca_cert, bundle).value();
        write_file(paths.cert, sign_csr(ca, request.csr, subject).value()).value();
        write_file(paths.key, request.key, 0600).value();
        return paths;
    }
    TlsContext identity(const std::string& site, const CertAndKey& ca, const std::string& bundle) const { return TlsContext::load(files(site, ca, bundle)).value(); }
    [[nodiscard]] CaStatement statement(CaStep step = CaStep::kTrust) const {
        CaStatement said;
        said.from = fingerprint(old.cert).value();
        said.to = fingerprint(fresh.cert).value();
        said.cert = fresh.cert;
        said.step = step;
        said.serial = 1;
        said.by = "east";
        said.since = rfc3339_now();
        return said;
    }
};

TEST_F(CaBundle, Texts) {
    const std::string both = with_ca(old.cert, fresh.cert).value();
    EXPECT_EQ(split_bundle(both).value(), (std::vector<std::string>{fresh.cert, old.cert}));
    EXPECT_EQ(with_ca(both, fresh.cert).value(), both);
    EXPECT_EQ(fingerprints(both).value(), (std::vector<std::string>{fingerprint(fresh.cert).value(), fingerprint(old.cert).value()}));
    std::string many = old.cert;
    for (int i = 0; i < 6; ++i) many = with_ca(many, make_ca("east").value().cert).value();
    EXPECT_EQ(split_bundle(many).value().size(), kMostCas);
    EXPECT_FALSE(split_bundle(many + old.cert));
    EXPECT_FALSE(split_bundle(""));
    EXPECT_FALSE(split_bundle("nonsense"));
    EXPECT_FALSE(split_bundle(old.cert + fresh.cert.substr(0, 200)));
    for (std::size_t size = 0; size < old.cert.size() - 40; size += 37) EXPECT_FALSE(split_bundle(old.cert.substr(0, size))) << size;

    const Subject subject{"west", "127.0.0.1", kSiteRole};
    const CsrAndKey request = make_csr(subject).value();
    const std::string by_old = sign_csr(old, request.csr, subject).value(), by_new = sign_csr(fresh, request.csr, subject).value();
    EXPECT_EQ(issuer_of(both, by_old).value(), fingerprint(old.cert).value());
    EXPECT_EQ(issuer_of(both, by_new).value(), fingerprint(fresh.cert).value());
    EXPECT_EQ(issuer_of(old.cert, by_new).error().kind, Kind::kNotFound);
    EXPECT_EQ(pair_of(both, old.key).value().cert, old.cert);
    EXPECT_EQ(pair_of(both, fresh.key).value().cert, fresh.cert);
    EXPECT_FALSE(pair_of(old.cert, fresh.key));
    for (const auto& cert : {by_old, by_new}) {
        EXPECT_TRUE(check_identity(both, cert, request.key, "west"));
        EXPECT_TRUE(check_issued(both, cert, "west"));
    }
    EXPECT_FALSE(check_identity(old.cert, by_new, request.key, "west"));
    EXPECT_FALSE(check_issued(fresh.cert, by_old, "west"));
}

TEST_F(CaBundle, WhoIsLetIn) {
    const std::string both = with_ca(old.cert, fresh.cert).value();
    const struct {
        const CertAndKey &server, &client;
        std::string server_trusts, client_trusts;
        bool good;
    } cases[]{{old, old, old.cert, old.cert, true},       {old, old, both, old.cert, true},        {old, fresh, both, both, true},         {fresh, old, both, both, true},
              {fresh, fresh, fresh.cert, both, true},      {fresh, fresh, both, fresh.cert, true},  {old, fresh, old.cert, both, false},    {fresh, old, both, old.cert, false},
              {fresh, old, fresh.cert, both, false}};
    int number = 0;
    for (const auto& one : cases) {
        SCOPED_TRACE(++number);
        RestServer server;
        server.route("GET", "/1.0", [](const RestRequest& request) { return RestResponse::of(Json{{"peer", request.peer_site}}); });
        const auto port = server.listen_tls(identity("west", one.server, one.server_trusts), "127.0.0.1", 0).value();
        const auto reply = RestClient::site(identity("east", one.client, one.client_trusts), "127.0.0.1", port, "west").call_ok("GET", "/1.0", nullptr, 5s);
        EXPECT_EQ(reply.has_value(), one.good) << (reply ? reply->dump() : reply.error().what);
        if (reply) EXPECT_EQ(reply->at("peer"), "east");
    }
}

// A newcomer's token names the CA that signed the certificate which the server shows, wherever it stands in the bundle.
TEST_F(CaBundle, TheRightOneIsSentAlong) {
    for (const auto* own : {&old, &fresh}) {
        RestServer server;
        server.route("GET", "/1.0", [](const RestRequest&) { return RestResponse::of(Json::object()); }, Access::kOpen);
        const auto port = server.listen_tls(identity("east", *own, with_ca(old.cert, fresh.cert).value()), "127.0.0.1", 0).value();
        for (const auto* pinned : {&old, &fresh})
            EXPECT_EQ(RestClient::pinned(fingerprint(pinned->cert).value(), "127.0.0.1", port).call_ok("GET", "/1.0", nullptr, 5s).has_value(), own == pinned);
        EXPECT_TRUE(RestClient::unverified("127.0.0.1", port).call_ok("GET", "/1.0", nullptr, 5s));
    }
}

TEST_F(CaBundle, AnIdentityIsReplacedUnderOpenConnections) {
    const std::string both = with_ca(old.cert, fresh.cert).value();
    std::promise<void> go;
    std::atomic<bool> waiting = false;
    const std::shared_future<void> gone = go.get_future().share();
    RestServer server;
    server.route("GET", "/1.0", [](const RestRequest&) { return RestResponse::of(Json::object()); });
    server.route("GET", "/long", [&](const RestRequest&) {
        waiting = true;
        gone.wait();
        return RestResponse::of(Json{{"ok", true}});
    });
    const TlsContext first = identity("west", old, both);
    const auto port = server.listen_tls(first, "127.0.0.1", 0).value();
    const auto listener = ChannelListener::create(first, "127.0.0.1", 0, [](std::unique_ptr<Channel> channel) {
        while (const auto frame = channel->receive(10s))
            if (!channel->send(frame->type, frame->payload)) return;
    }).value();
    const TlsContext old_east = identity("east", old, both), new_east = identity("east", fresh, both);
    const auto channel = Channel::connect(old_east, "127.0.0.1", listener->port(), "west", 5s).value();
    auto answer = std::async(std::launch::async, [&] { return RestClient::site(old_east, "127.0.0.1", port, "west").call_ok("GET", "/long", nullptr, 20s); });
    for (int i = 0; i < 1000 && !waiting; ++i) std::this_thread::sleep_for(10ms);
    ASSERT_TRUE(waiting);

    const TlsContext second = identity("west", fresh, fresh.cert);
    ASSERT_TRUE(server.renew_tls(second));
    listener->use(second);
    // What is open goes on.
    ASSERT_TRUE(channel->send_json(7, Json{{"still", true}}));
    EXPECT_EQ(channel->receive(10s).value().type, 7u);
    go.set_value();
    const auto reply = answer.get();
    EXPECT_TRUE(reply) << reply.error().what;
    // A certificate of the old CA is refused from now on.
    EXPECT_FALSE(RestClient::site(old_east, "127.0.0.1", port, "west").call_ok("GET", "/1.0", nullptr, 5s));
    EXPECT_TRUE(RestClient::site(new_east, "127.0.0.1", port, "west").call_ok("GET", "/1.0", nullptr, 5s));
    auto late = Channel::connect(old_east, "127.0.0.1", listener->port(), "west", 5s);
    if (late) EXPECT_FALSE((*late)->receive(5s));  // TLS 1.3 tells the client with the first answer
    const auto good = Channel::connect(new_east, "127.0.0.1", listener->port(), "west", 5s);
    ASSERT_TRUE(good) << good.error().what;
    ASSERT_TRUE((*good)->send_json(8, Json::object()));
    EXPECT_EQ((*good)->receive(10s).value().type, 8u);
}

TEST_F(CaBundle, WhoseWordIsBelieved) {
    const CaStatement good = sign_ca_statement(old.key, statement()).value();
    EXPECT_TRUE(check_ca_statement(good, old.cert));
    EXPECT_TRUE(check_ca_statement(good, with_ca(old.cert, fresh.cert).value()));
    const auto refused = [&](const CaStatement& one, const std::string& bundle) {
        const auto checked = check_ca_statement(one, bundle);
        return !checked && checked.error().kind == Kind::kDenied;
    };
    EXPECT_TRUE(refused(good, fresh.cert));  // of a CA that is not trusted here
    // A stolen site has a certificate of the old CA, and its key.
    const PkiPaths thief = files("thief", old, old.cert);
    const std::string key = read_file(thief.key).value();
    EXPECT_TRUE(refused(sign_ca_statement(key, statement()).value(), old.cert));
    CaStatement its = statement();
    its.cert = read_file(thief.cert).value();  // a site's certificate is no CA's, whoever signs
    its.to = fingerprint(its.cert).value();
    EXPECT_TRUE(refused(sign_ca_statement(old.key, its).value(), old.cert));
    // Changed in any field; signed by the new key; another certificate than the one that is named.
    for (const auto& change : std::vector<std::function<void(CaStatement&)>>{[](CaStatement& one) { one.step = CaStep::kDrop; }, [](CaStatement& one) { ++one.serial; },
                                                                            [](CaStatement& one) { one.without = {"west"}; }, [](CaStatement& one) { one.by = "west"; },
                                                                            [](CaStatement& one) { one.since = "2026"; }, [](CaStatement& one) { one.cert = make_ca("east").value().cert; },
                                                                            [](CaStatement& one) { one.signature = "AAAA"; }, [](CaStatement& one) { one.signature = "?"; }}) {
        CaStatement changed = good;
        change(changed);
        EXPECT_TRUE(refused(changed, old.cert));
    }
    EXPECT_TRUE(refused(sign_ca_statement(fresh.key, statement()).value(), old.cert));
    CaStatement two = statement();
    two.cert = fresh.cert + old.cert;
    EXPECT_TRUE(refused(sign_ca_statement(old.key, two).value(), old.cert));
}

// The statements about revoked sites outlive the CA of those who signed them.
TEST_F(CaBundle, RevocationsAreSignedAnew) {
    const std::string both = with_ca(old.cert, fresh.cert).value();
    const auto list = Revocations::load(dir.path()).value();
    Revocation one;
    one.site = "north";
    one.since = rfc3339_now();
    const Revocation first = sign_revocation(files("west", old, old.cert), one).value();
    ASSERT_TRUE(list->add(first, both).value());
    const Revocation second = sign_revocation(files("east", fresh, both), first).value();
    EXPECT_EQ(check_revocation(first, fresh.cert).error().kind, Kind::kDenied);
    ASSERT_TRUE(list->renew(second, both));
    EXPECT_EQ(list->list(), std::vector<Revocation>{second});
    EXPECT_TRUE(check_revocation(list->list().front(), fresh.cert));
    EXPECT_EQ(list->renew(first, fresh.cert).error().kind, Kind::kDenied);
    Revocation other = second;
    other.site = "south";
    EXPECT_EQ(list->renew(sign_revocation(files("east", fresh, both), other).value(), both).error().kind, Kind::kNotFound);
    EXPECT_EQ(Revocations::load(dir.path()).value()->list(), std::vector<Revocation>{second});
}

}  // namespace
}  // namespace blanket
