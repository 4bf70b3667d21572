// SPDX-License-Identifier: GPL-2.0-or-later
// Both halves of a migration against each other over a link with faults, for the tests of moves: one VM, two sites, and the invariants that hold after each case.
#pragma once

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_link.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/link_session.hpp"
#include "toolstack/migrate/recovery.hpp"
#include "toolstack/migrate/source.hpp"
#include "toolstack/migrate/target.hpp"

namespace blanket::migrate {

inline constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

class Quiet final : public Observer {
public:
    std::vector<std::string> phases;
    std::atomic<bool> stop = false;
    std::string cancel_in;  // cancels when this phase begins
    void phase(const std::string& name) override {
        phases.push_back(name);
        if (name == cancel_in) stop = true;
    }
    void note(const std::string&) override {}
    void progress(double) override {}
    bool cancelled() const override { return stop; }
    std::vector<MoveTrace> traces;
    void trace(const MoveTrace& trace) override { traces.push_back(trace); }
};

inline const auto kNoBrokenPipeSignal = std::signal(SIGPIPE, SIG_IGN);  // as blanketd does

struct MoveRig {
    fakes::FakeRegistry registry;
    fakes::FakeClock clock;
    fakes::FakeSite east{"east"}, west{"west"};
    fakes::FakeOverlay east_net, west_net;
    Quiet observer;
    stream::Features features;
    SaveLimits limits;
    std::uint64_t bandwidth = 0;
    std::shared_ptr<fakes::FakeLink::Wire> wire = std::make_shared<fakes::FakeLink::Wire>();
    Result<void> served;
    std::function<void()> after_serving;
    std::string written = "hello ";
    bool gives_up = true;  // the target, when the registry does not answer
    std::unique_ptr<stream::IndexShelf> indexes;  // of east
    stream::ContentStore *east_store = nullptr, *west_store = nullptr;

    MoveRig() {
        east.other = &west;
        west.other = &east;
        VmRecord vm;
        vm.uuid = kUuid;
        vm.name = "web";
        vm.owner = "east";
        vm.phase = Phase::kRunning;
        vm.memory_mib = 256;
        vm.cpu_features = {"sse2"};
        vm.volumes.push_back({"web-1", "", 65536, "xvda"});
        EXPECT_TRUE(registry.create_vm(vm));
        east.domains[kUuid] = {kUuid, "web", 3, DomainState::kRunning, 256, 1};
        std::string memory(3u << 20, '\0');
        for (std::size_t i = 0; i < memory.size(); i += 7) memory[i] = static_cast<char>(i * 31);
        east.memory[kUuid] = memory + "END";
        east.disks["web-1"] = {.data = written, .open = true, .epoch = 1};
        east.writes_during_move = "w";
    }
    Result<Stats> move() {
        auto [source_end, target_end] = fakes::FakeLink::pair("east", "west", wire);
        std::thread target_thread([&, end = std::move(target_end)] {
            Target target({registry, west, west, west, west, west_net, clock}, *end, "west", [this] { return gives_up; }, {}, west_store, std::chrono::minutes(1));
            served = target.serve();
            if (after_serving) after_serving();
            end->shutdown();
        });
        const auto vm = registry.vm(kUuid);
        east_net.running = [&] { return east.runs(kUuid); };
        SourcePlan plan{"job-1", **vm, Site{.name = "east", .index = 1, .address = "10.0.0.1"}, Site{.name = "west", .index = 2, .address = "10.0.0.2"}, 7800};
        plan.indexes = indexes.get();
        plan.features = features;
        plan.limits = limits;
        plan.bandwidth = bandwidth;
        plan.store = east_store;
        plan.for_versions = std::chrono::minutes(1);
        Source source({registry, east, east, east, east, east_net, clock}, *source_end, std::move(plan), observer);
        auto stats = source.run();
        source_end->shutdown();
        target_thread.join();
        return stats;
    }
    // Exactly one running copy, at the record's owner, with all writes; nothing at the loser.
    void check(const std::string& owner) {
        const auto record = (*registry.vm(kUuid))->value;
        EXPECT_EQ(record.owner, owner);
        EXPECT_EQ(record.phase, Phase::kRunning);
        EXPECT_FALSE(record.migration);
        auto& winner = owner == "east" ? east : west;
        auto& loser = owner == "east" ? west : east;
        EXPECT_TRUE(winner.runs(kUuid));
        EXPECT_FALSE(loser.domains.contains(kUuid));
        EXPECT_TRUE(loser.disks.empty());
        ASSERT_TRUE(winner.disks.contains("web-1"));
        EXPECT_TRUE(winner.disks["web-1"].open);
        EXPECT_TRUE(winner.memory[kUuid].ends_with("END"));
        if (owner == "east") EXPECT_TRUE(east_net.diverted.empty() && east_net.redirected.empty());
        std::uint64_t epoch = 0;
        for (const auto& old : registry.history) {
            EXPECT_GE(old.epoch, epoch);
            epoch = old.epoch;
        }
    }
};

// A VM of a base image whose memory is a stream as libxl's, in three rounds. The site has the image's index if `indexed`.
struct ImageRig : MoveRig {
    std::string folder = "/tmp/migration-test-" + random_hex(6), image = fakes::seeded_image(1, 64), sha256 = fakes::image_hash(image), memory;
    std::size_t written = 0;  // frames of its second and third walk

    explicit ImageRig(bool indexed = true) {
        east.image_content[sha256] = image;
        east.images.insert(sha256);
        auto vm = *registry.vm(kUuid).value();
        vm.value.volumes[0].image = sha256;
        EXPECT_TRUE(registry.update_vm(vm.value, vm.revision));
        fakes::SeededGuest guest(1, 640, image);
        const auto stream = guest.save(3).bytes;
        memory.assign(reinterpret_cast<const char*>(stream.data()), stream.size());
        memory += "END";
        written = guest.written();
        east.memory[kUuid] = memory;
        indexes = std::make_unique<stream::IndexShelf>(folder);
        if (!indexed) return;
        auto builder = stream::ImageIndex::Builder::create().value();
        EXPECT_TRUE(builder.add(0, as_bytes(image)));
        EXPECT_TRUE(indexes->keep(*builder.finish(sha256)));
    }
    ~ImageRig() { std::filesystem::remove_all(folder); }
    void give_west(const std::string& content) {
        west.images.insert(sha256);
        west.image_content[sha256] = content;
    }
};

// A store of its own in a folder that goes with it.
struct SiteStore {
    std::string folder = "/tmp/migration-test-store-" + random_hex(6);
    std::unique_ptr<stream::ContentStore> store = stream::ContentStore::open(folder, {.quota = 256u << 20, .keep_free = 0, .wait = true}).value();
    ~SiteStore() {
        store.reset();
        std::filesystem::remove_all(folder);
    }
};

}  // namespace blanket::migrate
