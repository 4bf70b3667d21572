// SPDX-License-Identifier: GPL-2.0-or-later
// A site that is cut off: its certificates, requests, channels and words are refused; what it had open ends; the list survives, and nonsense does not get in.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <thread>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/channel.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/rest_server.hpp"
#include "toolstack/peer/revocations.hpp"
#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const std::string kKey = base64_encode(std::string(32, 'k'));

struct RevocationsTest : testing::Test {
    test::TempDir dir;
    test::Authority authority{dir.path()};

    PkiPaths files(const std::string& name) { return authority.files(name); }
    std::shared_ptr<Revocations> list(const std::string& name) {
        make_dirs(dir.path() + "/list-" + name, 0700).value();
        return Revocations::load(dir.path() + "/list-" + name).value();
    }
    [[nodiscard]] Revocation about(const std::string& site) const {
        Revocation revocation;
        revocation.site = site;
        revocation.wireguard_keys = {kKey};
        revocation.address = "10.0.0.9";
        revocation.since = "2026-01-01T00:00:00Z";
        return revocation;
    }
    Revocation said(const PkiPaths& by, const std::string& site) { return sign_revocation(by, about(site)).value(); }
    const std::string& ca() { return authority.ca().cert; }
};

TEST_F(RevocationsTest, IsKeptAndIsNotGivenUp) {
    const auto east = files("east");
    const Revocation west = said(east, "west");
    {
        const auto revoked = list("a");
        EXPECT_FALSE(revoked->refuses("west"));
        EXPECT_TRUE(revoked->add(west, ca()).value());
        EXPECT_FALSE(revoked->add(west, ca()).value());
        EXPECT_TRUE(revoked->refuses("west"));
        EXPECT_FALSE(revoked->refuses("east"));
        EXPECT_TRUE(revoked->refuses_key(kKey));
        EXPECT_FALSE(revoked->refuses_key(""));
    }
    const auto again = list("a");
    EXPECT_TRUE(again->refuses("west"));
    ASSERT_EQ(again->list().size(), 1u);
    EXPECT_EQ(again->list().front(), west);
    struct stat facts {};
    ASSERT_EQ(::stat((dir.path() + "/list-a/revoked.json").c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u);
    // A list that was damaged at any place is not taken for an empty one.
    const std::string path = dir.path() + "/list-a/revoked.json", text = read_file(path).value();
    for (std::size_t size = 0; size + 2 < text.size(); size += 7) {
        ASSERT_TRUE(write_file(path, text.substr(0, size), 0600));
        EXPECT_EQ(Revocations::load(dir.path() + "/list-a").error().kind, Kind::kInvalid) << size;
    }
}

TEST_F(RevocationsTest, OnlyASiteInGoodStandingIsBelieved) {
    const auto revoked = list("a");
    const auto east = files("east"), west = files("west");
    const auto denied = [&](const Revocation& revocation) {
        const auto added = revoked->add(revocation, ca());
        return !added && added.error().kind == Kind::kDenied;
    };
    // Forged: changed in any field, another's certificate, another federation's CA, about itself.
    const Revocation good = said(east, "north");
    auto changed = good;
    changed.site = "south";
    EXPECT_TRUE(denied(changed));
    changed = good;
    changed.wireguard_keys.push_back(base64_encode(std::string(32, 'x')));
    EXPECT_TRUE(denied(changed));
    changed = good;
    changed.by = "west";
    EXPECT_TRUE(denied(changed));
    changed = good;
    changed.since = "2027-01-01T00:00:00Z";
    EXPECT_TRUE(denied(changed));
    changed = good;
    changed.cert = read_file(west.cert).value();
    EXPECT_TRUE(denied(changed));
    changed = good;
    changed.signature = "";
    EXPECT_TRUE(denied(changed));
    const test::TempDir elsewhere;
    const test::Authority other(elsewhere.path());
    EXPECT_TRUE(denied(sign_revocation(other.files("east"), about("north")).value()));
    EXPECT_TRUE(denied(said(east, "east")));
    // The CA's own certificate is no site's.
    PkiPaths as_ca = east;
    as_ca.cert = east.ca_cert;
    as_ca.key = dir.path() + "/ca.key";
    ASSERT_TRUE(write_file(as_ca.key, authority.ca().key, 0600));
    EXPECT_FALSE(sign_revocation(as_ca, about("north")));  // its name is none of a site's
    EXPECT_TRUE(revoked->list().empty());
    // West is cut off: what it says from then on does not count, and what it holds against east does not either.
    const Revocation revenge = said(west, "east");
    ASSERT_TRUE(revoked->add(said(east, "west"), ca()).value());
    EXPECT_TRUE(denied(revenge));
    EXPECT_FALSE(revoked->refuses("east"));
    // A statement outlives its author's certificate.
    const CsrAndKey request = make_csr({"old", "127.0.0.1"}).value();
    PkiPaths old = PkiPaths::in(dir.path() + "/old");
    ASSERT_TRUE(make_dirs(dir.path() + "/old", 0700));
    ASSERT_TRUE(write_file(old.cert, sign_csr(authority.ca(), request.csr, {"old", "127.0.0.1"}, std::chrono::hours(0)).value()));
    ASSERT_TRUE(write_file(old.key, request.key, 0600));
    EXPECT_TRUE(revoked->add(said(old, "north"), ca()).value());
}

TEST_F(RevocationsTest, ParsesNothingUnbounded) {
    const Json good = to_json(said(files("east"), "west"));
    ASSERT_TRUE(parse_revocation(good));
    const auto refused = [&](const auto& change) {
        Json value = good;
        change(value);
        return !parse_revocation(value);
    };
    EXPECT_TRUE(refused([](Json& value) { value["site"] = "../etc"; }));
    EXPECT_TRUE(refused([](Json& value) { value["by"] = "a\nb"; }));
    EXPECT_TRUE(refused([](Json& value) { value["since"] = "2026\nwest"; }));
    EXPECT_TRUE(refused([](Json& value) { value["address"] = "1.2.3.4\n5"; }));
    EXPECT_TRUE(refused([](Json& value) { value["wireguard_keys"] = Json::array({"short"}); }));
    EXPECT_TRUE(refused([](Json& value) { value["wireguard_keys"] = Json(std::vector<std::string>(9, kKey)); }));
    EXPECT_TRUE(refused([](Json& value) { value["cert"] = std::string(5000, 'x'); }));
    EXPECT_TRUE(refused([](Json& value) { value.erase("signature"); }));
    EXPECT_FALSE(parse_revocation(Json(3)));
}

// What etcd is told: every number that a certificate of that name can have, and no other's.
TEST_F(RevocationsTest, TheListForEtcdNamesAllCertificatesOfTheSite) {
    const auto revoked = list("a");
    const auto numbers = [&] {
        std::vector<std::string> out;
        const std::string pem = read_file(revoked->crl_path()).value();
        const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
        const std::unique_ptr<X509_CRL, SslDeleter<X509_CRL_free>> crl(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
        if (!crl) return out;
        const auto* const entries = X509_CRL_get_REVOKED(crl.get());
        for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
            const ASN1_INTEGER* const number = X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i));
            out.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(number)), static_cast<std::size_t>(ASN1_STRING_length(number)));
        }
        return out;
    };
    const auto serial = [&](const std::string& name) {
        const std::string pem = read_file(files(name).cert).value();
        const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
        const X509Ptr cert(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
        const ASN1_INTEGER* const number = X509_get0_serialNumber(cert.get());
        return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(number)), static_cast<std::size_t>(ASN1_STRING_length(number)));
    };
    EXPECT_TRUE(numbers().empty());
    ASSERT_TRUE(revoked->add(said(files("east"), "west"), ca()));
    const auto found = numbers();
    EXPECT_EQ(found.size(), kSerialsOfName);
    std::set<std::string> drawn;
    for (int i = 0; i < 40; ++i) {
        drawn.insert(serial("west"));
        EXPECT_TRUE(std::ranges::contains(found, *drawn.rbegin()));
        EXPECT_FALSE(std::ranges::contains(found, serial("west2")));
    }
    for (const auto& one : drawn) EXPECT_TRUE(std::ranges::contains(found, one));
    EXPECT_GT(drawn.size(), 20u);
}

