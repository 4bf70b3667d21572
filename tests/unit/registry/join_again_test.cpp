// SPDX-License-Identifier: GPL-2.0-or-later
// Joins that break off: before anything was put aside, on the way of the answer, and by a restart of the site that signs.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <future>
#include <map>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>
#include <utility>

#include "tests/unit/registry/founder.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::address_of;
using test::eventually;
using test::kNorthKey;
using test::kQuiet;
using test::kWestKey;
using test::make_site;
using test::TestSite;

// A site that has not joined yet, and a founder that admits it; no etcd.
struct EarlyFailure : testing::Test {
    struct Runner final : EtcdRunner {
        int starts = 0, stops = 0;
        Result<void> start(const EtcdConfig&) override { return ++starts, Result<void>(); }
        Result<void> stop() override { return ++stops, Result<void>(); }
        Result<bool> running() override { return starts >= stops; }
    };
    test::TempDir dir;
    test::Authority authority{dir.path() + "/authority"};
    RestServer server;
    JoinToken token;
    Newcomer self;
    Runner runner;

    void SetUp() override {
        server.route("POST", "/1.0/peer/join", [this](const RestRequest& request) {
            const std::string csr = json_string(request.json().value(), "csr").value();
            return RestResponse::of(Json{{"ca", authority.ca().cert}, {"cert", sign_csr(authority.ca(), csr, {"west", "127.0.0.1"}).value()}, {"initial_cluster", ""}, {"endpoints", Json::array()},
                                         {"index", 2}, {"role", "client"}, {"federation", "lab"}, {"member", 0}, {"founder", "east"}});
        }, Access::kOpen);
        fs::create_directories(dir.path() + "/authority");
        const auto port = server.listen_tls(authority.identity("east"), "127.0.0.1", 0).value();
        token = {fingerprint(authority.ca().cert).value(), {std::format("127.0.0.1:{}", port)}, random_hex(8), random_hex(32)};
        self.name = "west";
        self.address = "127.0.0.1";
        self.role = "site";
        self.version = "0.1.0";
        self.root = dir.path() + "/west";
        LocalState state;
        state.site = "west";
        state.address = "127.0.0.1";
        state.role = "voter";
        state.endpoints = {"127.0.0.1:2379"};
        fs::create_directories(self.root + "/pki");
        for (const char* name : {"ca.crt", "ca.key", "site.crt", "site.key", "revoked.crl"}) write_file(self.root + "/pki/" + name, std::format("old {}", name), 0600).value();  // and no revoked.json
        save_local_state(self.root, state).value();
        write_etcd_config(etcd_config(self, state)).value();
        write_file(self.root + "/etcd/data/member", "old member", 0600).value();
    }
    [[nodiscard]] std::map<std::string, std::string> files() const {
        std::map<std::string, std::string> all;
        for (const auto& entry : fs::recursive_directory_iterator(self.root)) {
            const std::string path = entry.path().string();
            if (entry.is_regular_file() && !path.contains("/pki/old") && !path.ends_with("/join.key")) all[path] = read_file(path, 65536).value();
        }
        return all;
    }
};

TEST_F(EarlyFailure, NothingPutAsideYet) {
    write_file(self.root + "/pki/old", "in the way").value();  // where the old identity is to go
    const auto before = files();
    ASSERT_EQ(before.size(), 8u);
    const auto joined = join_federation(self, token, runner, kQuiet);
    ASSERT_FALSE(joined);
    EXPECT_EQ(files(), before) << joined.error().what;
    EXPECT_FALSE(joined.error().what.contains("put back")) << joined.error().what;
    EXPECT_EQ(runner.starts, 1);  // the old etcd runs again
}

// As a user who may not write everywhere: root may.
struct Unprivileged {
    explicit Unprivileged(const std::string& root, const std::string& not_its) {
        if (::geteuid() != 0) return;
        for (const auto& entry : fs::recursive_directory_iterator(root))
            if (::chown(entry.path().c_str(), kNobody, kNobody) != 0) return;
        if (::chown(not_its.c_str(), 0, 0) == 0 && ::chmod(not_its.c_str(), 0755) == 0 && ::seteuid(kNobody) == 0) on = true;
    }
    ~Unprivileged() {
        if (on && ::seteuid(0) != 0) std::abort();
    }
    static constexpr uid_t kNobody = 65534;
    bool on = false;
};

TEST_F(EarlyFailure, TheFolderForTheOldIdentityIsNotWritable) {
    fs::create_directories(self.root + "/pki/old");
    const auto before = files();
    {
        const Unprivileged user(self.root, self.root + "/pki/old");
        if (!user.on) GTEST_SKIP() << "only root can try this";
        EXPECT_FALSE(join_federation(self, token, runner, kQuiet));
    }
    EXPECT_EQ(files(), before);
    EXPECT_EQ(runner.starts, 1);
}

