// SPDX-License-Identifier: GPL-2.0-or-later
// Both halves of a migration against each other over a link with faults. The invariants are checked after every case: exactly one copy runs, where the
// record says; nothing of the VM is left at the other site; no write is lost.
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
namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

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

const auto kNoBrokenPipeSignal = std::signal(SIGPIPE, SIG_IGN);  // as blanketd does

struct Rig {
    fakes::FakeRegistry registry;
    fakes::FakeClock clock;
    fakes::FakeSite east{"east"}, west{"west"};
    fakes::FakeOverlay east_net, west_net;
    Quiet observer;
    stream::Features features;
    std::shared_ptr<fakes::FakeLink::Wire> wire = std::make_shared<fakes::FakeLink::Wire>();
    Result<void> served;
    std::function<void()> after_serving;
    std::string written = "hello ";
    std::unique_ptr<stream::IndexShelf> indexes;  // of east
    stream::ContentStore *east_store = nullptr, *west_store = nullptr;

    Rig() {
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
            Target target({registry, west, west, west, west, west_net, clock}, *end, "west", [] { return true; }, {}, west_store);
            served = target.serve();
            if (after_serving) after_serving();
            end->shutdown();
        });
        const auto vm = registry.vm(kUuid);
        east_net.running = [&] { return east.runs(kUuid); };
        SourcePlan plan{"job-1", **vm, Site{.name = "east", .index = 1, .address = "10.0.0.1"}, Site{.name = "west", .index = 2, .address = "10.0.0.2"}, 7800};
        plan.indexes = indexes.get();
        plan.features = features;
        plan.store = east_store;
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

TEST(Migration, MovesMemoryDiskAndOwner) {
    Rig rig;
    const std::string memory = rig.east.memory[kUuid];
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_TRUE(rig.east_net.diverted_before_the_stop);
    EXPECT_TRUE(rig.east_net.redirected.contains("web"));
    EXPECT_EQ(rig.west.memory[kUuid], memory);
    EXPECT_EQ(stats->epoch, 2u);
    EXPECT_EQ(stats->memory_bytes, memory.size());
    EXPECT_TRUE(rig.west_net.active.contains("web"));
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with("hello www")) << rig.west.disks["web-1"].data;
}