// N sites of one process, each with its listeners and its list; `thief` has a channel to and from each, a long poll at each, and is asked something by each.
struct Fleet {
    struct Peer {
        std::string name;
        PkiPaths paths;
        std::shared_ptr<Revocations> revoked;
        TlsContext tls;
        RestServer rest;
        std::uint16_t rest_port = 0;
        std::unique_ptr<ChannelListener> streams;
        std::atomic<int> served = 0;
        std::unique_ptr<Channel> out;  // of the thief's, to this one
    };
    std::vector<std::unique_ptr<Peer>> peers;
};

TEST_F(RevocationsTest, EverythingOfARevokedSiteEndsAtAllSitesAtOnce) {
    constexpr int kPeers = 24;
    constexpr auto kHang = 20s, kCall = 20s, kPoll = 60s;  // the last: of what the revocation ends; it lasts longer than the test looks
    const PkiPaths thief_paths = files("thief");
    const TlsContext thief = TlsContext::load(thief_paths).value();
    std::atomic<bool> over = false;
    std::atomic<int> ended = 0, leaked = 0, polls_over = 0, asks_over = 0;
    // The thief answers no question.
    RestServer mute;
    mute.route("GET", "/1.0/slow", [&](const RestRequest&) {
        for (int i = 0; i < 6000 && !over; ++i) std::this_thread::sleep_for(10ms);
        return RestResponse::of(Json{{"secret", 1}});
    });
    const std::uint16_t mute_port = mute.listen_tls(thief, "127.0.0.1", 0).value();

    Fleet fleet;
    std::vector<std::jthread> threads;
    for (int i = 0; i < kPeers; ++i) {
        auto& peer = *fleet.peers.emplace_back(std::make_unique<Fleet::Peer>());
        peer.name = std::format("site{}", i);
        peer.paths = files(peer.name);
        peer.revoked = list(peer.name);
        peer.tls = TlsContext::load(peer.paths, peer.revoked).value();
        peer.rest.route("POST", "/1.0/peer/revoked", [&peer, this](const RestRequest& request) {
            const auto added = peer.revoked->add(parse_revocation(request.json().value()).value(), ca());
            return added ? RestResponse::of(Json::object()) : RestResponse::of(added.error());
        });
        peer.rest.route("GET", "/1.0/slow", [&](const RestRequest&) {
            for (int n = 0; n < 6000 && !over; ++n) std::this_thread::sleep_for(10ms);
            return RestResponse::of(Json{{"secret", 1}});
        });
        peer.rest.route("GET", "/1.0/fast", [&peer](const RestRequest&) {
            ++peer.served;
            return RestResponse::of(Json::object());
        });
        peer.rest_port = peer.rest.listen_tls(peer.tls, "127.0.0.1", 0).value();
        peer.streams = ChannelListener::create(peer.tls, "127.0.0.1", 0, [&](std::unique_ptr<Channel> channel) {
            for (;;)
                if (const auto frame = channel->receive(kPoll); !frame) break;
            ++ended;
        }).value();
        peer.out = Channel::connect(thief, "127.0.0.1", peer.streams->port(), peer.name, kCall).value();
        ASSERT_TRUE(peer.out->send_json(1, {{"hello", 1}}));
        if (i >= 6) continue;  // long polls hold a thread of the server each
        threads.emplace_back([&] {
            const auto reply = RestClient::site(thief, "127.0.0.1", peer.rest_port, peer.name).call("GET", "/1.0/slow", nullptr, kPoll);
            if (reply && reply->status == 200) ++leaked;
            ++polls_over;
        });
        threads.emplace_back([&] {
            const auto reply = RestClient::site(peer.tls, "127.0.0.1", mute_port, "thief").call("GET", "/1.0/slow", nullptr, kPoll);
            if (reply) ++leaked;
            else if (reply.error().kind == Kind::kDenied) ++asks_over;
        });
    }
    for (auto& peer : fleet.peers) ASSERT_TRUE(RestClient::site(thief, "127.0.0.1", peer->rest_port, peer->name).call_ok("GET", "/1.0/fast", nullptr, kCall));
    std::this_thread::sleep_for(500ms);  // the polls are under way
    ASSERT_EQ(polls_over + asks_over + leaked, 0);

    // One of them says so, and tells the others, all at once.
    const auto begin = Clock::now();
    const Json statement = to_json(said(fleet.peers[0]->paths, "thief"));
    ASSERT_TRUE(fleet.peers[0]->revoked->add(parse_revocation(statement).value(), ca()).value());
    {
        std::vector<std::jthread> telling;
        for (std::size_t i = 1; i < fleet.peers.size(); ++i)
            telling.emplace_back([&, &peer = *fleet.peers[i]] {
                EXPECT_TRUE(RestClient::site(fleet.peers[0]->tls, "127.0.0.1", peer.rest_port, peer.name).call_ok("POST", "/1.0/peer/revoked", &statement, kCall));
            });
    }
    while ((ended < kPeers || polls_over < 6 || asks_over < 6) && Clock::now() - begin < kHang) std::this_thread::sleep_for(1ms);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    EXPECT_EQ(ended, kPeers);      // its channels to them
    EXPECT_EQ(polls_over, 6);      // its requests that waited
    EXPECT_EQ(asks_over, 6);       // and theirs to it
    EXPECT_EQ(leaked, 0);
    EXPECT_LT(took, kHang);        // how long it takes is printed: that is the machine's
    std::printf("%d sites: the last connection of the revoked one ended %lld ms after the command\n", kPeers, static_cast<long long>(took.count()));
    // Its certificate, its next one, and the one it is asked for: refused everywhere.
    const TlsContext renewed = TlsContext::load(files("thief")).value();
    for (auto& peer : fleet.peers) {
        for (const TlsContext* tls : {&thief, &renewed}) {
            const auto reply = RestClient::site(*tls, "127.0.0.1", peer->rest_port, peer->name).call("GET", "/1.0/fast", nullptr, kCall);
            EXPECT_FALSE(reply) << peer->name;
            auto channel = Channel::connect(*tls, "127.0.0.1", peer->streams->port(), peer->name, kCall);  // TLS 1.3: the client hears of it at its first word
            EXPECT_TRUE(!channel || !(*channel)->receive(kCall)) << peer->name;
        }
        EXPECT_EQ(RestClient::site(peer->tls, "127.0.0.1", mute_port, "thief").call("GET", "/1.0/slow", nullptr, kCall).error().kind, Kind::kDenied);
        EXPECT_EQ(RestClient::site(peer->tls, "127.0.0.1", mute_port, "").call("GET", "/1.0/slow", nullptr, kCall).error().kind, Kind::kDenied);
        EXPECT_EQ(peer->served, 1) << peer->name;
    }
    // The others go on.
    EXPECT_TRUE(RestClient::site(fleet.peers[1]->tls, "127.0.0.1", fleet.peers[2]->rest_port, "site2").call_ok("GET", "/1.0/fast", nullptr, kCall));
    over = true;
}

TEST_F(RevocationsTest, AConnectionThatIsBeingMadeIsNotForgotten) {
    const auto revoked = list("a");
    struct Counting final : Cuttable {
        std::atomic<int> cuts = 0;
        void cut() override { ++cuts; }
    };
    const auto known = std::make_shared<Counting>(), other = std::make_shared<Counting>(), late = std::make_shared<Counting>();
    EXPECT_TRUE(revoked->enrol("west", known));
    EXPECT_TRUE(revoked->enrol("north", other));
    ASSERT_TRUE(revoked->add(said(files("east"), "west"), ca()));
    EXPECT_EQ(known->cuts, 1);
    EXPECT_EQ(other->cuts, 0);
    EXPECT_FALSE(revoked->enrol("west", late));
}

}  // namespace
}  // namespace blanket
