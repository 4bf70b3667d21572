// SPDX-License-Identifier: GPL-2.0-or-later
// A site's WireGuard key is replaced: file, interface and record have the same key afterwards, the new one or, whatever failed, the old one.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include "net/wireguard.hpp"
#include "tests/unit/peer/identity.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/key_rotation.hpp"

namespace blanket {
namespace {

// The interface and the record, each of which can be told to fail from its nth call on.
struct OneSite {
    test::TempDir dir;
    std::string path = dir.path() + "/pki/wg.key", first = net::identity(path).value().pub;
    std::string interface = first, record = first;
    int applies = 0, publishes = 0, apply_fails = 1000, publish_fails = 1000, publish_works_again = 1000;

    KeyRotation how() {
        return {path,
                [this]() -> Result<void> {
                    if (++applies == apply_fails) return fail(Kind::kIo, "wg says no");
                    interface = net::identity(path).value().pub;
                    return {};
                },
                [this](const std::string& pub) -> Result<void> {
                    ++publishes;
                    if (publishes >= publish_fails && publishes < publish_works_again) return fail(Kind::kUnavailable, "the registry does not answer");
                    record = pub;
                    return {};
                }};
    }
    [[nodiscard]] std::string file() const { return net::identity(path).value().pub; }
};

Error refused(OneSite& site) {
    const auto done = rotate_wireguard_key(site.how());
    EXPECT_FALSE(done);
    return done ? Error{} : done.error();
}

TEST(KeyRotation, AllHaveTheNewKey) {
    OneSite site;
    const auto done = rotate_wireguard_key(site.how());
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_NE(site.file(), site.first);
    EXPECT_EQ((*done)["key"], site.file());
    EXPECT_EQ(site.interface, site.file());
    EXPECT_EQ(site.record, site.file());
    struct stat facts {};
    ASSERT_EQ(::stat(site.path.c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u);
    EXPECT_FALSE(done->dump().contains(trim(read_file(site.path).value()))) << "the secret is in no answer";
}

TEST(KeyRotation, ARegistryThatIsAwayIsSeenBeforeAnythingChanges) {
    OneSite site;
    site.publish_fails = 1;
    EXPECT_EQ(refused(site).kind, Kind::kUnavailable);
    EXPECT_EQ(site.file(), site.first);
    EXPECT_EQ(site.applies, 0);
}

TEST(KeyRotation, WhatFailsLaterLeavesTheOldKey) {
    OneSite interface;
    interface.apply_fails = 1;
    EXPECT_EQ(refused(interface).kind, Kind::kIo);
    OneSite registry;
    registry.publish_fails = 2;
    registry.publish_works_again = 3;
    const Error not_published = refused(registry);
    EXPECT_EQ(not_published.kind, Kind::kUnavailable);
    EXPECT_TRUE(not_published.what.contains("the old WireGuard key stays")) << not_published.what;
    for (const OneSite* site : {&interface, &registry}) {
        EXPECT_EQ(site->file(), site->first);
        EXPECT_EQ(site->interface, site->first);
        EXPECT_EQ(site->record, site->first);
    }
}

TEST(KeyRotation, AFileThatIsNoKeyIsLeftAlone) {
    OneSite site;
    ASSERT_TRUE(write_file(site.path, "no key", 0600));
    EXPECT_EQ(refused(site).kind, Kind::kInvalid);
    EXPECT_EQ(read_file(site.path).value(), "no key");
    EXPECT_EQ(site.publishes, 0);
}

}  // namespace
}  // namespace blanket
