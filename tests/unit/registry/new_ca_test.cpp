// SPDX-License-Identifier: GPL-2.0-or-later
// A new CA goes round among members with real files and certificates over a registry in memory: all follow, the holder ends anywhere and goes on, a site is away, a site
// is a thief. After every act each member is asked whether it takes the certificates of the others.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <sys/stat.h>

#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/peer/identity.hpp"
#include "toolstack/daemon/ca_rotation.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

struct Crash {};

// The holder's life ends at the `left`-th thing that it asks of the world.
struct Points {
    int left = -1, passed = 0;
    void pass() {
        ++passed;
        if (left >= 0 && left-- == 0) throw Crash{};
    }
};

class HoldersRegistry final : public Registry {
public:
    HoldersRegistry(Registry& inner, Points& points) : inner_(inner), points_(points) {}
    Result<Snapshot> snapshot() override { return points_.pass(), inner_.snapshot(); }
    Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) override { return inner_.vm(uuid); }
    Result<std::uint64_t> create_vm(const VmRecord& vm) override { return inner_.create_vm(vm); }
    Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t expected) override { return inner_.update_vm(vm, expected); }
    Result<void> remove_vm(const VmRecord& vm, std::uint64_t expected) override { return inner_.remove_vm(vm, expected); }
    Result<std::optional<Gone>> gone(const std::string& uuid) override { return inner_.gone(uuid); }
    Result<void> beat(const std::string& site, bool leaving) override { return inner_.beat(site, leaving); }
    Result<std::optional<Beat>> last_beat(const std::string& site) override { return inner_.last_beat(site); }
    Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t expected, const std::string& silent, std::uint64_t beat) override { return inner_.take_over_vm(vm, expected, silent, beat); }
    Result<std::uint64_t> put(const std::string& key, const Json& value, std::uint64_t expected) override {
        points_.pass();
        auto done = inner_.put(key, value, expected);
        points_.pass();
        return done;
    }
    Result<std::optional<Versioned<Json>>> get(const std::string& key) override { return points_.pass(), inner_.get(key); }
    Result<void> remove(const std::string& key, std::uint64_t expected) override { return inner_.remove(key, expected); }

private:
    Registry& inner_;
    Points& points_;
};

struct Clock final : TimeSource {
    std::int64_t now = 1'000'000;
    std::function<void()> on_sleep = [] {};
    std::int64_t boottime_ms() override { return now; }
    std::int64_t unix_ms() override { return now; }
    void sleep(std::chrono::milliseconds time) override {
        now += time.count();
        on_sleep();
    }
};

struct Member {
    std::string name, root, role;
    CaStore store;
    std::unique_ptr<CaFollower> follower;
    std::string etcd;  // the bundle that it was started with
    int starts = 0;
    bool away = false;
    Member(std::string its_name, const std::string& dir, std::string its_role) : name(std::move(its_name)), root(dir + "/" + name), role(std::move(its_role)), store(root) {}
    [[nodiscard]] PkiPaths paths() const { return PkiPaths::in(root + "/pki"); }
    [[nodiscard]] std::string bundle() const { return read_file(paths().ca_cert).value(); }
    [[nodiscard]] std::string cert() const { return read_file(paths().cert).value(); }
};

struct NewCa : testing::Test {
    test::TempDir dir;
    fakes::FakeRegistry registry;
    Points points;
    HoldersRegistry holders{registry, points};
    Clock clock;
    std::map<std::string, std::unique_ptr<Member>> members;
    CertAndKey old = make_ca("east").value();
    std::vector<std::string> notes, phases;
    std::function<void()> meanwhile = [] {};  // at each pause, before the others look
    int before_drop = 0, after = 0;

