// SPDX-License-Identifier: GPL-2.0-or-later
// Both halves of a migration against each other over a link with faults. The invariants are checked after every case: exactly one copy runs, where the
// record says; nothing of the VM is left at the other site; no write is lost.
#include "tests/unit/migrate/move_rig.hpp"

namespace blanket::migrate {
namespace {

TEST(Migration, MovesMemoryDiskAndOwner) {
    MoveRig rig;
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
        sum = {sum.zero + round.coded->pages.zero, sum.same + round.coded->pages.same, sum.delta + round.coded->pages.delta, sum.reference + round.coded->pages.reference, sum.store + round.coded->pages.store, sum.store_delta + round.coded->pages.store_delta, sum.raw + round.coded->pages.raw};
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
    MoveRig early;
    early.west.fail_at.insert("create");
    ASSERT_FALSE(early.move());
    ASSERT_EQ(early.observer.traces.size(), 1u);
    EXPECT_FALSE(early.observer.traces[0].moved);
    EXPECT_FALSE(early.observer.traces[0].memory || early.observer.traces[0].downtime || early.observer.traces[0].target);
    MoveRig late;
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
        MoveRig rig;
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
    MoveRig rig;
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
    MoveRig rig;
    rig.west.disks["web-1"] = {.data = "an older state", .open = false, .epoch = 1};
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_TRUE(rig.west.disks["web-1"].data.starts_with("hello www")) << rig.west.disks["web-1"].data;
    MoveRig newer;
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
        MoveRig rig;
        (at.starts_with("east") ? rig.east : rig.west).fail_at.insert(at.substr(5));
        const auto stats = rig.move();
        ASSERT_FALSE(stats);
        EXPECT_NE(stats.error().what.find("injected failure of " + at.substr(5)), std::string::npos) << stats.error().what;
        rig.check("east");
    }
}

// A block takes 100 ms: 15 s of each round's, and another 15 s of what is written meanwhile.
TEST(Migration, ADiskThatIsWrittenFasterThanTheLinkIsNotSuspended) {
    for (const std::int64_t max_downtime_ms : {0, 60'000}) {
        SCOPED_TRACE(max_downtime_ms);
        MoveRig rig;
        rig.limits.max_downtime_ms = max_downtime_ms;
        rig.east.round_blocks = 150;
        rig.wire->fault = [&](Message& message, bool&) {
            if (static_cast<Type>(message.type) == Type::kBlock) rig.clock.sleep(std::chrono::milliseconds(100));
        };
        const auto stats = rig.move();
        EXPECT_EQ(rig.east.last_rounds, max_downtime_ms == 0 ? 0 : 1);
        if (max_downtime_ms != 0) {
            ASSERT_TRUE(stats) << stats.error().what;
            EXPECT_EQ(stats->disk_rounds, 7u);
            rig.check("west");
            continue;
        }
        ASSERT_FALSE(stats);
        EXPECT_EQ(stats.error().kind, Kind::kPrecondition);
        EXPECT_NE(stats.error().what.find("KiB/s to disk xvda, and the link to 'west' took "), std::string::npos) << stats.error().what;
        EXPECT_NE(stats.error().hint.find("--max-downtime"), std::string::npos);
        rig.check("east");
    }
}

TEST(Migration, ARestThatIsMuchLargerThanForeseenIsGivenUp) {
    MoveRig rig;
    rig.east.last_round_blocks = 250;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kBlock) rig.clock.sleep(std::chrono::milliseconds(100));
    };
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kPrecondition);
    EXPECT_EQ(rig.east.last_rounds, 1);
    rig.check("east");
}

TEST(Migration, TheBandwidthBoundsBaseImages) {
    MoveRig rig;
    std::mt19937_64 random(1);
    std::string image(4u << 20, '\0');  // four messages that do not become smaller
    for (char& byte : image) byte = static_cast<char>(random());
    const std::string sha256 = fakes::image_hash(image);
    rig.east.image_content[sha256] = image;
    rig.east.images.insert(sha256);
    auto vm = *rig.registry.vm(kUuid).value();
    vm.value.volumes[0].image = sha256;
    ASSERT_TRUE(rig.registry.update_vm(vm.value, vm.revision));
    rig.bandwidth = 100'000;
    std::int64_t begin = -1, end = -1;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kImage) begin = rig.clock.slept_ms;
        if (static_cast<Type>(message.type) == Type::kImageEnd) end = rig.clock.slept_ms;
    };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    EXPECT_GE(begin, 0);
    EXPECT_GT(end - begin, 20'000);  // 31 s: the first goes at once
    rig.check("west");
}

