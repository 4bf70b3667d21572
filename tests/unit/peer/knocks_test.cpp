// SPDX-License-Identifier: GPL-2.0-or-later
// Strangers who hold connections open keep nobody out; and what a witness's certificate is good for.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <atomic>
#include <mutex>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/channel.hpp"
#include "toolstack/peer/knocks.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/rest_server.hpp"
#include "toolstack/peer/wire.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kSilent = 48;
constexpr auto kSoon = 15s;  // on a busy machine; without the budget it was a minute

// A connection from any address of 127.0.0.0/8.
UniqueFd from(const std::string& address, std::uint16_t port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in own{}, to{};
    own.sin_family = to.sin_family = AF_INET;
    to.sin_port = htons(port);
    ::inet_pton(AF_INET, address.c_str(), &own.sin_addr);
    ::inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
    return fd;
}

struct Strangers : testing::Test {
    test::TempDir dir;
    test::Authority authority{dir.path()};
    TlsContext east = authority.identity("east"), west = authority.identity("west");
    std::vector<UniqueFd> silent;

    void crowd(std::uint16_t port, const std::string& address = {}) {
        for (int i = 0; i < kSilent; ++i) {
            silent.push_back(from(address.empty() ? std::format("127.0.{}.1", i + 1) : address, port));
            ASSERT_TRUE(silent.back());
        }
    }
    // A witness's certificate of the same CA.
    TlsContext witness() const {
        const PkiPaths paths = PkiPaths::in(dir.path() + "/witness");
        make_dirs(dir.path() + "/witness", 0700).value();
        const Subject subject{"witness", "127.0.0.1", kWitnessRole};
        const CsrAndKey request = make_csr(subject).value();
        write_file(paths.ca_cert, authority.ca().cert).value();
        write_file(paths.cert, sign_csr(authority.ca(), request.csr, subject).value()).value();
        write_file(paths.key, request.key, 0600).value();
        return TlsContext::load(paths).value();
    }
};

TEST_F(Strangers, KeepNoChannelOut) {
    auto listener = ChannelListener::create(west, "127.0.0.1", 0, [](std::unique_ptr<Channel> channel) {
        if (const auto frame = channel->receive(60s)) static_cast<void>(channel->send(frame->type + 1, frame->payload));
    }, kSilent).value();
    for (const std::string address : {"", "127.0.0.1"}) {  // from many addresses, and from the one that the site is at too
        crowd(listener->port(), address);
        const auto begin = Clock::now();
        const auto channel = Channel::connect(east, "127.0.0.1", listener->port(), "west", kSoon);
        ASSERT_TRUE(channel) << channel.error().what;
        ASSERT_TRUE((*channel)->send_json(1, {{"hello", 1}}));
        const auto frame = (*channel)->receive(kSoon);
        ASSERT_TRUE(frame) << frame.error().what;
        EXPECT_LT(Clock::now() - begin, kSoon);
    }
}

TEST_F(Strangers, KeepNoRequestOut) {
    RestServer server;
    std::atomic<bool> over = false;
    server.route("GET", "/1.0", [](const RestRequest& request) { return RestResponse::of(Json{{"peer", request.peer_site}}); });
    server.route("GET", "/open", [&](const RestRequest&) {
        while (!over) std::this_thread::sleep_for(10ms);
        return RestResponse::of(Json::object());
    }, Access::kOpen);
    const std::uint16_t port = server.listen_tls(west, "127.0.0.1", 0).value();
    const auto served = [&] {
        const auto begin = Clock::now();
        const auto answer = RestClient::site(east, "127.0.0.1", port, "west").call_ok("GET", "/1.0", nullptr, kSoon);
        EXPECT_TRUE(answer) << answer.error().what;
        EXPECT_LT(Clock::now() - begin, kSoon);
    };
    crowd(port);
    served();
    crowd(port, "127.0.0.1");
    served();
    // Through the handshake, and then a header without an end; or a whole request whose answer takes long.
    std::vector<std::jthread> slow;
    std::vector<std::shared_ptr<Channel::Wire>> dripping;
    for (int i = 0; i < 12; ++i) {
        auto socket = from("127.0.0.2", port);
        ASSERT_TRUE(socket);
        auto wire = Channel::Wire::handshake(east, std::move(socket), false, Clock::now() + kSoon);
        if (!wire) continue;
        static_cast<void>((*wire)->write(as_bytes("GET /1.0 HTTP/1.1\r\nX: ")));
        dripping.push_back(*wire);
    }
    const std::string pin = fingerprint(authority.ca().cert).value();
    std::atomic<int> asked = 0;
    for (int i = 0; i < 12; ++i)
        slow.emplace_back([&] {
            static_cast<void>(RestClient::pinned(pin, "127.0.0.1", port).call("GET", "/open", nullptr, 60s));
            ++asked;
        });
    for (const auto until = Clock::now() + kSoon; asked < 8 && Clock::now() < until;) std::this_thread::sleep_for(10ms);
    EXPECT_EQ(asked, 8);  // told to come again, as four are being answered
    served();
    over = true;
}

