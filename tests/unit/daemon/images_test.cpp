// SPDX-License-Identifier: GPL-2.0-or-later
// `image add`: from a file with holes, and from what knows no holes, as a block device.
#include "toolstack/daemon/images.hpp"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include "tests/unit/daemon/app_host.hpp"
#include "tests/unit/fakes/fake_link.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/migrate/image_transfer.hpp"

namespace {
std::atomic<bool> no_holes = false;
}  // namespace

// The C library's, but for what a block device answers: the kernel knows SEEK_DATA of files only.
extern "C" off_t lseek(int fd, off_t offset, int whence) noexcept {
    if ((whence == SEEK_DATA || whence == SEEK_HOLE) && no_holes) {
        errno = EINVAL;
        return -1;
    }
    return ::syscall(SYS_lseek, fd, offset, whence);
}

namespace blanket {
namespace {

struct NoHoles {
    NoHoles() { no_holes = true; }
    ~NoHoles() { no_holes = false; }
};

struct Alone final : Neighbours {
    Result<std::unique_ptr<PeerLink>> link(const Site& site, std::chrono::milliseconds) override { return fail(Kind::kUnavailable, "no link to {}", site.name); }
    Result<Json> call(const Site& site, const std::string&, const std::string&, const Json*) override { return fail(Kind::kUnavailable, "no call to {}", site.name); }
    Result<void> lead_near(const Site&) override { return {}; }
};

// Data, a hole, data, a hole to the end, which is in the middle of a block.
std::string content() {
    std::string text(7 * kBlockSize + 512, '\0');
    text.replace(0, kBlockSize, kBlockSize, 'a');
    text.replace(3 * kBlockSize + 100, 5, "guest");
    return text;
}

void write_sparse(const std::string& path, const std::string& text) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(fd);
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(text.size())), 0);
    for (std::size_t at = 0; at < text.size(); at += kBlockSize) {
        const auto block = as_bytes(text).subspan(at, std::min(kBlockSize, text.size() - at));
        if (!is_zero(block)) ASSERT_EQ(::pwrite(fd.get(), block.data(), block.size(), static_cast<off_t>(at)), static_cast<ssize_t>(block.size()));
    }
}

TEST(Images, OneIdentityWithHolesAndWithout) {
    fakes::FakeRegistry registry;
    Alone nobody;
    AppHost host("east", registry, nobody);
    const std::string path = host.folder + "/disk.raw", empty = host.folder + "/empty.raw";
    write_sparse(path, content());
    write_sparse(empty, std::string(content().size(), '\0'));
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), zeros(::open(empty.c_str(), O_RDONLY | O_CLOEXEC));
    const auto with = identify(fd.get()), nothing = identify(zeros.get());
    ASSERT_TRUE(with && nothing);
    EXPECT_NE(with->sha256, nothing->sha256);
    const NoHoles device;
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_DATA), -1);
    const auto without = identify(fd.get()), nothing_again = identify(zeros.get());
    ASSERT_TRUE(without && nothing_again);
    EXPECT_EQ(without->sha256, with->sha256);
    EXPECT_EQ(nothing_again->sha256, nothing->sha256);
    EXPECT_EQ(without->size, content().size());
}

TEST(Images, ADeviceIsAddedWhole) {
    fakes::FakeRegistry registry;
    Alone nobody;
    AppHost host("east", registry, nobody);
    const std::string path = host.folder + "/disk.raw";
    write_sparse(path, content());
    const NoHoles device;
    const auto added = add_image(host.app, "debian", path, false);
    ASSERT_TRUE(added) << added.error().what;
    std::uint64_t seen = 0;
    while (!added->job->ended()) seen = added->job->wait(seen, std::chrono::seconds(5));
    const Json job = added->job->to_json();
    ASSERT_EQ(job["state"], "done") << job.dump(1);
    EXPECT_TRUE(host.site.image_content[job["result"]["sha256"].get<std::string>()] == content());
}

// The other end of a move or of a fetch has begun to send an image that has come from elsewhere meanwhile.
TEST(Images, OneThatHasComeMeanwhileIsNotTakenTwice) {
    fakes::FakeSite east("east"), west("west");
    const std::string image = content();
    const UniqueFd file(::memfd_create("image", MFD_CLOEXEC));
    ASSERT_TRUE(write_all(file.get(), as_bytes(image)));
    const std::string sha256 = identify(file.get())->sha256;
    for (auto* site : {&east, &west}) {
        site->images.insert(sha256);
        site->image_content[sha256] = image;
    }
    {
        auto [source, target] = fakes::FakeLink::pair("east", "west", std::make_shared<fakes::FakeLink::Wire>());
        Result<void> sent;
        std::jthread sender([&sent, &east, &sha256, link = std::move(source)] { sent = migrate::send_image(*link, east, sha256, [](double) { return true; }); });
        const auto received = migrate::receive_image(*target, west, sha256);
        EXPECT_TRUE(received) << received.error().what;
        sender.join();
        EXPECT_TRUE(sent) << sent.error().what;  // all of it was taken from the link, and acknowledged
    }
    std::jthread server;
    const auto fetched = migrate::fetch_image([&]() -> Result<std::unique_ptr<PeerLink>> {
        auto [asker, answerer] = fakes::FakeLink::pair("east", "west", std::make_shared<fakes::FakeLink::Wire>());
        server = std::jthread([&west, link = std::move(answerer)] {
            if (const auto request = link->receive(std::chrono::seconds(5))) (void)migrate::serve_image(*link, west, migrate::payload_json(*request).value());
        });
        return std::unique_ptr<PeerLink>(std::move(asker));
    }, east, sha256);
    EXPECT_TRUE(fetched) << fetched.error().what;
}

}  // namespace
}  // namespace blanket