// A VM of a base image whose memory is a stream as libxl's, in three rounds. The site has the image's index if `indexed`.
struct ImageRig : Rig {
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

TEST(Migration, PagesThatTheTargetHasAreNotSent) {
    for (const bool known : {true, false}) {
        SCOPED_TRACE(known ? "the image is there" : "the image comes along");
        ImageRig rig;
        if (known) rig.give_west(rig.image);
        std::uint64_t wire = 0;
        rig.wire->fault = [&](Message& message, bool&) { wire += static_cast<Type>(message.type) == Type::kMemory ? message.payload.size() : 0; };
        const auto stats = rig.move();
        ASSERT_TRUE(stats) << stats.error().what;
        rig.check("west");
        EXPECT_TRUE(rig.west.memory[kUuid] == rig.memory);
        EXPECT_EQ(stats->memory_bytes, rig.memory.size());
        const auto& pages = stats->pages;
        EXPECT_GT(pages.zero.pages, 240u);
        EXPECT_GT(pages.reference.pages, 120u);
        EXPECT_GT(pages.same.pages, 10u);
        EXPECT_GT(pages.delta.pages, 120u);
        EXPECT_GT(pages.raw.pages, 200u);
        EXPECT_LT(wire, rig.memory.size() / 3);
        EXPECT_GE(stats->memory_wire_bytes, wire);
        const std::uint64_t told = pages.zero.wire_bytes + pages.same.wire_bytes + pages.delta.wire_bytes + pages.reference.wire_bytes + pages.raw.wire_bytes;
        EXPECT_LE(told, wire);
        EXPECT_GT(told, wire * 9 / 10);
    }
}

// The trace says what the move did: its sums are the stats', and it survives its own JSON.
TEST(Migration, LeavesATrace) {
    ImageRig rig;
    rig.give_west(rig.image);
    rig.east.rounds = {{.round = 0, .pages = 640, .ms = 30, .dirty = rig.written, .begin_ms = rig.clock.boottime_ms()}, {.round = 1, .pages = rig.written, .ms = 10, .dirty = 0}};
    rig.east.forecast_ms = 250;
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    ASSERT_EQ(rig.observer.traces.size(), 1u);
    const MoveTrace& trace = rig.observer.traces[0];
    EXPECT_TRUE(trace.moved);
    EXPECT_EQ(trace.vm + trace.from + trace.to, "webeastwest");
    std::vector<std::string> phases;
    for (const auto& phase : trace.phases) phases.push_back(phase.name);
    EXPECT_EQ(phases, rig.observer.phases);
    for (std::size_t i = 1; i < trace.phases.size(); ++i) EXPECT_EQ(trace.phases[i].start_ms, trace.phases[i - 1].end_ms);
    EXPECT_LE(trace.phases.back().end_ms, trace.ms);

    ASSERT_EQ(trace.memory_rounds.size(), 3u);
    ASSERT_TRUE(trace.memory);
    EXPECT_EQ(trace.memory->bytes, stats->memory_bytes);
    EXPECT_EQ(trace.memory->wire_bytes, stats->memory_wire_bytes);
    TraceClasses sum;
    std::uint64_t bytes = 0, wire = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        const auto& round = trace.memory_rounds[i];
        EXPECT_EQ(round.round, i);
        EXPECT_EQ(round.suspended, i == 2);
        EXPECT_EQ(round.ms.has_value(), i < 2);
        EXPECT_EQ(round.start_ms.has_value(), i == 0);  // the fake tells no other
        ASSERT_TRUE(round.coded);
        sum = {sum.zero + round.coded->pages.zero, sum.same + round.coded->pages.same, sum.delta + round.coded->pages.delta, sum.reference + round.coded->pages.reference, sum.store + round.coded->pages.store, sum.raw + round.coded->pages.raw};
        bytes += round.coded->bytes;
        wire += round.coded->wire_bytes;
    }
    EXPECT_EQ(trace.memory_rounds[0].dirty, rig.written);
    EXPECT_FALSE(trace.memory_rounds[1].dirty);  // not known
    EXPECT_EQ(sum, trace.memory->pages);
    EXPECT_EQ(bytes, trace.memory->bytes);
    EXPECT_LE(wire, trace.memory->wire_bytes);
    EXPECT_GT(wire, trace.memory->wire_bytes * 9 / 10);
    EXPECT_EQ(trace.memory_rounds[0].coded->pages.reference, stats->pages.reference.pages);
    EXPECT_EQ(trace.stopped_because, "enough");
    EXPECT_EQ(trace.forecast_ms, 250);

    ASSERT_EQ(trace.disk_rounds.size(), stats->disk_rounds);
    std::uint64_t disk_wire = 0;
    for (std::size_t i = 0; i < trace.disk_rounds.size(); ++i) {
        EXPECT_EQ(trace.disk_rounds[i].round, i);
        EXPECT_EQ(trace.disk_rounds[i].held_ms.has_value(), i + 1 == trace.disk_rounds.size());
        disk_wire += trace.disk_rounds[i].wire_bytes;
    }
    EXPECT_LE(disk_wire, stats->disk_wire_bytes);
    EXPECT_GT(disk_wire, 0u);

    ASSERT_TRUE(trace.target && trace.target->ahead_ms);
    ASSERT_TRUE(trace.downtime);
    EXPECT_EQ(trace.downtime->unexplained_ms(), 0);
    std::vector<std::string> parts;
    for (const auto& part : trace.downtime->parts) parts.push_back(part.name);
    EXPECT_EQ(parts, (std::vector<std::string>{"last pages", "disk drained", "in flight", "restored", "checked", "commit", "disk opened", "resumed", "network"}));
    EXPECT_EQ(parse_move_trace(*parse_json(to_json(trace).dump())).value(), trace);
}

// One that failed leaves what it came to, and no more.
TEST(Migration, OneThatFailsLeavesATraceToo) {
    Rig early;
    early.west.fail_at.insert("create");
    ASSERT_FALSE(early.move());
    ASSERT_EQ(early.observer.traces.size(), 1u);
    EXPECT_FALSE(early.observer.traces[0].moved);
    EXPECT_FALSE(early.observer.traces[0].memory || early.observer.traces[0].downtime || early.observer.traces[0].target);
    Rig late;
    late.east.fail_at.insert("drain");  // the guest stands still by then
    ASSERT_FALSE(late.move());
    ASSERT_EQ(late.observer.traces.size(), 1u);
    const MoveTrace& trace = late.observer.traces[0];
    ASSERT_TRUE(trace.memory && trace.downtime);
    EXPECT_EQ(trace.downtime->parts.back().name, "taken back");
    EXPECT_EQ(trace.downtime->unexplained_ms(), 0);
    EXPECT_FALSE(trace.target);
    EXPECT_EQ(parse_move_trace(to_json(trace)).value(), trace);
}

