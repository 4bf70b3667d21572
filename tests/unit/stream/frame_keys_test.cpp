// SPDX-License-Identifier: GPL-2.0-or-later
// Which frame of a VM had which stored page: files that are whole or nothing, and a bounded share of the store.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/stream/store_passage.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::stream {
namespace {

TEST(FrameKeys, WhatIsNotWholeIsNone) {
    const StoreFolder folder;
    ASSERT_TRUE(make_dirs(folder.path, 0700));
    const std::string path = folder.path + "/0000000000000001.frames";
    FrameKeys keys;
    keys.tag[5] = std::byte{7};
    std::mt19937_64 random(1);
    for (int i = 0; i < 37; ++i) keys.keys.push_back(i % 5 == 0 ? 0 : random());
    ASSERT_TRUE(keys.save(path));
    const auto back = FrameKeys::load(path).value();
    EXPECT_TRUE(back.tag == keys.tag && back.keys == keys.keys);
    const std::string whole = read_file(path).value();
    ASSERT_EQ(whole.size(), FrameKeys::file_bytes(37));
    const auto refused = [&](const std::string& text) {
        put(path, text);
        const auto loaded = FrameKeys::load(path);
        return !loaded && loaded.error().kind == Kind::kInvalid;
    };
    for (std::size_t at = 0; at < whole.size(); ++at) {
        EXPECT_TRUE(refused(whole.substr(0, at))) << at;
        std::string torn = whole.substr(0, at);
        torn.resize(whole.size());
        if (torn != whole) EXPECT_TRUE(refused(torn)) << at;
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
        EXPECT_TRUE(refused(damaged)) << at;  // what is reserved is in the sum as well
    }
    EXPECT_TRUE(refused(whole + "x"));
    EXPECT_TRUE(refused(whole + std::string(8, '\0')));
    std::string many = whole;
    many[38] = '\x7f';  // a count beyond everything
    EXPECT_TRUE(refused(many));
    ASSERT_TRUE(remove_file(path));
    EXPECT_FALSE(FrameKeys::load(path));
    ASSERT_EQ(::symlink("/etc/passwd", path.c_str()), 0);
    EXPECT_FALSE(FrameKeys::load(path));
    ASSERT_TRUE(keys.save(path));  // not through it
    EXPECT_TRUE(FrameKeys::load(path));
    ASSERT_TRUE(remove_file(path));
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_FALSE(FrameKeys::load(path));
}

// Their files have a share of the quota: the oldest go, and one that is too large is not kept.
TEST(FrameKeys, HaveAShareOfTheQuota) {
    const StoreFolder folder;
    const auto store = folder.open(16 * 3 * FrameKeys::file_bytes(10'000));
    const auto pages = pages_of(1, 5);
    for (std::size_t vm = 0; vm < 5; ++vm) {
        const StoreSubject subject{"red", std::format("vm{}", vm)};
        {
            const auto feed = store->feed(subject, 50'000).value();
            EXPECT_TRUE(feed->seen(pages[vm], vm == 4 ? 39'999 : 9'999));
            EXPECT_TRUE(feed->seen(pages[vm], 50'000));  // beyond what was said: a page as any
            feed->arrived();
        }
        store->settle();
        const auto found = store->versions(subject).value();
        EXPECT_EQ(found != nullptr, vm < 4) << vm;
        if (found) EXPECT_EQ(found->close(std::chrono::minutes(1)), 1u);
        EXPECT_LE(frame_files(folder).size(), 3u);
        EXPECT_LE(store->facts().bytes, store->facts().quota);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the next one is younger
    }
    EXPECT_EQ(store->versions({"red", "vm0"}).value(), nullptr);
}

}  // namespace
}  // namespace blanket::stream
