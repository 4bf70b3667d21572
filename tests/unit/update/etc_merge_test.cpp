// SPDX-License-Identifier: GPL-2.0-or-later
// What of /etc goes to a new version.
#include "toolstack/update/etc_merge.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"

namespace blanket::update {
namespace {

TEST(EtcMerge, TakesWhatIsNewOrChangedAndRemovesWhatIsGone) {
    const auto pristine = parse_tree("hostname\tfile\t0644\t0\t0\t1\taa\nsame\tfile\t0644\t0\t0\t1\tbb\npasswd\tfile\t0644\t0\t0\t1\tcc\nunits\tdir\t0755\t0\t0\t1\t-\nunits/x\tlink\t0777\t0\t0\t1\t/usr/x\n").value();
    Tree now = pristine;
    now["hostname"].content = "dd";
    now["passwd"].content = "ee";
    now["same"].content = "bb";
    now["ssh/key"] = {.kind = 'f', .mode = 0600, .content = "ff"};
    now["ssh"] = {.kind = 'd', .mode = 0755};
    now.erase("units/x");
    const auto merge = plan_merge(pristine, now);
    EXPECT_EQ(merge.take, (std::vector<std::string>{"hostname", "ssh", "ssh/key"}));
    EXPECT_EQ(merge.remove, (std::vector<std::string>{"units/x"}));
    now["same"].mode = 0600;
    EXPECT_EQ(plan_merge(pristine, now).take.size(), 4u) << "a mode counts too";
}

TEST(EtcMerge, RefusesAListThatLeavesEtc) {
    for (const char* bad : {"../x\tfile\t0644\t0\t0\t1\taa", "/x\tfile\t0644\t0\t0\t1\taa", "a/../b\tfile\t0644\t0\t0\t1\taa", "a\tfile\t0888\t0\t0\t1\taa", "a\tfile", "\tfile\t0644\t0\t0\t1\taa"}) EXPECT_FALSE(parse_tree(bad)) << bad;
}

// tree-list of the image build and read_tree of the machine see the same.
TEST(EtcMerge, TheBuildsListIsTheMachinesView) {
    const FakeRoot root;
    root.file("/etc/a", "text");
    root.file("/etc/dir/b", "");
    root.link("/etc/dir/link", "../a");
    ASSERT_EQ(::chmod((root.path() + "/etc/a").c_str(), 0600), 0);
    const auto listed = run({"python3", BLANKET_SOURCE_DIR "/image-builder/tree-list", root.path() + "/etc"});
    ASSERT_TRUE(listed) << listed.error().what;
    const auto built = parse_tree(*listed), seen = read_tree(root.path() + "/etc");
    ASSERT_TRUE(built && seen);
    EXPECT_EQ(built->size(), 4u);
    EXPECT_EQ(*built, *seen);
}

TEST(EtcMerge, IsAppliedWithModesAndLinks) {
    const FakeRoot root;
    for (const char* at : {"/old/keep", "/old/new/deep/file", "/now/keep", "/now/gone"}) root.file(at, at);
    root.link("/old/link", "keep");
    root.file("/now/link/was-a-folder", "x");
    ASSERT_EQ(::chmod((root.path() + "/old/new/deep/file").c_str(), 0600), 0);
    ASSERT_EQ(::chmod((root.path() + "/old/new").c_str(), 0700), 0);
    const auto done = apply_merge({.take = {"keep", "link", "new", "new/deep", "new/deep/file"}, .remove = {"gone", "never-there"}}, root.path() + "/old", root.path() + "/now");
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(read_file(root.path() + "/now/keep").value_or("?"), "/old/keep");
    EXPECT_TRUE(std::filesystem::is_symlink(root.path() + "/now/link"));
    EXPECT_FALSE(std::filesystem::exists(root.path() + "/now/gone"));
    struct stat info{};
    ASSERT_EQ(::stat((root.path() + "/now/new/deep/file").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    ASSERT_EQ(::stat((root.path() + "/now/new").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0700u);
}

// The new version has links where this one has folders: what they lead to, here the running root, is not touched.
TEST(EtcMerge, DoesNotFollowLinksOfTheNewVersion) {
    const FakeRoot root;
    for (const char* at : {"/old/dir/file", "/old/dir/same", "/old/deep/a/b/file", "/old/tree/x", "/run/file", "/run/gone", "/run/b/file"}) root.file(at, at);
    for (const char* at : {"/now/dir", "/now/deep/a", "/now/tree", "/now/off"}) root.link(at, root.path() + "/run");
    ASSERT_EQ(::chmod((root.path() + "/old/dir").c_str(), 0750), 0);
    const auto done = apply_merge({.take = {"deep/a/b/file", "dir/file", "tree", "tree/x"}, .remove = {"off/gone", "off/b/file"}}, root.path() + "/old", root.path() + "/now");
    ASSERT_TRUE(done) << done.error().what;
    for (const char* at : {"/run/file", "/run/gone", "/run/b/file"}) EXPECT_EQ(read_file(root.path() + at).value_or("?"), at);
    EXPECT_FALSE(std::filesystem::exists(root.path() + "/run/x"));
    for (const char* at : {"/dir/file", "/deep/a/b/file", "/tree/x"}) EXPECT_EQ(read_file(root.path() + "/now" + at).value_or("?"), std::string("/old") + at);
    for (const char* at : {"/dir", "/deep/a", "/tree"}) EXPECT_TRUE(std::filesystem::is_directory(std::filesystem::symlink_status(root.path() + "/now" + at))) << at;
    EXPECT_TRUE(std::filesystem::is_symlink(root.path() + "/now/off"));
    EXPECT_FALSE(std::filesystem::exists(root.path() + "/now/dir/same")) << "a folder comes without what is unchanged in it";
    struct stat info{};
    ASSERT_EQ(::stat((root.path() + "/now/dir").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0750u);
    root.link("/etc-link", root.path() + "/run");
    EXPECT_FALSE(apply_merge({.take = {"dir"}, .remove = {"file"}}, root.path() + "/old", root.path() + "/etc-link"));
    EXPECT_TRUE(std::filesystem::exists(root.path() + "/run/file"));
}

TEST(EtcMerge, AnAccountThatGotAnotherNumberIsFound) {
    EXPECT_EQ(renumbered("root:x:0:0\ndnsmasq:x:100:1\n", "root:x:0:0\nnew:x:100:1\ndnsmasq:x:101:1\n"), "dnsmasq");
    EXPECT_EQ(renumbered("root:x:0:0\ngone:x:5:5\n", "root:x:0:0\nnew:x:100:1\n"), "");
}

}  // namespace
}  // namespace blanket::update