// A target that says nothing of its times, or nonsense, costs the trace its part of them, and nothing else.
TEST(Migration, WithoutTheTargetsTimesTheRestIsThere) {
    for (const char* said : {"", "{}", R"({"phases":[],"times":{"resumed":-5}})", R"({"phases":7,"times":{}})"}) {
        SCOPED_TRACE(said);
        Rig rig;
        rig.wire->answer_fault = [&](Message& message, bool& cut) {
            if (static_cast<Type>(message.type) != Type::kTrace) return;
            cut = *said == 0;
            const std::string text(said);
            message.payload.assign(as_bytes(text).begin(), as_bytes(text).end());
        };
        const auto stats = rig.move();
        ASSERT_TRUE(stats) << stats.error().what;
        rig.check("west");
        ASSERT_EQ(rig.observer.traces.size(), 1u);
        const MoveTrace& trace = rig.observer.traces[0];
        EXPECT_FALSE(trace.target);
        ASSERT_TRUE(trace.downtime);
        EXPECT_EQ(trace.downtime->parts.size(), 2u);
        EXPECT_GE(trace.downtime->unexplained_ms(), 0);
    }
}

TEST(Migration, WithoutAnIndexOrWithoutTheTargetsImageNothingIsReferredTo) {
    ImageRig bare(false);
    bare.give_west(bare.image);
    ImageRig closed;
    closed.give_west(closed.image);
    closed.west.fail_at.insert("open-image");
    for (ImageRig* const rig : {&bare, &closed}) {
        const auto stats = rig->move();
        ASSERT_TRUE(stats) << stats.error().what;
        rig->check("west");
        EXPECT_TRUE(rig->west.memory[kUuid] == rig->memory);
        EXPECT_EQ(stats->pages.reference.pages, 0u);
        EXPECT_GT(stats->pages.raw.pages, 300u);
    }
}

// A store of its own in a folder that goes with it.
struct SiteStore {
    std::string folder = "/tmp/migration-test-store-" + random_hex(6);
    std::unique_ptr<stream::ContentStore> store = stream::ContentStore::open(folder, {.quota = 256u << 20, .keep_free = 0}).value();
    ~SiteStore() {
        store.reset();
        std::filesystem::remove_all(folder);
    }
};

// The VM leaves a site that has a store, and comes back to it: what it took along is there still. Then the next VM of the same kind, whose like has been there.
TEST(Migration, WhatASiteHasSeenNeedNotComeAgain) {
    SiteStore first, second;
    ImageRig away;
    away.give_west(away.image);
    away.east_store = first.store.get();
    away.west_store = second.store.get();
    const auto left = away.move();
    ASSERT_TRUE(left) << left.error().what;
    away.check("west");
    EXPECT_EQ(left->pages.store.pages, 0u);
    first.store->settle();
    second.store->settle();
    EXPECT_GT(first.store->facts().written, 200u);
    for (const auto& [store, wanted] : {std::pair(&first, true), std::pair(&second, true), std::pair(&first, false)}) {
        SCOPED_TRACE(wanted);
        ImageRig again;  // the same memory
        again.give_west(again.image);
        again.west_store = store->store.get();
        again.features.store = wanted;
        const auto taken = store->store->facts().taken;
        std::uint64_t said = 0, asked = 0;
        again.wire->answer_fault = [&](Message& message, bool&) { said += static_cast<Type>(message.type) == Type::kPages ? message.payload.size() : 0; };
        again.wire->fault = [&](Message& message, bool&) { asked += static_cast<Type>(message.type) == Type::kAskPages ? 1 : 0; };
        const auto back = again.move();
        ASSERT_TRUE(back) << back.error().what;
        again.check("west");
        EXPECT_TRUE(again.west.memory[kUuid] == again.memory);
        EXPECT_EQ(asked, wanted ? 1u : 0u);
        if (!wanted) {
            EXPECT_EQ(back->pages.store.pages, 0u);
            continue;
        }
#ifdef __SANITIZE_THREAD__  // what is not looked at within three seconds is not offered
        EXPECT_GT(back->pages.store.pages, 0u);
#else
        EXPECT_GT(back->pages.store.pages, 200u);
        EXPECT_LT((back->memory_wire_bytes + said) * 5, left->memory_wire_bytes);
#endif
        EXPECT_EQ(store->store->facts().taken - taken, back->pages.store.pages);
    }
}

