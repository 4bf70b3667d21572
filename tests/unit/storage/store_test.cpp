// SPDX-License-Identifier: GPL-2.0-or-later
// ThinStore over a fake kernel: images, volumes, fencing by epoch, starts after a crash and after a reboot.
#include <semaphore>
#include <thread>

#include "tests/unit/storage/site_fixture.hpp"

namespace blanket::storage {
namespace {

TEST(Store, FirstStartMakesThePool) {
    FakeHost host;
    host.system->volumes.clear();
    ASSERT_TRUE(host.start());
    EXPECT_EQ(host.system->volumes.size(), 2u);
    EXPECT_TRUE(host.system->devices.contains("bs-pool"));
    const auto pool = host.store->pool();
    ASSERT_TRUE(pool);
    EXPECT_EQ(pool->size, 1u << 30);
    const auto before = host.system->commands.size();
    ASSERT_TRUE(host.start());  // idempotent: nothing is made again
    for (std::size_t i = before; i < host.system->commands.size(); ++i) EXPECT_TRUE(host.system->commands[i].starts_with("modprobe")) << host.system->commands[i];
}

TEST(Store, AGrownDataVolumeGrowsThePool) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    host.system->pool_bytes = 2ull << 30;
    ASSERT_TRUE(host.start());
    EXPECT_NE(host.system->devices.at("bs-pool").table.find("0 4194304 thin-pool"), std::string::npos);
}

TEST(Store, ALostTableIsNotTakenForAnEmptyPool) {
    FakeHost host;
    host.system->used_data_blocks = 5;
    const auto started = host.start();
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().kind, Kind::kConflict);
}

TEST(Store, ImportIsVerifiedSparseAndReadable) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    const auto content = FakeHost::image_content(7) + std::string(512, 'z');  // not a multiple of 64 KiB
    const auto sha256 = FakeHost::hash(content);
    EXPECT_FALSE(*host.store->has_image(sha256));
    ASSERT_TRUE(host.import(content, sha256));
    EXPECT_TRUE(*host.store->has_image(sha256));
    EXPECT_TRUE(host.import(content, sha256));  // another one was first: that is as good
    EXPECT_EQ(host.system->thin.size(), 1u);
    const auto extents = host.store->image_extents(sha256);
    ASSERT_TRUE(extents) << extents.error().what;
    EXPECT_EQ(*extents, (std::vector<Extent>{{0, 3 * kBlock, false}, {4 * kBlock, 3 * kBlock + 512, false}}));
    const auto fd = host.store->open_image(sha256);
    ASSERT_TRUE(fd) << fd.error().what;
    std::string back(content.size(), '\0');
    ASSERT_TRUE(pread_all(fd->get(), std::as_writable_bytes(std::span(back)), 0));
    EXPECT_EQ(back, content);
    EXPECT_NE(host.system->devices.at(image_device(sha256)).table.find(std::format("0 {} thin", content.size() / 512)), std::string::npos);
    EXPECT_TRUE(host.store->open_image(sha256));
}

TEST(Store, AWrongHashLeavesNothing) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    const auto done = host.import(FakeHost::image_content(2), std::string(64, 'b'));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind, Kind::kInvalid);
    EXPECT_TRUE(host.system->thin.empty());
    EXPECT_TRUE(host.store->thin().table().entries.empty());
}

TEST(Store, ATruncatedStreamLeavesNothing) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe && write_all(pipe->write.get(), as_bytes("short")));
    pipe->write.reset();
    FdImage reader(pipe->read.get(), kBlock);
    EXPECT_FALSE(host.store->import_image(std::string(64, 'b'), kBlock, reader));
    EXPECT_TRUE(host.system->thin.empty());
}

TEST(Store, ImportThroughAPipe) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    const auto content = FakeHost::image_content(40);
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    std::jthread feeder([&] {
        (void)write_all(pipe->write.get(), as_bytes(content));
        pipe->write.reset();
    });
    FdImage content_in(pipe->read.get(), content.size());
    EXPECT_TRUE(host.store->import_image(FakeHost::hash(content), content.size(), content_in));
}