    void SetUp() override { begin({{"east", "voter"}, {"west", "voter"}, {"witness", "witness"}, {"north", "client"}}); }
    void begin(const std::vector<std::pair<std::string, std::string>>& roles) {
        for (const auto& [name, role] : roles) {
            auto member = std::make_unique<Member>(name, dir.path(), role);
            make_dirs(member->root + "/pki", 0700).value();
            const Subject subject{name, "127.0.0.1", role == "witness" ? kWitnessRole : kSiteRole};
            const CsrAndKey request = make_csr(subject).value();
            write_file(member->paths().ca_cert, old.cert).value();
            write_file(member->paths().key, request.key, 0600).value();
            write_file(member->paths().cert, sign_csr(old, request.csr, subject).value()).value();
            if (name == "east") write_file(member->paths().ca_key, old.key, 0600).value();
            member->etcd = old.cert;
            Site site{.name = name, .address = "127.0.0.1", .role = role};
            registry.put("sites/" + name, to_json(site), 0).value();
            follow(*member);
            members[name] = std::move(member);
        }
        clock.on_sleep = [this] {
            meanwhile();
            for (const auto& [name, member] : members)
                if (name != "east" && !member->away) look(*member, registry);
        };
    }
    [[nodiscard]] std::vector<Site> sites() {
        std::vector<Site> out;
        const auto now = registry.snapshot().value();
        for (const auto& site : now.sites) out.push_back(site.value);
        return out;
    }
    // A new life of the member.
    void follow(Member& member) {
        CaFollower::Hooks hooks;
        hooks.sites = [this]() -> Result<std::vector<Site>> { return sites(); };
        hooks.reload = [this, &member]() -> Result<void> {
            if (member.name == "east") points.pass();
            return {};
        };
        hooks.has_etcd = [&member] { return member.role != "client"; };
        hooks.restart_etcd = [this, &member](bool) -> Result<void> {
            if (member.name == "east") points.pass();
            member.etcd = member.bundle();
            ++member.starts;
            return {};
        };
        hooks.may_restart = [](const std::vector<std::string>&) -> Result<void> { return {}; };
        hooks.renew = [this, &member]() -> Result<void> {
            if (member.name == "east") points.pass();
            const Member& holder = *members.at("east");
            const Subject subject{member.name, "127.0.0.1", member.role == "witness" ? kWitnessRole : kSiteRole};
            if (!issuer_of(holder.bundle(), member.cert())) return fail(Kind::kDenied, "'east' does not take the certificate of '{}'", member.name);
            BLANKET_TRY(const CertAndKey signer, ca_signer(holder.root));
            BLANKET_TRY(const std::string key, read_file(member.paths().key));
            BLANKET_TRY(const std::string csr, make_csr(subject, key));
            BLANKET_TRY(const std::string cert, sign_csr(signer, csr, subject));
            BLANKET_CHECK(check_identity(member.bundle(), cert, key, member.name));
            return write_file(member.paths().cert, cert);
        };
        member.follower = std::make_unique<CaFollower>(member.root, member.name, member.store, std::move(hooks));
    }
    void look(Member& member, Registry& by) {
        const auto followed = member.follower->follow(by);
        if (!followed) notes.push_back(member.name + ": " + followed.error().what);
        check();
    }
    // Nobody who is there refuses anybody who is there.
    void check() {
        for (const auto& [name, one] : members)
            for (const auto& [other, two] : members) {
                if (one->away || two->away) continue;
                EXPECT_TRUE(issuer_of(one->bundle(), two->cert())) << name << " refuses " << other;
                if (one->role != "client") EXPECT_TRUE(issuer_of(one->etcd, two->cert())) << "etcd of " << name << " refuses " << other;
            }
    }
    Result<void> prove(const Site& site, const CaStatement& statement) {
        points.pass();
        const Member& member = *members.at(site.name);
        const auto trusts = fingerprints(member.bundle()).value();
        if (statement.step == CaStep::kTrust && !std::ranges::contains(trusts, statement.to)) return fail(Kind::kPrecondition, "it refuses the new CA");
        if (statement.step == CaStep::kIssue && !issuer_of(statement.cert, member.cert())) return fail(Kind::kPrecondition, "it shows the old one");
        if (statement.step == CaStep::kDrop && std::ranges::contains(trusts, statement.from)) return fail(Kind::kPrecondition, "it takes the old one");
        return {};
    }
    Result<Json> rotate(const std::vector<std::string>& without = {}, std::chrono::seconds patience = 60s) {
        CaRotation how;
        how.root = members.at("east")->root;
        how.site = "east";
        how.without = without;
        how.patience = patience;
        how.sites = [this]() -> Result<std::vector<Site>> { return points.pass(), sites(); };
        how.prove = [this](const Site& site, const CaStatement& statement) { return prove(site, statement); };
        how.before_drop = [this]() -> Result<void> { return points.pass(), ++before_drop, Result<void>(); };
        how.after = [this]() -> Result<void> { return points.pass(), ++after, Result<void>(); };
        how.follow = [this] { look(*members.at("east"), holders); };
        how.phase = [this](const std::string& name) { points.pass(), phases.push_back(name); };
        how.note = [this](const std::string& text) { points.pass(), notes.push_back(text); };
        return rotate_ca(holders, clock, members.at("east")->store, how);
    }
    // All that there are show and take the new CA, and nothing of the old one is left.
    void expect_done(const std::vector<std::string>& without = {}) {
        const Member& east = *members.at("east");
        const std::string fresh = east.bundle();
        ASSERT_EQ(fingerprints(fresh).value().size(), 1u);
        EXPECT_NE(fresh, old.cert);
        EXPECT_EQ(pair_of(fresh, read_file(east.paths().ca_key).value()).value().cert, fresh);
        struct stat info{};
        ASSERT_EQ(::stat(east.paths().ca_key.c_str(), &info), 0);
        EXPECT_EQ(info.st_mode & 0777, 0600u);
        EXPECT_EQ(read_file(CaFiles::in(east.root).next_key).error().kind, Kind::kNotFound);
        EXPECT_EQ(read_file(CaFiles::in(east.root).next_cert).error().kind, Kind::kNotFound);
        for (const auto& [name, member] : members) {
            if (std::ranges::contains(without, name)) continue;
            EXPECT_EQ(member->bundle(), fresh) << name;
            EXPECT_TRUE(issuer_of(fresh, member->cert())) << name;
            if (member->role != "client") EXPECT_EQ(member->etcd, fresh) << name;
            EXPECT_FALSE(left_behind(member->root)) << name;
            EXPECT_FALSE(member->follower->on()) << name;
        }
        check();
        EXPECT_FALSE(registry.get(kCaKey).value()->value.dump().contains("PRIVATE"));
    }
};