// Another tenant's VM is offered nothing, though its memory is the same.
TEST(Migration, AnotherTenantIsOfferedNothing) {
    SiteStore site;
    for (const auto& [net, known] : {std::pair("red", false), std::pair("blue", false), std::pair("red", true)}) {
        ImageRig rig;
        rig.give_west(rig.image);
        auto vm = *rig.registry.vm(kUuid).value();
        vm.value.nics.push_back({net, "02:00:00:00:00:01", "10.1.0.2"});
        ASSERT_TRUE(rig.registry.update_vm(vm.value, vm.revision));
        rig.west_store = site.store.get();
        const auto moved = rig.move();
        ASSERT_TRUE(moved) << moved.error().what;
        site.store->settle();
        EXPECT_EQ(moved->pages.store.pages > 0, known) << net;
    }
}

// What a hostile or broken source may do about the store.
TEST(Migration, PagesThatWereNotOfferedAreRefused) {
    SiteStore site;
    for (const int kind : {0, 1, 2}) {
        SCOPED_TRACE(kind);
        ImageRig rig;
        rig.give_west(rig.image);
        if (kind == 1) rig.west_store = site.store.get();
        rig.wire->fault = [&](Message& message, bool&) {
            const auto replace = [&](Type type, const std::string& text) {
                message.type = static_cast<std::uint32_t>(type);
                message.payload.assign(as_bytes(text).begin(), as_bytes(text).end());
            };
            if (static_cast<Type>(message.type) != Type::kMemoryBegin) return;
            if (kind == 2) replace(Type::kAskPages, "{}");
            else replace(Type::kMemoryBegin, std::format(R"({{"stream":{},"images":[],"pages":true}})", stream::kVersion));
        };
        ASSERT_FALSE(rig.move());
        rig.check("east");
        ASSERT_FALSE(rig.served);
        EXPECT_NE(rig.served.error().what.find("not offered"), std::string::npos) << rig.served.error().what;
    }
}

// What a move may do without; the stream arrives all the same.
TEST(Migration, FeaturesCanBeLeftOut) {
    for (const int left_out : {0, 1, 2, 3}) {
        SCOPED_TRACE(left_out);
        ImageRig rig;
        rig.give_west(rig.image);
        rig.features = {.references = left_out != 1, .versions = left_out != 2, .compression = left_out == 3 ? stream::CodingChoice::Rule::kNever : stream::CodingChoice::Rule::kMeasure};
        std::uint64_t zstd = 0;
        rig.wire->fault = [&](Message& message, bool&) { zstd += static_cast<Type>(message.type) == Type::kMemory && message.payload[12] == static_cast<std::byte>(Coding::kZstd) ? 1 : 0; };
        const auto stats = rig.move();
        ASSERT_TRUE(stats) << stats.error().what;
        rig.check("west");
        EXPECT_TRUE(rig.west.memory[kUuid] == rig.memory);
        EXPECT_EQ(stats->pages.reference.pages == 0, left_out == 1);
        EXPECT_EQ(stats->pages.delta.pages == 0, left_out == 2);
        EXPECT_EQ(zstd == 0, left_out == 3);
    }
}

// SHA-256 excludes it; should it be so all the same, no wrong page runs.
TEST(Migration, AnotherImageUnderTheSameNameIsRefused) {
    for (const std::string& content : {fakes::seeded_image(2, 64), fakes::seeded_image(1, 3)}) {
        ImageRig rig;
        rig.give_west(content);
        ASSERT_FALSE(rig.move());
        rig.check("east");
    }
}

