// SPDX-License-Identifier: GPL-2.0-or-later
// A base image that a site fetches from another one, over links that break at any message: each byte of it comes once, and what comes is the image or nothing.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/unit/fakes/fake_link.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/migrate/image_transfer.hpp"

namespace blanket::migrate {
namespace {

using namespace std::chrono_literals;
using fakes::FakeLink;

constexpr std::size_t kBlocks = 24;
constexpr FetchLimits kQuick{.silence = 2'000ms, .pause = 1ms, .patience = 10'000ms};

std::string hash_of(const std::string& content) {
    ContentHasher hasher;
    for (std::size_t at = 0; at < content.size(); at += kBlockSize) hasher.add(as_bytes(content).subspan(at, std::min(kBlockSize, content.size() - at)));
    return hasher.finish();
}

// A site with an image, another that wants it, and what passes between them.
struct Sites {
    fakes::FakeSite has{"west"}, wants{"east"};
    std::string content, sha256;
    std::vector<std::thread> servers;
    std::function<void(std::size_t link, std::size_t block, Message&, bool& cut)> fault = [](auto...) {};
    std::size_t links = 0, blocks = 0;  // that were asked for; that travelled

    explicit Sites(std::size_t size = kBlocks * kMaxBlock + 512) {
        std::mt19937_64 random(7);
        while (content.size() < size) {
            const std::uint64_t word = random();
            content.append(reinterpret_cast<const char*>(&word), 8);
        }
        sha256 = hash_of(content);
        has.images.insert(sha256);
        has.image_content[sha256] = content;
    }
    ~Sites() { end(); }
    void end() {
        for (auto& server : servers) server.join();
        servers.clear();
    }
    Result<std::unique_ptr<PeerLink>> reach() {
        auto wire = std::make_shared<FakeLink::Wire>();
        wire->answer_fault = [this, link = links++, block = std::size_t{0}](Message& message, bool& cut) mutable {
            if (static_cast<Type>(message.type) != Type::kBlock) return;
            fault(link, block++, message, cut);
            if (!cut) ++blocks;
        };
        auto [asker, server] = FakeLink::pair("east", "west", wire);
        servers.emplace_back([this, link = std::move(server)] {
            const auto request = link->receive(30s);
            ASSERT_TRUE(request);
            if (const auto served = serve_image(*link, has, payload_json(*request).value()); !served) (void)send_error(*link, served.error());
        });
        return std::unique_ptr<PeerLink>(std::move(asker));
    }
    Result<void> fetch(const FetchLimits& limits = kQuick) {
        auto fetched = fetch_image([this] { return reach(); }, wants, sha256, limits);
        end();
        return fetched;
    }
    [[nodiscard]] bool there() const { return wants.images.contains(sha256) && wants.image_content.at(sha256) == content; }
};

TEST(FetchImage, ComesWhole) {
    Sites sites;
    const auto fetched = sites.fetch();
    ASSERT_TRUE(fetched) << fetched.error().what;
    EXPECT_TRUE(sites.there());
    EXPECT_EQ(sites.links, 1u);
}

TEST(FetchImage, GoesOnWhereALinkBroke) {
    Sites sites;
    sites.fault = [](std::size_t link, std::size_t block, Message&, bool& cut) { cut = link < 3 && block == 6; };
    const auto fetched = sites.fetch();
    ASSERT_TRUE(fetched) << fetched.error().what;
    EXPECT_TRUE(sites.there());
    EXPECT_EQ(sites.links, 4u);
    EXPECT_EQ(sites.blocks, kBlocks + 1) << "each block once";
}

TEST(FetchImage, AnyCuts) {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        Sites sites;
        sites.fault = [&random](std::size_t, std::size_t, Message&, bool& cut) { cut = random() % 5 == 0; };
        const auto fetched = sites.fetch();
        ASSERT_TRUE(fetched) << fetched.error().what;
        EXPECT_TRUE(sites.there());
    }
}

TEST(FetchImage, GivesUpWhenNothingComes) {
    Sites sites;
    sites.fault = [](std::size_t, std::size_t block, Message&, bool& cut) { cut = block >= 1; };  // the second link has nothing but the head to show
    auto fetched = sites.fetch({.silence = 2'000ms, .pause = 1ms, .patience = 10'000ms});
    ASSERT_TRUE(fetched) << "a block a link is progress: " << fetched.error().what;
    Sites dead;
    dead.fault = [](std::size_t link, std::size_t block, Message&, bool& cut) { cut = link > 0 || block >= 3; };
    fetched = dead.fetch({.silence = 2'000ms, .pause = 1ms, .patience = 2'000ms});
    ASSERT_FALSE(fetched);
    EXPECT_TRUE(fetched.error().kind == Kind::kIo || fetched.error().kind == Kind::kTimeout) << fetched.error().what;  // the last link was cut, or only silent: a slow machine's
    EXPECT_FALSE(dead.wants.images.contains(dead.sha256));
    EXPECT_GT(dead.links, 2u);
}

TEST(FetchImage, WhatIsDamagedOrNotThereIsNotRepeated) {
    Sites damaged;
    damaged.fault = [](std::size_t, std::size_t block, Message& message, bool&) {
        if (block == 4) message.payload.back() ^= std::byte{1};
    };
    EXPECT_FALSE(damaged.fetch());
    EXPECT_FALSE(damaged.wants.images.contains(damaged.sha256));
    EXPECT_EQ(damaged.links, 1u);
    Sites gone;
    gone.has.images.clear();
    const auto fetched = gone.fetch();
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().kind, Kind::kNotFound);
    EXPECT_EQ(gone.links, 1u);
}

TEST(FetchImage, ASiteThatRepeatsItselfIsRefused) {
    Sites sites;
    auto [asker, server] = FakeLink::pair("east", "west", std::make_shared<FakeLink::Wire>());
    std::thread hostile([&] {
        (void)send_json(*server, Type::kImage, {{"sha256", sites.sha256}, {"size", sites.content.size()}});
        const std::vector<std::byte> same(kMaxBlock);
        while (server->send(static_cast<std::uint32_t>(Type::kBlock), pack_block({0, 0, static_cast<std::uint32_t>(same.size()), Coding::kRaw, same}))) std::this_thread::sleep_for(1ms);
    });
    auto once = std::unique_ptr<PeerLink>(std::move(asker));
    const auto fetched = fetch_image([&]() -> Result<std::unique_ptr<PeerLink>> { return std::move(once); }, sites.wants, sites.sha256, kQuick);
    hostile.join();
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().kind, Kind::kInvalid) << fetched.error().what;
    EXPECT_FALSE(sites.wants.images.contains(sites.sha256));
}

TEST(ServeImage, RefusesMoreThanThereIs) {
    Sites sites;
    auto [asker, server] = FakeLink::pair("east", "west", std::make_shared<FakeLink::Wire>());
    const auto served = serve_image(*server, sites.has, {{"sha256", sites.sha256}, {"from", sites.content.size() + 1}});
    ASSERT_FALSE(served);
    EXPECT_EQ(served.error().kind, Kind::kInvalid);
    EXPECT_FALSE(serve_image(*server, sites.has, {{"sha256", sites.sha256}, {"from", "all"}}));
    EXPECT_FALSE(serve_image(*server, sites.has, {{"sha256", 7}}));
}

}  // namespace
}  // namespace blanket::migrate
