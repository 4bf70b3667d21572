// SPDX-License-Identifier: GPL-2.0-or-later
// Every command of every action fails once, and blanketd dies right there: after the next start nothing half made is left, no id is lost, the guest's content is.
#include <functional>

#include "tests/unit/storage/site_fixture.hpp"

namespace blanket::storage {
namespace {

// The pool knows exactly the ids that the table names, and every volume of the table opens.
void expect_consistent(FakeHost& host) {
    const auto table = host.store->thin().table();
    std::set<std::uint32_t> named, known;
    for (const auto& [key, entry] : table.entries) {
        EXPECT_EQ(entry.state, ThinState::kReady) << key;
        named.insert(entry.id);
    }
    for (const auto& [id, fd] : host.system->thin) known.insert(id);
    EXPECT_EQ(named, known);
    EXPECT_FALSE(host.system->metadata_snapshot);
}

// Runs `act` again and again, with the command number 0, 1, 2.. failing and blanketd gone after it, until it passes untouched.
void sweep(const std::function<void(FakeHost&)>& prepare, const std::function<Result<void>(FakeHost&)>& act, const std::function<void(FakeHost&, bool passed)>& check) {
    for (int at = 0; at < 200; ++at) {
        for (const bool power_cut : {false, true}) {
            SCOPED_TRACE(std::format("command {} fails, {}", at, power_cut ? "host reboots" : "blanketd restarts"));
            FakeHost host;
            ASSERT_TRUE(host.start());
            prepare(host);
            host.system->fail_at = static_cast<int>(host.system->commands.size()) + at;
            const bool passed = act(host).has_value();
            const bool reached = static_cast<int>(host.system->commands.size()) > host.system->fail_at;
            host.system->fail_at = -1;
            if (power_cut) host.system->reboot();
            const auto started = host.start();
            ASSERT_TRUE(started) << started.error().what;
            expect_consistent(host);
            check(host, passed);
            if (testing::Test::HasFailure()) return;
            if (!reached && power_cut) return;
        }
    }
    ADD_FAILURE() << "the action never ran through";
}

void with_volume(FakeHost& host) {
    ASSERT_TRUE(host.import_default());
    ASSERT_TRUE(host.store->create_volume(FakeHost::volume()));
    ASSERT_TRUE(host.store->open_volume("web", 1));
    ASSERT_TRUE(host.system->user_write("bs-web-top", 0, "precious"));
}

void expect_precious(FakeHost& host) {
    auto move = ThinMove::source(*host.store, FakeHost::volume());  // what blanketd does for a VM whose record says "here"
    ASSERT_TRUE(move) << move.error().what;
    const auto done = (*move)->finish(true, 1);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(host.read()->substr(0, 8), "precious");
    ASSERT_TRUE(host.system->user_write("bs-web-top", 8, "!"));
    EXPECT_TRUE(host.system->drbd.empty());
    expect_consistent(host);
    EXPECT_EQ(host.system->thin.size(), 2u);
}

TEST(Crash, Import) {
    sweep([](FakeHost&) {}, [](FakeHost& host) { return host.import_default(); },
          [](FakeHost& host, bool passed) {
              const auto present = host.store->has_image(FakeHost::volume().image);
              ASSERT_TRUE(present);
              EXPECT_TRUE(*present == passed || *present);
              if (!*present) EXPECT_TRUE(host.import_default());
          });
}

TEST(Crash, CreateVolume) {
    sweep([](FakeHost& host) { ASSERT_TRUE(host.import_default()); }, [](FakeHost& host) { return host.store->create_volume(FakeHost::volume()); },
          [](FakeHost& host, bool passed) {
              if (!passed) EXPECT_TRUE(host.store->create_volume(FakeHost::volume()));
              EXPECT_TRUE(host.store->open_volume("web", 1));
          });
}

TEST(Crash, RemoveVolume) {
    sweep(with_volume, [](FakeHost& host) { return host.store->remove_volume("web"); },
          [](FakeHost& host, bool) {
              EXPECT_TRUE(host.store->remove_volume("web"));
              EXPECT_EQ(host.system->thin.size(), 1u);
          });
}

TEST(Crash, AWholeMoveOfTheSource) {
    sweep(with_volume,
          [](FakeHost& host) -> Result<void> {
              BLANKET_TRY(const auto move, ThinMove::source(*host.store, FakeHost::volume()));
              BLANKET_CHECK(move->next_round());
              BLANKET_CHECK(move->next_round());
              BLANKET_CHECK(move->prepare_mirror("10.213.1.1", "10.213.2.1", 7800));
              BLANKET_CHECK(move->last_round());
              BLANKET_CHECK(move->attach_mirror("10.213.1.1", "10.213.2.1", 7800, true));
              return move->drain();
          },
          [](FakeHost& host, bool) { expect_precious(host); });
}

TEST(Crash, TheEndOfAMove) {
    sweep(
        [](FakeHost& host) {
            with_volume(host);
            auto move = ThinMove::source(*host.store, FakeHost::volume());
            ASSERT_TRUE(move && (*move)->next_round() && (*move)->last_round() && (*move)->attach_mirror("10.213.1.1", "10.213.2.1", 7800, true));
        },
        [](FakeHost& host) -> Result<void> {
            BLANKET_TRY(const auto move, ThinMove::source(*host.store, FakeHost::volume()));
            return move->finish(true, 1);
        },
        [](FakeHost& host, bool) { expect_precious(host); });
}

}  // namespace
}  // namespace blanket::storage