// An import whose content comes when it is let go on.
class Gated final : public ImageReader {
public:
    Gated(const std::string& content, bool breaks) : content_(content), breaks_(breaks) {}
    Result<std::optional<Piece>> next() override {
        if (at_ == 0) {
            reads_.release();
            go_on_.acquire();
        }
        if (breaks_) return fail(Kind::kIo, "the link broke");
        if (at_ == content_.size()) return std::optional<Piece>();
        const Piece piece{at_, as_bytes(content_).subspan(at_, std::min<std::size_t>(kBlock, content_.size() - at_))};
        at_ += piece.data.size();
        return piece;
    }
    void wait_until_read() { reads_.acquire(); }
    void go_on() { go_on_.release(); }
    [[nodiscard]] std::size_t read() const { return at_; }

private:
    const std::string& content_;
    const bool breaks_;
    std::size_t at_ = 0;
    std::binary_semaphore reads_{0}, go_on_{0};
};

TEST(Store, OfTwoImportsOfAnImageOneIsMade) {
    for (const bool breaks : {false, true}) {
        FakeHost host;
        ASSERT_TRUE(host.start());
        const auto content = FakeHost::image_content(8);
        const auto sha256 = FakeHost::hash(content);
        Gated first(content, breaks), second(content, false);
        second.go_on();
        Result<void> one, two;
        {
            std::jthread a([&] { one = host.store->import_image(sha256, content.size(), first); });
            first.wait_until_read();
            std::jthread b([&] { two = host.store->import_image(sha256, content.size(), second); });
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            first.go_on();
        }
        EXPECT_EQ(one.has_value(), !breaks);
        EXPECT_TRUE(two) << two.error().what;
        EXPECT_EQ(second.read(), breaks ? content.size() : 0);  // it waited, and went on itself only where the first had failed
        EXPECT_TRUE(*host.store->has_image(sha256));
        EXPECT_EQ(host.system->thin.size(), 1u);
    }
}

TEST(Store, WhatAFailedImportLeftIsNoObstacle) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    const auto content = FakeHost::image_content(8);
    const auto key = image_key(FakeHost::hash(content));
    ASSERT_TRUE(host.store->thin().reserve(key, {.kind = ThinKind::kImage, .size = content.size(), .sha256 = FakeHost::hash(content), .raw_size = content.size(), .mirror = {}}));
    EXPECT_TRUE(host.import_default());
    EXPECT_TRUE(*host.store->has_image(FakeHost::hash(content)));
}

TEST(Store, AnImageIsOpenedByManyAtOnce) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    ASSERT_TRUE(host.import_default());
    const auto sha256 = FakeHost::hash(FakeHost::image_content(8));
    for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(host.store->thin().remove_device(image_device(sha256)));
        std::vector<Result<UniqueFd>> opened(4);
        {
            std::vector<std::jthread> threads;
            for (auto& one : opened) threads.emplace_back([&] { one = host.store->open_image(sha256); });
        }
        for (const auto& one : opened) EXPECT_TRUE(one) << one.error().what;
    }
    ASSERT_TRUE(host.store->thin().remove_device(image_device(sha256)));
    host.system->appears = image_device(sha256);
    const auto found = host.store->open_image(sha256);
    EXPECT_TRUE(found) << found.error().what;
}

TEST(Store, BadInput) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    ASSERT_TRUE(host.import_default());
    auto volume = FakeHost::volume();
    volume.size = 4 * kBlock;
    EXPECT_EQ(host.store->create_volume(volume).error().kind, Kind::kInvalid);  // smaller than its image
    volume.size = 16 * kBlock + 1;
    EXPECT_EQ(host.store->create_volume(volume).error().kind, Kind::kInvalid);
    volume.size = 0;
    EXPECT_EQ(host.store->create_volume(volume).error().kind, Kind::kInvalid);
    volume = FakeHost::volume("../etc");
    EXPECT_EQ(host.store->create_volume(volume).error().kind, Kind::kInvalid);
    volume = FakeHost::volume();
    volume.image = std::string(64, 'c');
    EXPECT_EQ(host.store->create_volume(volume).error().kind, Kind::kNotFound);
    EXPECT_EQ(host.store->open_volume("none", 1).error().kind, Kind::kNotFound);
    EXPECT_TRUE(host.store->remove_volume("none"));
    EXPECT_TRUE(host.store->close_volume("none"));
    EXPECT_EQ(host.store->has_image("xyz").error().kind, Kind::kInvalid);
    FdImage short_in(0, 100);
    EXPECT_EQ(host.store->import_image(std::string(64, 'd'), 100, short_in).error().kind, Kind::kInvalid);
    EXPECT_EQ(host.system->thin.size(), 1u);
}