TEST_F(Strangers, DoNotKeepTheServerFromEnding) {
    RestServer server;
    server.route("GET", "/1.0", [](const RestRequest&) { return RestResponse::of(Json::object()); });
    const std::uint16_t port = server.listen_tls(west, "127.0.0.1", 0).value();
    crowd(port);
    EXPECT_TRUE(RestClient::site(east, "127.0.0.1", port, "west").call_ok("GET", "/1.0", nullptr, kSoon));  // it has accepted all who came before
    const auto begin = Clock::now();
    server.stop();
    EXPECT_LT(Clock::now() - begin, Knocks::kHandshake);
}

TEST_F(Strangers, AreFewAndEndWhoHasTheMost) {
    UniqueFd listening = listen_tcp("127.0.0.1", 0).value();
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
    Knocks knocks;
    std::vector<std::unique_ptr<Knocks::Ticket>> tickets;
    std::vector<UniqueFd> ends, here;
    const auto knock = [&](const std::string& address) {
        ends.push_back(from(address, ntohs(bound.sin_port)));
        UniqueFd accepted;
        while (!accepted) accepted = UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
        tickets.push_back(knocks.enter(accepted.get()));
        here.push_back(std::move(accepted));
    };
    const auto ended = [&](std::size_t i) {
        char byte = 0;
        return ::recv(ends[i].get(), &byte, 1, MSG_DONTWAIT) == 0;
    };
    knock("127.0.1.1");
    for (std::size_t i = 0; i < Knocks::kMostOfOne; ++i) knock("127.0.2.1");
    EXPECT_EQ(knocks.count(), Knocks::kMostOfOne + 1);
    knock("127.0.2.1");  // one more of the same: its oldest goes
    EXPECT_EQ(knocks.count(), Knocks::kMostOfOne + 1);
    for (int i = 0; i < 500 && !ended(1); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(ended(1));
    for (int i = 0; knocks.count() < Knocks::kMost; ++i) knock(std::format("127.0.{}.1", 10 + i));
    knock("127.0.9.1");  // full: again whoever has the most
    EXPECT_EQ(knocks.count(), Knocks::kMost);
    for (int i = 0; i < 500 && !ended(2); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(ended(2));
    EXPECT_FALSE(ended(0));
    tickets.pop_back();
    EXPECT_EQ(knocks.count(), Knocks::kMost - 1);
    knocks.end_all();
    EXPECT_EQ(knocks.count(), 0u);
    knock("127.0.3.1");  // nor does anybody come in later
    EXPECT_EQ(knocks.count(), 0u);
    for (int i = 0; i < 500 && !ended(ends.size() - 1); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(ended(ends.size() - 1));
}

TEST_F(Strangers, AWitnessVotesAndNothingElse) {
    RestServer server;
    struct Seen {
        std::string role, signed_role, address;
    };
    std::mutex mutex;  // for what ThreadSanitizer cannot see: that an answer comes after what it answers
    Seen last;
    const auto seen = [&] {
        const std::scoped_lock lock(mutex);
        return last;
    };
    const auto tell = [&](const RestRequest& request) {
        const std::scoped_lock lock(mutex);
        last = {request.peer_role, request.signed_role, request.peer_address};
        return RestResponse::of(Json::object());
    };
    server.route("POST", "/1.0/vms/*/destroy", tell);
    server.route("POST", "/1.0/peer/renew", tell, Access::kMembers);
    server.route("GET", "/1.0/peer/standing", tell, Access::kOpen);
    server.witness_if([](const std::string& site) { return site == "older"; });
    const std::uint16_t port = server.listen_tls(west, "127.0.0.1", 0).value();
    const auto as = [&](const TlsContext& tls, const std::string& method, const std::string& path) {
        const Json nothing = Json::object();
        const auto reply = RestClient::site(tls, "127.0.0.1", port, "west").call(method, path, method == "POST" ? &nothing : nullptr, kSoon);
        return reply ? reply->status : 0;
    };
    const TlsContext own = witness(), older = authority.identity("older");  // the second: a certificate from before there were roles
    for (const TlsContext* tls : {&own, &older}) {
        EXPECT_EQ(as(*tls, "POST", "/1.0/vms/web/destroy"), 403);
        EXPECT_EQ(as(*tls, "POST", "/1.0/peer/renew"), 200);
        EXPECT_EQ(seen().role, kWitnessRole);
        EXPECT_EQ(seen().signed_role, tls == &own ? kWitnessRole : "");  // nobody's word but the CA's goes into the next certificate
        EXPECT_EQ(seen().address, "127.0.0.1");
        EXPECT_EQ(as(*tls, "GET", "/1.0/peer/standing"), 200);
    }
    EXPECT_EQ(as(east, "POST", "/1.0/vms/web/destroy"), 200);
    EXPECT_EQ(seen().role, kSiteRole);

    std::atomic<int> handled = 0;
    auto listener = ChannelListener::create(west, "127.0.0.1", 0, [&](std::unique_ptr<Channel>) { ++handled; }).value();
    const auto channel = Channel::connect(own, "127.0.0.1", listener->port(), "west", kSoon);
    EXPECT_TRUE(!channel || (*channel)->receive(kSoon).error().kind == Kind::kIo);  // TLS 1.3: it hears of it at its first word
    listener->stop();
    EXPECT_EQ(handled, 0);
}

}  // namespace
}  // namespace blanket