TEST_F(NewCa, AllFollow) {
    const auto plan = plan_ca_rotation(members.at("east")->root, "east", sites(), {});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->size(), 5u);
    EXPECT_EQ(plan_ca_rotation(members.at("west")->root, "west", sites(), {}).error().kind, Kind::kPrecondition);
    const auto done = rotate();
    ASSERT_TRUE(done) << done.error().what;
    expect_done();
    EXPECT_EQ(done->at("ca").at("sites").size(), 4u);
    EXPECT_EQ(phases, (std::vector<std::string>{"prepare", "trust", "issue", "drop", "finish"}));
    for (const char* voter : {"east", "west", "witness"}) EXPECT_EQ(members.at(voter)->starts, 2) << voter;
    EXPECT_EQ(members.at("north")->starts, 0);
    EXPECT_EQ(before_drop, 1);
    EXPECT_EQ(after, 1);
    EXPECT_FALSE(ca_rotation_open(members.at("east")->root));

    // And once more, from there.
    old = {members.at("east")->bundle(), {}};
    phases.clear();
    const auto again = rotate();
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(again->at("ca").at("from"), done->at("ca").at("to"));
    expect_done();
    EXPECT_EQ(members.at("west")->store.statements().value().size(), 2u);
}

TEST_F(NewCa, TheHolderEndsAnywhereAndGoesOn) {
    for (int point = 0;; point += 1 + point / 40) {
        SCOPED_TRACE(point);
        points = {point, 0};
        for (const auto& [name, member] : members) old.cert = member->bundle();  // of the last time
        bool crashed = false;
        try {
            const auto done = rotate();
            ASSERT_TRUE(done) << done.error().what;
        } catch (const Crash&) {
            crashed = true;
        }
        check();
        if (!crashed) {
            EXPECT_GT(point, 40);
            break;
        }
        points.left = -1;
        follow(*members.at("east"));
        for (int i = 0; i < 3; ++i) clock.sleep(1s);  // the others go on with what they have been told
        const auto done = rotate();
        ASSERT_TRUE(done) << done.error().what;
        expect_done();
        if (HasFailure()) return;
    }
    expect_done();
}

// Between the two files of the end, and with a key for the next time that nobody has heard of.
TEST_F(NewCa, TheEndIsBrokenOff) {
    ASSERT_TRUE(rotate());
    const Member& east = *members.at("east");
    const CaFiles files = CaFiles::in(east.root);
    ASSERT_TRUE(write_file(files.next_key, read_file(east.paths().ca_key).value(), 0600));
    EXPECT_TRUE(ca_rotation_open(east.root));
    const std::string before = east.bundle();
    ASSERT_TRUE(rotate());
    EXPECT_EQ(east.bundle(), before);
    expect_done();

    const CertAndKey unsaid = make_ca("east").value();
    ASSERT_TRUE(write_file(files.next_key, unsaid.key, 0600));
    EXPECT_FALSE(ca_rotation_open(east.root));
    EXPECT_EQ(ca_signer(east.root).value().cert, before);
    ASSERT_TRUE(write_file(files.next_cert, unsaid.cert));
    ASSERT_TRUE(rotate());
    EXPECT_EQ(east.bundle(), unsaid.cert);
    expect_done();
}

