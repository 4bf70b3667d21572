// SPDX-License-Identifier: GPL-2.0-or-later
// Which update may follow which version.
#include "toolstack/update/manifest.hpp"

#include <gtest/gtest.h>

#include "toolstack/base/json.hpp"

namespace blanket::update {
namespace {

Json good_manifest() {
    return {{"name", "blanket"}, {"format", 1}, {"architecture", "amd64"}, {"version", "0.2.0"}, {"min_version", "0.1.0"}, {"id", "abc123"}, {"unpacked_bytes", 700}, {"tree_bytes", 200}, {"tree_sha256", std::string(64, 'a')}};
}

TEST(Manifest, IsReadWhole) {
    const auto manifest = parse_manifest(good_manifest().dump());
    ASSERT_TRUE(manifest) << manifest.error().what;
    EXPECT_EQ(manifest->version, "0.2.0");
    EXPECT_EQ(manifest->tree_bytes, 200u);
}

TEST(Manifest, EachBadFieldIsRefusedByName) {
    struct Case {
        const char* field;
        Json value;
        const char* says;
    };
    for (const auto& [field, value, says] : {Case{"name", "other", "not of blanket"}, Case{"format", 2, "format 2"}, Case{"architecture", "arm64", "arm64"}, Case{"version", "1.x", "no version"},
                                             Case{"version", "1.2.3.4.5", "no version"}, Case{"min_version", "", "no version"}, Case{"id", "../x", "id"}, Case{"tree_bytes", 0, "sizes"},
                                             Case{"unpacked_bytes", 1ull << 50, "sizes"}, Case{"tree_sha256", "abc", "tree_sha256"}, Case{"tree_bytes", "200", "tree_bytes"}}) {
        Json json = good_manifest();
        json[field] = value;
        const auto manifest = parse_manifest(json.dump());
        ASSERT_FALSE(manifest) << field;
        EXPECT_TRUE(manifest.error().what.contains(says)) << field << ": " << manifest.error().what;
        json.erase(field);
        EXPECT_FALSE(parse_manifest(json.dump())) << field << " is missing";
    }
    EXPECT_FALSE(parse_manifest("not JSON"));
}

TEST(Manifest, VersionsAreNumbersNotText) {
    EXPECT_LT(compare_versions("0.9.0", "0.10.0").value(), 0);
    EXPECT_EQ(compare_versions("1.2", "1.2.0").value(), 0);
    EXPECT_GT(compare_versions("2", "1.9.9.9").value(), 0);
    EXPECT_FALSE(compare_versions("1..2", "1"));
    EXPECT_FALSE(compare_versions("-1", "1"));
}

TEST(Manifest, FollowsOnlyWhatItMay) {
    auto manifest = parse_manifest(good_manifest().dump()).value();
    EXPECT_TRUE(check_follows(manifest, "0.1.0", false));
    EXPECT_TRUE(check_follows(manifest, "0.1.9", false));
    EXPECT_EQ(check_follows(manifest, "0.2.0", false).error().kind, Kind::kConflict);
    EXPECT_EQ(check_follows(manifest, "0.3.0", false).error().kind, Kind::kConflict);
    EXPECT_TRUE(check_follows(manifest, "0.3.0", true));
    manifest.min_version = "0.1.5";
    EXPECT_EQ(check_follows(manifest, "0.1.4", true).error().kind, Kind::kPrecondition) << "--any-version does not lift what the update itself needs";
    EXPECT_FALSE(check_follows(manifest, "", true));
}

}  // namespace
}  // namespace blanket::update
