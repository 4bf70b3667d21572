// SPDX-License-Identifier: GPL-2.0-or-later
// REST server and client: routing, access by kind of caller, limits, pinning.
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <thread>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

struct RestTest : testing::Test {
    test::TempDir dir;
    test::Authority authority{dir.path()};
    TlsContext east = authority.identity("east"), west = authority.identity("west");
    std::string socket = dir.path() + "/s.sock";
    RestServer server;
    std::uint16_t port = 0;

    void SetUp() override {
        server.route("GET", "/1.0", [](const RestRequest& request) {
            return RestResponse::of(Json{{"peer", request.peer_site}, {"local", request.local}});
        });
        server.route("POST", "/1.0/vms/*/start", [](const RestRequest& request) {
            const auto body = request.json();
            if (!body) return RestResponse::of(body.error());
            return RestResponse::of(Json{{"name", request.matches.at(0)}, {"dry", request.query.contains("dry_run")}, {"body", *body}}, 202);
        });
        server.route("GET", "/1.0/vms/*", [](const RestRequest& request) {
            return RestResponse::of(Error{Kind::kNotFound, "no VM " + request.matches.at(0), "blanket vm list"});
        });
        server.route("GET", "/1.0/vms/special", [](const RestRequest&) { return RestResponse::of(Json{{"special", true}}); });
        server.route("POST", "/1.0/peer/join", [](const RestRequest& request) { return RestResponse::of(Json{{"size", request.body.size()}}); }, Access::kOpen);
        server.route("GET", "/local", [](const RestRequest&) { return RestResponse::of(Json::object()); }, Access::kLocal);
        server.route("GET", "/slow", [](const RestRequest&) {
            std::this_thread::sleep_for(3s);
            return RestResponse::of(Json::object());
        });
        const auto listening = server.listen_unix(socket);
        ASSERT_TRUE(listening) << listening.error().what;
        const auto bound = server.listen_tls(west, "127.0.0.1", 0);
        ASSERT_TRUE(bound) << bound.error().what;
        port = *bound;
    }
    RestClient local() const { return RestClient::unix_socket(socket); }
    RestClient remote(const std::string& site = "west") const { return RestClient::site(east, "127.0.0.1", port, site); }
};

TEST_F(RestTest, UnixSocketRoutes) {
    struct stat info{};
    ASSERT_EQ(::stat(socket.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0660u);
    EXPECT_EQ(local().call_ok("GET", "/1.0", nullptr, 5s).value(), (Json{{"peer", ""}, {"local", true}}));
    const Json body{{"a", 1}};
    const auto started = local().call("POST", "/1.0/vms/web/start?dry_run=1", &body, 5s);
    ASSERT_TRUE(started) << started.error().what;
    EXPECT_EQ(started->status, 202);
    EXPECT_EQ(started->body, (Json{{"name", "web"}, {"dry", true}, {"body", {{"a", 1}}}}));
    EXPECT_TRUE(local().call_ok("GET", "/1.0/vms/special", nullptr, 5s));
    const auto missing = local().call_ok("GET", "/1.0/vms/nothing", nullptr, 5s);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind, Kind::kNotFound);
    EXPECT_EQ(missing.error().hint, "blanket vm list");
    EXPECT_EQ(local().call("GET", "/nowhere", nullptr, 5s).value().status, 404);
    EXPECT_EQ(local().call("DELETE", "/1.0", nullptr, 5s).value().status, 405);
    EXPECT_TRUE(local().call_ok("GET", "/local", nullptr, 5s));
}

TEST_F(RestTest, MembersAreNamedAndStrangersRefused) {
    const auto named = remote().call_ok("GET", "/1.0", nullptr, 5s);
    ASSERT_TRUE(named) << named.error().what;
    EXPECT_EQ(*named, (Json{{"peer", "east"}, {"local", false}}));
    EXPECT_EQ(remote("north").call("GET", "/1.0", nullptr, 5s).error().kind, Kind::kDenied);
    EXPECT_EQ(remote().call_ok("GET", "/local", nullptr, 5s).error().kind, Kind::kDenied);
    const test::Authority other(dir.path() + "/other");
    EXPECT_EQ(RestClient::site(other.identity("east"), "127.0.0.1", port, "west").call("GET", "/1.0", nullptr, 5s).error().kind, Kind::kDenied);
    EXPECT_EQ(RestClient::site(east, "127.0.0.1", 1, "west").call("GET", "/1.0", nullptr, 5s).error().kind, Kind::kUnavailable);
}

TEST_F(RestTest, PinnedClientReachesOpenRoutesOnly) {
    const std::string pin = fingerprint(authority.ca().cert).value();
    const auto newcomer = RestClient::pinned(pin, "127.0.0.1", port);
    const Json body{{"secret", "x"}};
    EXPECT_TRUE(newcomer.call_ok("POST", "/1.0/peer/join", &body, 5s));
    EXPECT_EQ(newcomer.call_ok("GET", "/1.0", nullptr, 5s).error().kind, Kind::kDenied);
    EXPECT_EQ(RestClient::pinned(std::string(64, '0'), "127.0.0.1", port).call("POST", "/1.0/peer/join", &body, 5s).error().kind, Kind::kDenied);
    // The leaf's own fingerprint is no pin.
    const std::string leaf = fingerprint(read_file(west.paths().cert).value()).value();
    EXPECT_EQ(RestClient::pinned(leaf, "127.0.0.1", port).call("POST", "/1.0/peer/join", &body, 5s).error().kind, Kind::kDenied);
}

TEST_F(RestTest, LimitsAndTimeouts) {
    const Json big{{"text", std::string(5u << 20, 'x')}};
    const auto refused = local().call("POST", "/1.0/peer/join", &big, 10s);
    if (refused) EXPECT_EQ(refused->status, 413);
    EXPECT_EQ(local().call("GET", "/slow", nullptr, 1s).error().kind, Kind::kTimeout);
    EXPECT_EQ(RestServer().listen_unix(socket).error().kind, Kind::kConflict);
    EXPECT_TRUE(local().call_ok("GET", "/1.0", nullptr, 5s));
}

TEST_F(RestTest, ANewIdentityReplacesTheListener) {
    const test::Authority other(dir.path() + "/other");
    auto bound = server.listen_tls(other.identity("west"), "127.0.0.1", port);
    if (!bound) bound = server.listen_tls(other.identity("west"), "127.0.0.1", 0);  // a test that runs beside this one has taken the port
    ASSERT_TRUE(bound) << bound.error().what;
    port = *bound;
    EXPECT_EQ(remote().call("GET", "/1.0", nullptr, 5s).error().kind, Kind::kDenied);
    EXPECT_TRUE(RestClient::site(other.identity("east"), "127.0.0.1", *bound, "west").call_ok("GET", "/1.0", nullptr, 5s));
}

}  // namespace
}  // namespace blanket