// Both ends keep what the lesser offer says.
TEST(Migration, TheOfferedCacheIsTheBound) {
    std::uint64_t deltas = 0;
    for (const std::uint64_t offered : {std::uint64_t{1} << 50, std::uint64_t{30}, std::uint64_t{0}}) {
        SCOPED_TRACE(offered);
        ImageRig rig;
        rig.wire->fault = [&](Message& message, bool&) {
            if (static_cast<Type>(message.type) != Type::kPrepare) return;
            Json body = *payload_json(message);
            EXPECT_EQ(body["cache_pages"], 6553);
            body["cache_pages"] = offered;
            const std::string text = body.dump();
            message.payload.assign(as_bytes(text).begin(), as_bytes(text).end());
        };
        const auto stats = rig.move();
        ASSERT_TRUE(stats) << stats.error().what;
        rig.check("west");
        const std::uint64_t found = stats->pages.delta.pages + stats->pages.same.pages;
        if (offered > 30) deltas = found;
        else if (offered > 0) EXPECT_TRUE(found > 0 && found < deltas / 2) << found;
        else EXPECT_EQ(found, 0u);
    }
    EXPECT_EQ(cache_pages_for(4), 1024u);
    EXPECT_EQ(cache_pages_for(64), 2048u);
    EXPECT_EQ(cache_pages_for(~std::uint64_t{0}), 32768u);
}

// What a target says to a memory stream of another version, with images that were not agreed, or with a batch that is none.
TEST(Migration, AnotherFormOfMemoryIsRefused) {
    const auto text = [](const Json& body) {
        const std::string raw = body.dump();
        return std::vector<std::byte>(as_bytes(raw).begin(), as_bytes(raw).end());
    };
    ImageRig one;
    const std::vector<std::pair<Type, std::vector<std::byte>>> cases{
        {Type::kMemoryBegin, text({{"stream", stream::kVersion + 1}, {"images", Json::array()}})},
        {Type::kMemoryBegin, text({{"images", Json::array()}})},
        {Type::kMemoryBegin, text({{"stream", stream::kVersion}, {"images", {std::string(64, '0')}}})},
        {Type::kMemoryBegin, text({{"stream", stream::kVersion}, {"images", {one.sha256, one.sha256}}})},
        {Type::kMemoryBegin, text({{"stream", stream::kVersion}, {"images", {7}}})},
        {Type::kMemoryBegin, text({{"stream", stream::kVersion}, {"images", Json::array()}})},  // but pages refer to one
        {Type::kMemory, {}},
        {Type::kMemory, std::vector<std::byte>(500, std::byte{0xff})},
        {Type::kMemory, std::vector<std::byte>(4u << 20)},
    };
    for (std::size_t i = 0; i < cases.size(); ++i) {
        SCOPED_TRACE(i);
        ImageRig rig;
        rig.give_west(rig.image);
        rig.wire->fault = [&](Message& message, bool&) {
            if (static_cast<Type>(message.type) == cases[i].first) message.payload = cases[i].second;
        };
        const auto stats = rig.move();
        ASSERT_FALSE(stats);
        EXPECT_EQ(stats.error().kind, Kind::kInvalid) << stats.error().what;
        rig.check("east");
    }
}

TEST(Migration, WithThePolicyPauseTheSourceStaysAsStandby) {
    Rig rig;
    auto vm = *rig.registry.vm(kUuid).value();
    vm.value.policy = kPause;
    ASSERT_TRUE(rig.registry.update_vm(vm.value, vm.revision));
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    const VmRecord record = rig.registry.vm(kUuid)->value().value;
    EXPECT_EQ(record.owner, "west");
    ASSERT_TRUE(record.standby);
    EXPECT_EQ(record.standby->site, "east");
    EXPECT_EQ(record.standby->epoch, 1u);
    EXPECT_FALSE(rig.east.domains.contains(kUuid));
    ASSERT_TRUE(rig.east.disks.contains("web-1"));
    EXPECT_FALSE(rig.east.disks["web-1"].open);
    EXPECT_EQ(rig.east.disks["web-1"].epoch, 1u);
    EXPECT_EQ(rig.east.disks["web-1"].first, 3u);  // an older record will not open it
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with(rig.east.disks["web-1"].data));
    EXPECT_EQ(claim_of(record, "east"), Claim::kStandby);
}

TEST(Migration, ATargetThatStoodByBeginsAnew) {
    Rig rig;
    rig.west.disks["web-1"] = {.data = "an older state", .open = false, .epoch = 1};
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with("hello www")) << rig.west.disks["web-1"].data;
    Rig newer;
    newer.west.disks["web-1"] = {.data = "a newer state", .open = false, .epoch = 2};
    const auto refused = newer.move();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kConflict);
    EXPECT_NE(refused.error().hint.find("vm recover"), std::string::npos) << refused.error().hint;
    EXPECT_TRUE(newer.east.runs(kUuid));
    EXPECT_EQ(newer.west.disks.at("web-1").data, "a newer state");
}

