// SPDX-License-Identifier: GPL-2.0-or-later
// The fake keeps the ports' promises: a move carries the memory, errors leave the guest running and nothing at the target, a double run is seen.
#include "tests/unit/fakes/fake_hypervisor.hpp"

#include <gtest/gtest.h>
#include <thread>

namespace blanket::fakes {
namespace {

const std::string kUuid = "6f6c2d3e-11aa-4b0c-9e52-0c5d8f3f7a01";
const std::string kXml = "<domain><name>web</name><uuid>" + kUuid + "</uuid></domain>";

struct FakeMove : ::testing::Test {
    FakeWorld world;
    FakeHypervisor east{world, "east"}, west{world, "west"};
    void SetUp() override {
        ASSERT_TRUE(east.define(kXml));
        ASSERT_TRUE(east.start(kUuid));
        ASSERT_TRUE(east.write_page(kUuid, 7, 42));
    }
    std::pair<Result<void>, Result<void>> move() {
        auto pipe = make_pipe().value();
        Result<void> restored;
        std::jthread reader([&] { restored = west.restore_paused(kUuid, kXml, [&](std::span<std::byte> out) { return read_some(pipe.read.get(), out); }); });
        auto saved = east.save_live(kUuid, {}, [&](std::span<const std::byte> piece) { return write_all(pipe.write.get(), piece); }, {});
        pipe.write.reset();
        reader.join();
        return {saved, restored};
    }
};

TEST_F(FakeMove, CarriesTheMemory) {
    east.on_round = [&](std::uint32_t round) { east.write_page(kUuid, round + 1, round + 100); };
    const auto [saved, restored] = move();
    ASSERT_TRUE(saved && restored);
    EXPECT_EQ(east.domain(kUuid)->state, DomainState::kSuspended);
    EXPECT_EQ(world.copies(kUuid), 0u);
    ASSERT_TRUE(west.resume_target(kUuid));
    ASSERT_TRUE(east.destroy_source(kUuid));
    EXPECT_EQ(west.domain(kUuid)->memory[7], 42u);
    EXPECT_EQ(west.domain(kUuid)->memory[3], 102u);
    EXPECT_FALSE(east.domain(kUuid));
    EXPECT_EQ(world.most_copies(kUuid), 1u);
}

TEST_F(FakeMove, SourceFailureLetsTheGuestRunOn) {
    for (const auto step : {FakeStep::kSave, FakeStep::kSaveMiddle, FakeStep::kSaveSuspended}) {
        east.fail_at(step, {Kind::kIo, "link", {}});
        const auto [saved, restored] = move();
        EXPECT_FALSE(saved);
        EXPECT_FALSE(restored);
        EXPECT_EQ(east.domain(kUuid)->state, DomainState::kRunning);
        EXPECT_FALSE(west.domain(kUuid));
    }
}

TEST_F(FakeMove, CancelLetsTheGuestRunOn) {
    const auto saved = east.save_live(kUuid, {}, [](std::span<const std::byte>) -> Result<void> { return {}; }, [](const SaveProgress& progress) { return !progress.suspended; });
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().kind, Kind::kCancelled);
    EXPECT_EQ(world.copies(kUuid), 1u);
}

TEST_F(FakeMove, SeesADoubleRun) {
    const auto [saved, restored] = move();
    ASSERT_TRUE(saved && restored);
    ASSERT_TRUE(west.resume_target(kUuid));
    ASSERT_TRUE(east.resume_source(kUuid));
    EXPECT_EQ(world.most_copies(kUuid), 2u);
}

}  // namespace
}  // namespace blanket::fakes