TEST_F(NewCa, ASiteIsAway) {
    members.at("west")->away = true;
    const auto stuck = rotate({}, 20s);
    ASSERT_FALSE(stuck);
    EXPECT_EQ(stuck.error().kind, Kind::kTimeout);
    EXPECT_TRUE(stuck.error().what.contains("'west'")) << stuck.error().what;
    EXPECT_TRUE(stuck.error().hint.contains("--without SITE")) << stuck.error().hint;
    EXPECT_TRUE(ca_rotation_open(members.at("east")->root));
    // Everything works on with both, and it comes back in time.
    members.at("west")->away = false;
    check();
    ASSERT_TRUE(rotate());
    expect_done();

    // For longer: it is left behind, and the others are not kept.
    members.at("west")->away = true;
    const CaStatement first = members.at("west")->store.last().value();
    ASSERT_FALSE(rotate({}, 20s));
    EXPECT_EQ(rotate({"east"}).error().kind, Kind::kInvalid);
    EXPECT_EQ(rotate({"nobody"}).error().kind, Kind::kNotFound);
    const auto done = rotate({"west"});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(done->at("ca").at("without"), Json::array({"west"}));
    expect_done({"west"});
    // It asks the others, believes what the CA that it knows has signed, and knows then that it is left behind.
    Member& west = *members.at("west");
    EXPECT_EQ(west.store.last().value(), first);
    EXPECT_FALSE(left_behind(west.root));
    const auto said = parse_ca_statements(ca_statements_json(members.at("north")->store.statements().value())).value();
    for (const auto& statement : said) {
        ASSERT_TRUE(west.store.accept(statement));
        ASSERT_TRUE(west.follower->catch_up());
    }
    ASSERT_TRUE(left_behind(west.root));
    EXPECT_EQ(left_behind(west.root)->by, "east");
    EXPECT_TRUE(issuer_of(west.bundle(), members.at("east")->cert()));  // so it can read their answers
    EXPECT_FALSE(issuer_of(members.at("east")->bundle(), west.cert()));
}

TEST_F(NewCa, TwoWereMissed) {
    members.at("west")->away = true;
    ASSERT_TRUE(rotate({"west"}));
    ASSERT_TRUE(rotate({"west"}));
    Member& west = *members.at("west");
    const auto said = members.at("north")->store.statements().value();
    for (const auto& statement : said) {
        const auto taken = west.store.accept(statement);
        ASSERT_TRUE(taken) << taken.error().what;
        ASSERT_TRUE(west.follower->catch_up());
    }
    EXPECT_TRUE(issuer_of(west.bundle(), members.at("east")->cert()));
    EXPECT_TRUE(left_behind(west.root));
}

// It can write whatever it likes into the registry.
TEST_F(NewCa, AThiefIsNotBelieved) {
    const CertAndKey own = make_ca("east").value();
    const std::string key = read_file(members.at("north")->paths().key).value();
    int turn = 0;
    meanwhile = [&] {
        const auto now = registry.get(kCaKey).value();
        CaStatement its;
        if (now)
            if (auto parsed = parse_ca_statement(now->value)) its = *parsed;
        its.from = fingerprint(old.cert).value();
        its.cert = own.cert;
        its.to = fingerprint(own.cert).value();
        its.by = "east";
        its.since = rfc3339_now();
        ++its.serial;
        switch (turn++ % 4) {
            case 0: registry.put(kCaKey, to_json(sign_ca_statement(key, its).value()), now ? now->revision : 0).value(); break;
            case 1:  // the next step of what is on, before its time
                if (now) {
                    Json early = now->value;
                    early["step"] = 3;
                    early["serial"] = 1000;
                    registry.put(kCaKey, early, now->revision).value();
                }
                break;
            case 2: registry.put(kCaKey, Json("nonsense"), now ? now->revision : 0).value(); break;
            case 3:  // that 'west' has done what it has not
                if (const auto last = members.at("east")->store.last()) {
                    const auto record = registry.get("sites/west").value().value();
                    Site west = parse_site(record.value).value();
                    west.ca = CaMark{last->to, 3};
                    registry.put("sites/west", to_json(west), record.revision).value();
                }
                break;
        }
    };
    const auto done = rotate({}, 600s);
    meanwhile = [] {};
    ASSERT_TRUE(done) << done.error().what;
    clock.sleep(1s);
    for (const auto& [name, member] : members) {
        EXPECT_FALSE(std::ranges::contains(fingerprints(member->bundle()).value(), fingerprint(own.cert).value())) << name;
        EXPECT_TRUE(issuer_of(members.at("east")->bundle(), member->cert())) << name;
    }
    EXPECT_TRUE(std::ranges::any_of(notes, [](const std::string& note) { return note.contains("not believed"); }));
}

TEST_F(NewCa, NobodyIsBeingAdmitted) {
    Site south{.name = "south", .address = "127.0.0.1", .role = "voter"};
    south.state = "joining";
    registry.put("sites/south", to_json(south), 0).value();
    const auto refused = rotate();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kPrecondition);
    EXPECT_FALSE(registry.get(kCaKey).value());
    EXPECT_FALSE(ca_rotation_open(members.at("east")->root));
}

}  // namespace
}  // namespace blanket