TEST(Migration, EveryFailingStepBeforeTheCommitLeavesItAtTheSource) {
    for (const std::string at : {"east/save", "east/mirror", "east/drain", "west/create", "west/mirror", "west/restore"}) {
        SCOPED_TRACE(at);
        Rig rig;
        (at.starts_with("east") ? rig.east : rig.west).fail_at.insert(at.substr(5));
        const auto stats = rig.move();
        ASSERT_FALSE(stats);
        EXPECT_NE(stats.error().what.find("injected failure of " + at.substr(5)), std::string::npos) << stats.error().what;
        rig.check("east");
    }
}

TEST(Migration, AFlippedByteInTheMemoryStreamIsRefused) {
    Rig rig;
    bool flipped = false;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) != Type::kMemory || flipped || message.payload.size() < 100) return;
        message.payload[message.payload.size() / 2] ^= std::byte{0x40};
        flipped = true;
    };
    ASSERT_FALSE(rig.move());
    EXPECT_TRUE(flipped);
    rig.check("east");
}

TEST(Migration, ACutAtAnyMessageEndsWithOneCopy) {
    // How many messages a whole move takes, then one run with a cut at each of them.
    int total = 0;
    {
        Rig rig;
        rig.wire->fault = [&](Message&, bool&) { ++total; };
        ASSERT_TRUE(rig.move());
    }
    ASSERT_GT(total, 10);
    for (int cut = 0; cut < total; ++cut) {
        SCOPED_TRACE(cut);
        Rig rig;
        int seen = 0;
        rig.wire->fault = [&](Message&, bool& line) { line = seen++ == cut; };
        const auto stats = rig.move();
        rig.check((*rig.registry.vm(kUuid))->value.owner);
        EXPECT_EQ(stats.has_value(), (*rig.registry.vm(kUuid))->value.owner == "west");
    }
}

TEST(Migration, ALostAnswerToTheCommitIsACommit) {
    Rig rig;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kDrained) rig.registry.lose_answers = 1;
    };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
}

class NoHost final : public RecoveryHost {
public:
    std::unique_ptr<Claimed> claim(const std::string&) override { return std::make_unique<Claimed>(); }
    void tell(const std::string&, const std::string&) override {}
    Result<void> adopt(const DomainInfo&) override { return {}; }
    Result<void> start(const VmRecord&) override { return {}; }
    Result<void> finish_delete(const VmRecord&) override { return {}; }
    void look_again(const std::string&, Cause) override {}
};

// The daemon stops while nobody can say whether the commit took place: what may be the only copy stays, and the next life finds it.
TEST(Migration, AnUndecidedCommitTakesNothingAway) {
    Rig rig;
    rig.registry.down_after_lost = true;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kDrained) rig.registry.lose_answers = 1;
    };
    rig.after_serving = [&] { rig.registry.down = false; };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;  // the source has read the record
    ASSERT_FALSE(rig.served);
    EXPECT_EQ(rig.served.error().kind, Kind::kUnavailable);
    EXPECT_EQ((*rig.registry.vm(kUuid))->value.phase, Phase::kSettling);
    ASSERT_TRUE(rig.west.disks.contains("web-1"));
    NoHost host;
    Recovery recovery({rig.registry, rig.west, rig.west, rig.west, rig.west, rig.west_net, rig.clock}, "west", host);
    const auto looked = recovery.look(kUuid, Cause::kRestart);
    ASSERT_TRUE(looked) << looked.error().what;
    EXPECT_EQ(*looked, Action::kSettle);
    rig.check("west");
}

TEST(Migration, ALostAnswerToTheMarkIsTakenBack) {
    Rig rig;
    rig.registry.lose_answers = 1;
    ASSERT_FALSE(rig.move());
    rig.check("east");
}

TEST(Migration, CancelInTheMemoryPhaseLeavesItAtTheSource) {
    Rig rig;
    rig.observer.cancel_in = "memory";
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kCancelled);
    rig.check("east");
}