TEST(Migration, TheBandwidthIsLiftedWhileWritesWait) {
    MoveRig rig;
    rig.bandwidth = 1000;
    std::int64_t mirror = -1, shipped = -1;
    rig.wire->fault = [&](Message& message, bool&) {
        const auto type = static_cast<Type>(message.type);
        if (type == Type::kMirror) mirror = rig.clock.slept_ms;
        if (type == Type::kRoundEnd && mirror >= 0) shipped = rig.clock.slept_ms;
    };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_GE(mirror, 0);
    EXPECT_EQ(shipped, mirror);
    EXPECT_GT(rig.clock.slept_ms, shipped);  // memory is held to it again
}

// Other moves are on at either site.
TEST(Migration, TheMirrorTakesAPortThatIsFreeAtBothEnds) {
    MoveRig rig;
    rig.east.ports_of_others = {7800, 7802};
    rig.west.ports_of_others = {7801, 7803};
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
    EXPECT_EQ(rig.east.mirror_port, 7804);
    EXPECT_EQ(rig.west.mirror_port, 7804);
    MoveRig full;
    for (std::uint16_t port = 7800; port < 7900; ++port) (port % 2 == 0 ? full.east : full.west).ports_of_others.insert(port);
    const auto refused = full.move();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kConflict);
    EXPECT_NE(refused.error().what.find("7800..7899"), std::string::npos) << refused.error().what;
    full.check("east");
}

// A source that knows nothing of it says one port, and a target that knows nothing of it takes any.
TEST(Migration, AMirrorWithAnOlderPeer) {
    for (const bool taken : {false, true}) {
        SCOPED_TRACE(taken);
        MoveRig rig;
        if (taken) rig.west.ports_of_others = {7800};
        rig.wire->fault = [&](Message& message, bool&) {
            if (static_cast<Type>(message.type) != Type::kMirror) return;
            Json body = *payload_json(message);
            body.erase("another");
            const std::string text = body.dump();
            message.payload.assign(as_bytes(text).begin(), as_bytes(text).end());
        };
        const auto stats = rig.move();
        EXPECT_EQ(stats.has_value(), !taken);
        if (!stats) EXPECT_NE(stats.error().what.find("TCP port 7800"), std::string::npos) << stats.error().what;
        rig.check(taken ? "east" : "west");
    }
}

TEST(Migration, ARecordThatCannotBeReadIsAskedForAgain) {
    MoveRig late;
    late.gives_up = false;
    late.wire->answer_fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kReady) late.registry.reads_put_off = 3;
    };
    const auto moved = late.move();
    ASSERT_TRUE(moved) << moved.error().what;
    EXPECT_EQ(late.registry.reads_put_off, 0);
    late.check("west");
    MoveRig away;  // for longer than is waited for
    away.gives_up = false;
    away.wire->answer_fault = [&](Message& message, bool&) { away.registry.reads_put_off = static_cast<Type>(message.type) == Type::kReady ? 61 : 0; };
    ASSERT_FALSE(away.move());
    EXPECT_EQ(away.registry.reads_put_off, 0);
    away.check("east");
}

// A restore that cannot begin, because the registry does not answer at that moment, is tried again; and the source may give up meanwhile.
TEST(Migration, ARestoreThatCannotBeginIsTriedAgain) {
    MoveRig late;
    late.gives_up = false;
    late.west.restores_put_off = 2;
    const auto moved = late.move();
    ASSERT_TRUE(moved) << moved.error().what;
    EXPECT_EQ(late.west.restores_put_off, 0);
    late.check("west");
    MoveRig given_up;
    given_up.gives_up = false;
    given_up.west.restores_put_off = 1 << 20;
    given_up.wire->fault = [&](Message& message, bool& cut) { cut = static_cast<Type>(message.type) == Type::kMemory; };
    const auto began = std::chrono::steady_clock::now();
    ASSERT_FALSE(given_up.move());
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
    given_up.check("east");
}

TEST(Migration, AFlippedByteInTheMemoryStreamIsRefused) {
    MoveRig rig;
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
        MoveRig rig;
        rig.wire->fault = [&](Message&, bool&) { ++total; };
        ASSERT_TRUE(rig.move());
    }
    ASSERT_GT(total, 10);
    for (int cut = 0; cut < total; ++cut) {
        SCOPED_TRACE(cut);
        MoveRig rig;
        int seen = 0;
        rig.wire->fault = [&](Message&, bool& line) { line = seen++ == cut; };
        const auto stats = rig.move();
        rig.check((*rig.registry.vm(kUuid))->value.owner);
        EXPECT_EQ(stats.has_value(), (*rig.registry.vm(kUuid))->value.owner == "west");
    }
}