TEST_F(EarlyFailure, EtcdsFolderCannotBeRenamed) {
    const auto before = files();
    {
        const Unprivileged user(self.root, self.root);  // its folders are writable, it itself is not
        if (!user.on) GTEST_SKIP() << "only root can try this";
        const auto joined = join_federation(self, token, runner, kQuiet);
        ASSERT_FALSE(joined);
        EXPECT_TRUE(joined.error().what.contains("cannot rename")) << joined.error().what;
        EXPECT_FALSE(joined.error().what.contains("put back")) << joined.error().what;
    }
    EXPECT_EQ(files(), before);
    EXPECT_FALSE(fs::exists(self.root + "/pki/revoked.json"));  // there was none
    EXPECT_EQ(runner.starts, 1);
}


TEST(JoinAgain, ALostAnswerLocksNobodyOut) {
    const test::TempDir dir;
    test::Founder east(dir.path(), 31);
    east.open();
    std::atomic<bool> drop = true;
    std::vector<TestSite> kept;
    east.on_the_way = [&](Result<Json> answer) { return drop && answer ? Result<Json>(fail(Kind::kIo, "the answer is lost (test)")) : std::move(answer); };
    for (const auto& [name, host, key] : {std::tuple{"west", 32, kWestKey}, std::tuple{"north", 33, kNorthKey}}) {  // a voter, a client
        TestSite site = make_site(dir.path(), name, host, key);
        drop = true;
        const auto lost = east.join(site);
        ASSERT_FALSE(lost);
        EXPECT_TRUE(lost.error().what.contains("is lost")) << lost.error().what;
        const Site record = east.record(name);
        EXPECT_EQ(record.state, std::string_view(name) == "west" ? "joining" : "joined");
        // All that the other members know of it is no way in, in its name.
        drop = false;
        Newcomer thief;
        thief.name = name;
        thief.address = address_of(host);
        thief.role = "site";
        thief.version = "0.1.0";
        thief.wireguard_key = key;
        const auto ask = [&] {
            const auto answer = east.site.federation->handle_join(join_request(thief, parse_token_text(east.token()).value(), make_csr({thief.name, thief.address}).value().csr));
            return answer ? std::string("admitted") : answer.error().what;
        };
        EXPECT_TRUE(ask().ends_with("already"));
        thief.name = "ghost";  // nor is its WireGuard key in another name
        thief.address = address_of(39);
        EXPECT_TRUE(ask().ends_with("has this WireGuard key already"));

        const auto again = site.federation->join(east.token(), kQuiet);  // at once: not after the founder has given it up
        ASSERT_TRUE(again) << again.error().what;
        EXPECT_EQ(site.federation->local().index, record.index);
        EXPECT_EQ(east.record(name).index, record.index);
        EXPECT_EQ(east.record(name).member, record.member);
        ASSERT_TRUE(eventually([&] { return east.record(name).state == "joined"; }));
        EXPECT_FALSE(fs::exists(dir.path() + "/" + name + "/pki/join.key"));
        if (std::string_view(name) == "west") {  // it goes on voting while north comes
            EXPECT_EQ(east.etcd().members().value().size(), 2u);
            kept.push_back(std::move(site));
        }
    }
    EXPECT_EQ(east.registry().snapshot().value().sites.size(), 3u);
}

TEST(JoinAgain, ARestartOfTheFounderGoesOnWithTheAdmission) {
    const test::TempDir dir;
    test::Founder east(dir.path(), 35);
    east.open();
    std::promise<void> admitted, go;
    east.on_the_way = [&, asked = false](Result<Json> answer) mutable {
        if (answer && !std::exchange(asked, true)) {
            admitted.set_value();
            go.get_future().wait();
        }
        return answer;
    };
    TestSite west = make_site(dir.path(), "west", 36);
    ASSERT_TRUE(west.federation->ensure_local(kQuiet));
    // A thread that lives on: a member of etcd ends with the thread that has started it (make_child_runner()).
    std::promise<Result<void>> answered;
    std::promise<void> over;
    const std::jthread joining([&, token = east.token(), end = over.get_future()] {
        answered.set_value(west.federation->join(token, kQuiet));
        end.wait();
    });
    const std::unique_ptr<void, std::function<void(void*)>> at_the_end(&over, [&](void*) { over.set_value(); });
    ASSERT_EQ(admitted.get_future().wait_for(60s), std::future_status::ready);
    east.end();  // blanketd ends, and its etcd with it
    east.start();
    EXPECT_EQ(east.record("west").state, "joining");
    go.set_value();
    const auto done = answered.get_future().get();
    ASSERT_TRUE(done) << done.error().what;
    ASSERT_TRUE(eventually([&] { return east.record("west").state == "joined"; }));
    // The next one is not in anybody's way.
    const Newcomer witness = test::make_witness(dir.path(), 37);
    auto third = make_child_runner();
    const auto voted = east.join_witness(witness, *third);
    ASSERT_TRUE(voted) << voted.error().what;
    ASSERT_TRUE(eventually([&] { return east.record("witness").state == "joined"; }));
    // blanketd ended between the member and its record.
    ASSERT_TRUE(eventually([&] { return east.etcd().member_add("https://" + address_of(38) + ":2380", true).has_value(); }));
    EXPECT_EQ(east.etcd().members().value().size(), 4u);
    east.end();
    east.start();
    EXPECT_EQ(east.etcd().members().value().size(), 3u);
}

}  // namespace
}  // namespace blanket