// Refused with an answer, and without an exception: an error may quote what came, which need not be text.
TEST(Migration, AHelloOfNonsenseIsRefused) {
    for (const std::string& hello : {std::string("\xff\xfe{"), std::format(R"({{"version":{},"job":"1","time_ms":18446744073709551615}})", kProtocolVersion), std::format(R"({{"version":{},"job":"1","time_ms":9223372036854775808}})", kProtocolVersion)}) {
        Rig rig;
        auto [source, target_end] = fakes::FakeLink::pair("east", "west", rig.wire);
        ASSERT_TRUE(source->send(static_cast<std::uint32_t>(Type::kHello), as_bytes(hello)));
        Target target({rig.registry, rig.west, rig.west, rig.west, rig.west, rig.west_net, rig.clock}, *target_end, "west", [] { return true; });
        const auto served = target.serve();
        ASSERT_FALSE(served);
        EXPECT_EQ(served.error().kind, Kind::kInvalid) << served.error().what;
        const auto answer = expect(*source, Type::kHello, std::chrono::milliseconds(1000));
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().kind, Kind::kInvalid) << answer.error().what;
    }
}

TEST(Migration, RefusesByNameWhatTheTargetLacks) {
    Rig rig;
    rig.west.host.cpu_features = {"mmx"};
    auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kPrecondition);
    EXPECT_NE(stats.error().what.find("sse2"), std::string::npos);
    rig.check("east");
    EXPECT_EQ(rig.registry.history.size(), 1u) << "the record was touched before the refusal";
}

TEST(Migration, RefusesWithoutMemory) {
    Rig rig;
    rig.west.host.free_mib = 100;
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_NE(stats.error().what.find("100 MiB"), std::string::npos);
    EXPECT_FALSE(stats.error().hint.empty());
    rig.check("east");
}

// Both halves over a session: its connections are cut, its messages are not lost.
struct CutRig : Rig {
    LinkSessions sessions;
    LinkTimes times{.patience = std::chrono::seconds(20), .urgent = std::chrono::seconds(10), .silence = std::chrono::seconds(5), .ping = std::chrono::milliseconds(200),
                    .retry = std::chrono::milliseconds(20), .linger = std::chrono::seconds(5)};
    std::function<void(Message&, bool& cut)> fault, answer_fault;  // of every connection
    std::atomic<bool> refuse = false;
    std::mutex mutex;
    std::vector<std::jthread> servers;
    const Target* target = nullptr;
    std::chrono::steady_clock::duration served_for{};

    ~CutRig() {
        sessions.end_all();
        servers.clear();
    }
    bool taken_back() {
        const std::scoped_lock lock(mutex);
        return target != nullptr && target->taken_back();
    }
    void is(const Target* now) {
        const std::scoped_lock lock(mutex);
        target = now;
    }
    void serve(std::unique_ptr<PeerLink> link) {
        const auto first = link->receive(std::chrono::seconds(5));
        if (!first) return;
        if (!LinkSessions::asks(*first)) {
            (void)sessions.resume(std::move(link), *first);
            return;
        }
        ResumableLink::Options options{.times = times};
        options.ended = [this] { return taken_back(); };
        const auto session = sessions.open(std::move(link), *first, std::move(options), [this] { return taken_back(); });
        ASSERT_TRUE(session) << session.error().what;
        const auto begin = std::chrono::steady_clock::now();
        {
            Target half({registry, west, west, west, west, west_net, clock}, *(*session)->link, "west", [] { return true; });
            is(&half);
            served = half.serve();
            is(nullptr);
        }
        served_for = std::chrono::steady_clock::now() - begin;
        (*session)->link->close();
        sessions.close(**session);
    }
    Result<std::unique_ptr<PeerLink>> dial() {
        if (refuse) return fail(Kind::kUnavailable, "no way");
        auto line = std::make_shared<fakes::FakeLink::Wire>();
        line->fault = fault;
        line->answer_fault = answer_fault;
        auto [near, far] = fakes::FakeLink::pair("east", "west", line);
        servers.emplace_back([this, end = std::move(far)]() mutable { serve(std::move(end)); });
        return std::move(near);
    }
    Result<Stats> move_over_session() {
        const auto vm = registry.vm(kUuid);
        east_net.running = [&] { return east.runs(kUuid); };
        SourcePlan plan{"job-1", **vm, Site{.name = "east", .index = 1, .address = "10.0.0.1"}, Site{.name = "west", .index = 2, .address = "10.0.0.2"}, 7800};
        ResumableLink::Options options{.times = times};
        options.ended = [this] { return observer.cancelled(); };
        auto link = open_session([this] { return dial(); }, [this] { return dial(); }, std::move(options));
        if (!link) return std::unexpected(link.error());
        auto stats = Source({registry, east, east, east, east, east_net, clock}, **link, std::move(plan), observer).run();
        link->reset();
        servers.clear();
        return stats;
    }
};