TEST(Migration, ALostAnswerToTheCommitIsACommit) {
    MoveRig rig;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) == Type::kDrained) rig.registry.lose_answers = 1;
    };
    const auto stats = rig.move();
    ASSERT_TRUE(stats) << stats.error().what;
    rig.check("west");
}

// It names another owner under the same epoch, which no program of ours writes: nobody resumes or removes anything.
TEST(Migration, ARecordThatIsEditedDuringAMoveTakesNothingAway) {
    MoveRig rig;
    rig.wire->fault = [&](Message& message, bool&) {
        if (static_cast<Type>(message.type) != Type::kDrained) return;
        VmRecord edited = rig.registry.vm(kUuid)->value().value;
        edited.owner = "north";
        rig.registry.edit(edited);
    };
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kConflict);
    EXPECT_NE(stats.error().what.find("it names 'north'"), std::string::npos) << stats.error().what;
    EXPECT_EQ(rig.east.domains.at(kUuid).state, DomainState::kSuspended);
    EXPECT_TRUE(rig.east.disks.contains("web-1"));
    EXPECT_FALSE(rig.west.domains.contains(kUuid));
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
    MoveRig rig;
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

// blanket-save was killed, or could not wake the guest: the source does it, and where that fails the record says that something is to be done.
TEST(Migration, AFailedSaveLeavesNoGuestSuspended) {
    for (const int failing : {0, 1}) {
        SCOPED_TRACE(failing);
        MoveRig rig;
        rig.east.after_failed_save = DomainState::kSuspended;
        rig.east.resumes_failing = failing;
        const auto stats = rig.move();
        ASSERT_FALSE(stats);
        EXPECT_NE(stats.error().what.find("status 137"), std::string::npos) << stats.error().what;
        EXPECT_EQ(rig.east.resumes_failing, 0);
        EXPECT_EQ(rig.east.runs(kUuid), failing == 0);
        EXPECT_EQ((*rig.registry.vm(kUuid))->value.phase, failing == 0 ? Phase::kRunning : Phase::kSettling);
        NoHost host;
        Recovery recovery({rig.registry, rig.east, rig.east, rig.east, rig.east, rig.east_net, rig.clock}, "east", host);
        const auto looked = recovery.look(kUuid, Cause::kRecord);
        ASSERT_TRUE(looked) << looked.error().what;
        EXPECT_EQ(*looked, failing == 0 ? Action::kNone : Action::kSettle);
        rig.check("east");
    }
}

// The guest was powered off instead: off is off, nobody is to start it again.
TEST(Migration, AGuestThatEndsDuringItsSaveIsNotResumed) {
    MoveRig rig;
    rig.east.after_failed_save = DomainState::kShutoff;
    ASSERT_FALSE(rig.move());
    const VmRecord record = rig.registry.vm(kUuid)->value().value;
    EXPECT_EQ(record.phase, Phase::kRunning);
    EXPECT_EQ(decide(claim_of(record, "east"), Seen::kOff, Cause::kEvent), Action::kMarkStopped);
}

TEST(Migration, ALostAnswerToTheMarkIsTakenBack) {
    MoveRig rig;
    rig.registry.lose_answers = 1;
    ASSERT_FALSE(rig.move());
    rig.check("east");
}

TEST(Migration, CancelInTheMemoryPhaseLeavesItAtTheSource) {
    MoveRig rig;
    rig.observer.cancel_in = "memory";
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kCancelled);
    rig.check("east");
}

// Refused with an answer, and without an exception: an error may quote what came, which need not be text.
TEST(Migration, AHelloOfNonsenseIsRefused) {
    for (const std::string& hello : {std::string("\xff\xfe{"), std::format(R"({{"version":{},"job":"1","time_ms":18446744073709551615}})", kProtocolVersion), std::format(R"({{"version":{},"job":"1","time_ms":9223372036854775808}})", kProtocolVersion)}) {
        MoveRig rig;
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
    MoveRig rig;
    rig.west.host.cpu_features = {"mmx"};
    auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().kind, Kind::kPrecondition);
    EXPECT_NE(stats.error().what.find("sse2"), std::string::npos);
    rig.check("east");
    EXPECT_EQ(rig.registry.history.size(), 1u) << "the record was touched before the refusal";
}

TEST(Migration, RefusesWithoutMemory) {
    MoveRig rig;
    rig.west.host.free_mib = 100;
    const auto stats = rig.move();
    ASSERT_FALSE(stats);
    EXPECT_NE(stats.error().what.find("100 MiB"), std::string::npos);
    EXPECT_FALSE(stats.error().hint.empty());
    rig.check("east");
}

}  // namespace
}  // namespace blanket::migrate
