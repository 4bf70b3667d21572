// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates: one that has expired where the CA's key is and where it is not, and what the holder of that key signs.
#include <gtest/gtest.h>

#include "tests/unit/registry/founder.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using test::address_of;
using test::eventually;
using test::kQuiet;
using test::make_site;
using test::TestSite;

std::int64_t now_s() { return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

TEST(Certificates, AnExpiredOneIsSignedAnewBeforeEtcdStarts) {
    const test::TempDir dir;
    test::Founder east(dir.path(), 41);
    const PkiPaths paths = PkiPaths::in(dir.path() + "/east/pki");
    EXPECT_EQ(certificate_subject(read_file(paths.cert, 65536).value()).value().role, kSiteRole);
    east.site.federation.reset();
    const CertAndKey ca{read_file(paths.ca_cert, 65536).value(), read_file(paths.ca_key, 65536).value()};
    const std::string key = read_file(paths.key, 65536).value();
    const Subject subject{"east", address_of(41), {}};
    ASSERT_TRUE(write_file(paths.cert, sign_csr(ca, make_csr(subject, key).value(), subject, 1s).value(), 0644));
    const auto valid = validity(read_file(paths.cert, 65536).value()).value();
    ASSERT_TRUE(eventually([&] { return now_s() > valid.until; }));
    EXPECT_TRUE(check_identity(ca.cert, read_file(paths.cert, 65536).value(), key, "east").error().what.contains("expired"));

    east.start();
    EXPECT_GT(east.site.federation->certificate_expires().value(), now_s() + 300 * 86400);
    EXPECT_EQ(certificate_subject(read_file(paths.cert, 65536).value()).value().role, kSiteRole);
    EXPECT_EQ(read_file(paths.key, 65536).value(), key);

    // So it is while blanketd runs, whatever the registry does.
    ASSERT_TRUE(east.site.runner->stop());
    ASSERT_TRUE(write_file(paths.cert, sign_csr(ca, make_csr(subject, key).value(), subject, -1s).value(), 0644));
    const auto renewed = east.site.federation->renew_if_due(now_s());
    ASSERT_TRUE(renewed) << renewed.error().what;
    EXPECT_TRUE(*renewed);

    // Who signs no roles, as before there were any: what is there stays until it is due, or it would be another one each hour.
    ASSERT_TRUE(write_file(paths.cert, sign_csr(ca, make_csr(subject, key).value(), subject, 300 * 24h).value(), 0644));
    const std::string kept = read_file(paths.cert, 65536).value();
    EXPECT_EQ(Renewal(dir.path() + "/east", subject, 7443).ourselves().error().kind, Kind::kPrecondition);
    EXPECT_EQ(read_file(paths.cert, 65536).value(), kept);

    // Where the CA's key is not, nobody can help: said at once, and etcd does not start.
    east.site.federation.reset();
    ASSERT_TRUE(write_file(paths.cert, sign_csr(ca, make_csr(subject, key).value(), subject, -1s).value(), 0644));
    ASSERT_TRUE(remove_file(paths.ca_key));
    TestSite west = make_site(dir.path(), "east", 41);
    const auto begin = std::chrono::steady_clock::now();
    const auto refused = west.federation->ensure_local(kQuiet);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kDenied);
    EXPECT_TRUE(refused.error().what.contains("certificate expired")) << refused.error().what;
    EXPECT_TRUE(refused.error().hint.contains("site 'east'")) << refused.error().hint;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
    EXPECT_FALSE(*west.runner->running());
}

TEST(Certificates, ACaSaysWhoMadeItUnlessTheNameIsTooLong) {
    EXPECT_EQ(ca_maker(make_ca("east").value().cert), "east");
    EXPECT_EQ(ca_maker(make_ca(std::string(39, 'e')).value().cert), std::string(39, 'e'));
    EXPECT_EQ(ca_maker(make_ca(std::string(40, 'e')).value().cert), "");  // it may have been longer
    EXPECT_EQ(ca_maker("nonsense"), "");
}

TEST(Certificates, TheHolderOfTheCasKeySignsWhatItHasSignedBefore) {
    const test::TempDir dir;
    test::Founder east(dir.path(), 43);
    east.open();
    Site west{.name = "west", .index = 2, .address = "10.9.0.2", .role = "client"};
    Site witness{.name = "witness", .address = "10.9.0.3", .role = "witness"};
    east.write("sites/west", to_json(west).dump());
    east.write("sites/witness", to_json(witness).dump());
    const auto renew = [&](const Subject& peer) {
        const auto answer = east.site.federation->handle_renew(peer, Json{{"csr", make_csr({peer.name, "10.9.0.2", {}}).value().csr}});
        return answer ? certificate_subject(json_string(*answer, "cert").value()) : Result<Subject>(std::unexpected(answer.error()));
    };
    const auto good = renew({"west", "10.9.0.2", kSiteRole});
    ASSERT_TRUE(good) << good.error().what;
    EXPECT_EQ(good->name, "west");
    EXPECT_EQ(good->address, "10.9.0.2");
    EXPECT_EQ(good->role, kSiteRole);
    // From before there were roles: the record's. A role that was signed stays.
    EXPECT_EQ(renew({"witness", "10.9.0.3", {}}).value().role, kWitnessRole);
    witness.role = "voter";
    east.write("sites/witness", to_json(witness).dump());
    EXPECT_EQ(renew({"witness", "10.9.0.3", kWitnessRole}).value().role, kWitnessRole);

    // Its record says that it is where the founder is.
    west.address = address_of(43);
    east.write("sites/west", to_json(west).dump());
    EXPECT_EQ(renew({"west", "10.9.0.2", kSiteRole}).error().kind, Kind::kDenied);
    EXPECT_EQ(renew({"west", {}, {}}).error().kind, Kind::kDenied);
    // Another address that nobody has: it has no certificate for it either.
    west.address = "10.9.0.4";
    east.write("sites/west", to_json(west).dump());
    EXPECT_EQ(renew({"west", "10.9.0.2", kSiteRole}).error().kind, Kind::kDenied);
    west.address = "10.9.0.2";
    east.write("sites/west", to_json(west).dump());
    EXPECT_TRUE(renew({"west", "10.9.0.2", kSiteRole}));
    witness.address = "10.9.0.2";
    east.write("sites/witness", to_json(witness).dump());
    const auto both = renew({"west", "10.9.0.2", kSiteRole});
    ASSERT_FALSE(both);
    EXPECT_TRUE(both.error().what.contains("'witness'")) << both.error().what;
}

}  // namespace
}  // namespace blanket