TEST(Store, AFullPoolTakesNothingNew) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    ASSERT_TRUE(host.import_default());
    host.system->used_data_blocks = (1u << 30) / kBlock * 9 / 10 + 1;
    EXPECT_EQ(host.store->create_volume(FakeHost::volume()).error().kind, Kind::kPrecondition);
    EXPECT_EQ(host.import("x", std::string(64, 'e')).error().kind, Kind::kInvalid);
    EXPECT_EQ(host.import(std::string(512, 'x'), std::string(64, 'e')).error().kind, Kind::kPrecondition);
}

TEST(Store, VolumeLife) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    ASSERT_TRUE(host.import_default());
    ASSERT_TRUE(host.store->create_volume(FakeHost::volume()));
    EXPECT_EQ(host.store->create_volume(FakeHost::volume()).error().kind, Kind::kConflict);
    EXPECT_EQ(host.system->user_write("bs-web-top", 0, "x").error().kind, Kind::kUnavailable);  // suspended from the beginning
    ASSERT_TRUE(host.store->open_volume("web", 3));
    ASSERT_TRUE(host.system->user_write("bs-web-top", 0, "guest"));
    EXPECT_EQ(host.read()->substr(0, 6), "guestA");
    EXPECT_EQ(host.read()->substr(kBlock, 2), "BB");
    EXPECT_EQ(host.store->open_volume("web", 2).error().kind, Kind::kConflict);
    ASSERT_TRUE(host.store->close_volume("web"));
    EXPECT_EQ(host.system->user_write("bs-web-top", 0, "x").error().kind, Kind::kUnavailable);
    EXPECT_EQ(host.store->open_volume("web", 2).error().kind, Kind::kConflict);
    EXPECT_EQ(host.system->user_write("bs-web-top", 0, "x").error().kind, Kind::kUnavailable);
    ASSERT_TRUE(host.store->open_volume("web", 3));
    host.system->devices.at("bs-web-top").opens = 1;
    EXPECT_EQ(host.store->remove_volume("web").error().kind, Kind::kConflict);
    host.system->devices.at("bs-web-top").opens = 0;
    ASSERT_TRUE(host.store->remove_volume("web"));
    EXPECT_EQ(host.system->thin.size(), 1u);  // the image
    EXPECT_EQ(host.system->devices.size(), 1u);
}

TEST(Store, EpochAndContentOutliveAReboot) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    ASSERT_TRUE(host.import_default());
    ASSERT_TRUE(host.store->create_volume(FakeHost::volume()));
    ASSERT_TRUE(host.store->open_volume("web", 7));
    ASSERT_TRUE(host.system->user_write("bs-web-top", 0, "kept"));
    host.system->reboot();
    ASSERT_TRUE(host.start());
    EXPECT_EQ(host.store->open_volume("web", 6).error().kind, Kind::kConflict);
    ASSERT_TRUE(host.store->open_volume("web", 7));
    EXPECT_EQ(host.read()->substr(0, 4), "kept");
}

TEST(Store, ATableThatAMoveLeftInTheInactiveSlotIsNotResumedInto) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    ASSERT_TRUE(host.import_default());
    ASSERT_TRUE(host.store->create_volume(FakeHost::volume()));
    host.system->devices.at("bs-web-top").inactive = "0 2048 linear /dev/drbd0 0";
    ASSERT_TRUE(host.store->open_volume("web", 1));
    EXPECT_NE(host.system->devices.at("bs-web-top").table.find("bs-web-vol"), std::string::npos);
}

TEST(Store, AForeignDeviceOfTheSameNameIsNotTouched) {
    FakeHost host;
    ASSERT_TRUE(host.start());
    host.system->devices["bs-web-top"] = {.uuid = "LVM-x", .table = "0 8 linear 8:1 0", .inactive = {}, .suspended = false, .opens = 0, .minor = 99};
    EXPECT_EQ(host.store->create_volume(FakeHost::volume("web", true)).error().kind, Kind::kConflict);
    EXPECT_EQ(host.system->devices.at("bs-web-top").uuid, "LVM-x");
}

}  // namespace
}  // namespace blanket::storage