// The connection breaks at the first message of each type, in which direction ever: the move goes on, nothing of it begins anew.
TEST(MigrationCuts, ACutAnywhereIsGotOver) {
    for (const bool answers : {false, true}) {
        const std::vector<Type> types = answers ? std::vector<Type>{Type::kReady, Type::kAck, Type::kCommitted, Type::kResumed, Type::kTrace}
                                                : std::vector<Type>{Type::kPrepare, Type::kBegin, Type::kBlock, Type::kRoundEnd, Type::kMirror, Type::kMemoryBegin, Type::kMemory, Type::kMemoryEnd, Type::kDrained};
        for (const Type type : types) {
            SCOPED_TRACE(to_string(type));
            CutRig rig;
            const std::string memory = rig.east.memory[kUuid];
            std::atomic<int> seen = 0;
            (answers ? rig.answer_fault : rig.fault) = [&](Message& message, bool& cut) {
                if (static_cast<Type>(message.type) == type && seen++ == 0) cut = true;
            };
            const auto stats = rig.move_over_session();
            ASSERT_TRUE(stats) << stats.error().what;
            EXPECT_TRUE(rig.served) << rig.served.error().what;
            rig.check("west");
            EXPECT_EQ(rig.west.memory[kUuid], memory);
            EXPECT_EQ(stats->epoch, 2u);
            EXPECT_GE(seen, 2);
            EXPECT_EQ(std::ranges::count(rig.observer.phases, "prepare"), 1);
            EXPECT_EQ(std::ranges::count(rig.observer.phases, "memory"), 1);
            ASSERT_EQ(rig.observer.traces.size(), 1u);
            const auto& link = rig.observer.traces[0].link;
            ASSERT_TRUE(link);
            EXPECT_EQ(link->cuts, 1u);
            if (type == Type::kBlock) EXPECT_GE(rig.east.mirror_waits, 1);  // before the guest is stopped they are in step again
        }
    }
}

TEST(MigrationCuts, CutAgainAndAgain) {
    CutRig rig;
    std::atomic<int> seen = 0;
    rig.fault = [&](Message&, bool& cut) { cut = ++seen % 7 == 0; };
    const auto stats = rig.move_over_session();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_GE(rig.observer.traces.at(0).link->cuts, 2u);
}

// For good: while the guest runs for as long as the patience lasts, and not so long once it has stopped. The target notices by the record that it is over.
TEST(MigrationCuts, ACutForGoodLeavesTheVmWhereItWas) {
    for (const Type type : {Type::kBlock, Type::kMemory, Type::kMemoryEnd, Type::kDrained}) {
        SCOPED_TRACE(to_string(type));
        CutRig rig;
        const bool stopped = type == Type::kMemoryEnd || type == Type::kDrained;
        rig.times.urgent = std::chrono::milliseconds(stopped ? 400 : 20'000);
        rig.times.patience = std::chrono::milliseconds(stopped ? 20'000 : 400);
        rig.fault = [&](Message& message, bool& cut) {
            if (static_cast<Type>(message.type) != type) return;
            cut = true;
            rig.refuse = true;
        };
        const auto begin = std::chrono::steady_clock::now();
        const auto stats = rig.move_over_session();
        ASSERT_FALSE(stats);
        EXPECT_NE(stats.error().what.find("runs on at 'east'"), std::string::npos) << stats.error().what;
        EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(12));
        EXPECT_LT(rig.served_for, std::chrono::seconds(10));  // its own patience is 15 s and more
        EXPECT_FALSE(rig.served);
        rig.check("east");
    }
}

TEST(MigrationCuts, CancellingDoesNotWaitForTheLink) {
    CutRig rig;
    rig.fault = [&](Message& message, bool& cut) {
        if (static_cast<Type>(message.type) != Type::kBlock) return;  // the fake memory is so small that its guest would have stopped
        cut = rig.refuse = true;
        rig.observer.stop = true;
    };
    const auto begin = std::chrono::steady_clock::now();
    const auto stats = rig.move_over_session();
    ASSERT_FALSE(stats);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    rig.check("east");
}

}  // namespace
}  // namespace blanket::migrate
