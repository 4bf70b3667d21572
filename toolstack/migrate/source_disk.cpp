// SPDX-License-Identifier: GPL-2.0-or-later
// The disk's way: rounds of the copy-on-write delta while the VM writes, the rest with `top` suspended, then the mirror.
#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/migrate/source.hpp"

namespace blanket::migrate {
namespace {

constexpr auto kRoundAnswer = std::chrono::seconds(120);   // the target flushes to its disk
constexpr std::int64_t kLongestWait = 10'000;              // ms that the VM's writes may wait for the last round, unless the user says
constexpr std::int64_t kLeastWait = 1'000;                 // ms that it may take at any rate: round trips and flushes
constexpr auto kMirrorsAgain = std::chrono::seconds(120);  // to connect again, and for what was written meanwhile: at 10 MiB/s (storage/drbd_plan.cpp)
constexpr auto kMirrorsLook = std::chrono::seconds(3);
constexpr int kMirrorPorts = 100;

std::uint64_t data_bytes(const std::vector<Extent>& extents) {
    std::uint64_t sum = 0;
    for (const auto& extent : extents) sum += extent.zero ? 0 : extent.length;
    return sum;
}

}  // namespace

Result<void> Source::ship(std::uint32_t index, DiskMove& move, const std::vector<Extent>& extents) {
    const std::uint64_t total = data_bytes(extents);
    std::uint64_t sent = 0;
    observer_.begin_disk_round(plan_.vm.value.volumes[index].target, link_.bytes_sent());
    std::vector<std::byte> plain;
    for (const auto& extent : extents) {
        BLANKET_CHECK(check_cancelled());
        if (extent.zero) {  // one message, however long: the target discards
            for (std::uint64_t at = 0; at < extent.length; at += kMaxBlock) {
                const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(kMaxBlock, extent.length - at));
                BLANKET_CHECK(link_.send(static_cast<std::uint32_t>(Type::kBlock), pack_block({index, extent.offset + at, length, Coding::kZero, {}})));
            }
            continue;
        }
        for (std::uint64_t at = 0; at < extent.length; at += kMaxBlock) {
            const Extent part{extent.offset + at, std::min<std::uint64_t>(kMaxBlock, extent.length - at), false};
            BLANKET_CHECK(move.read_round(part, plain));
            Coded coded = encode(plain);
            const Block block{index, part.offset, static_cast<std::uint32_t>(part.length), coded.coding, std::move(coded.data)};
            BLANKET_CHECK(link_.send(static_cast<std::uint32_t>(Type::kBlock), pack_block(block)));
            pacer_.pace(link_.bytes_sent());
            sent += part.length;
            stats_.disk_bytes += part.length;
            observer_.disk(sent, total, link_.bytes_sent());
        }
    }
    return {};
}

Result<void> Source::end_round(std::uint32_t index) {
    BLANKET_CHECK(send_json(link_, Type::kRoundEnd, {{"volume", index}}));
    BLANKET_CHECK(expect(link_, Type::kAck, kRoundAnswer));
    observer_.end_disk_round(link_.bytes_sent());
    return {};
}

// By a port that is free at both ends: other moves may be on at either. What is taken here is ours until the move ends, so two moves never agree on the same one.
Result<std::uint16_t> Source::prepare_mirror(std::uint32_t index, DiskMove& move) {
    const std::string here = wireguard_address(plan_.here.index), there = wireguard_address(plan_.target.index);
    std::vector<std::uint16_t> ports(kMirrorPorts);
    std::ranges::generate(ports, [next = plan_.mirror_port]() mutable { return next++; });
    for (;;) {
        const auto port = move.take_port(ports);
        if (!port)
            return fail_hint(Kind::kConflict, std::format("no TCP port of {}..{} is free for a mirror at both '{}' and '{}'", plan_.mirror_port, plan_.mirror_port + kMirrorPorts - 1, plan_.here.name, plan_.target.name),
                             "wait until another migration has ended: blanket job list");
        BLANKET_CHECK(send_json(link_, Type::kMirror, {{"volume", index}, {"port", *port}, {"source_ip", here}, {"target_ip", there}, {"another", true}}));
        BLANKET_TRY(const Json answer, expect(link_, Type::kAck, kRoundAnswer));
        if (const auto taken = answer.find("taken"); taken == answer.end() || *taken != true) {
            BLANKET_CHECK(move.prepare_mirror(here, there, *port));
            return *port;
        }
        ports.erase(ports.begin(), std::ranges::find(ports, *port) + 1);  // those before it are taken here
    }
}

Error Source::written_too_fast(const std::string& disk, const DiskPace& pace, std::int64_t wait_ms) const {
    const std::string limited = plan_.bandwidth == 0 ? "" : std::format(" (of {}/s that --bandwidth allows)", format_bytes(plan_.bandwidth));
    return Error{Kind::kPrecondition,
                 std::format("VM '{}' writes {}/s to disk {}, and the link to '{}' took {}/s{}: its writes would stand still for {} s", plan_.vm.value.name, format_bytes(pace.written_per_s()), disk,
                             plan_.target.name, format_bytes(pace.sent_per_s()), limited, (wait_ms + 999) / 1000),
                 "move it when it writes less, or allow more: --max-downtime, --bandwidth"};
}

// Rounds while the VM writes, until what is left can be shipped while its writes wait: none if that is so already.
Result<void> Source::ship_rounds(std::uint32_t index, DiskMove& mover, DiskPace& pace) {
    const std::string& disk = plan_.vm.value.volumes[index].target;
    const auto lost_ms = [&] {  // without a connection: says nothing of the link's rate
        const auto health = link_.health();
        return health ? health->lost_ms : 0;
    };
    for (;;) {
        switch (const auto now = ports_.clock.boottime_ms(); pace.next(now)) {
            case DiskPace::Next::kRound: break;
            case DiskPace::Next::kLast: return {};
            case DiskPace::Next::kGiveUp: return std::unexpected(written_too_fast(disk, pace, pace.wait_ms(now)));
        }
        BLANKET_CHECK(check_cancelled());
        const std::int64_t at = ports_.clock.boottime_ms();
        BLANKET_TRY(const auto extents, mover.next_round());
        const std::uint64_t bytes = data_bytes(extents);
        observer_.note(std::format("disk {} round {}: {}", disk, pace.rounds(), format_bytes(bytes)));
        const std::int64_t begun = ports_.clock.boottime_ms() - lost_ms();
        BLANKET_CHECK(ship(index, mover, extents));
        BLANKET_CHECK(end_round(index));
        ++stats_.disk_rounds;
        pace.round(at, bytes, ports_.clock.boottime_ms() - lost_ms() - begun);
    }
}

Result<void> Source::move_disks() {
    const std::uint64_t wire_before = link_.bytes_sent();
    const std::int64_t wanted = plan_.limits.max_downtime_ms;
    const auto& volumes = plan_.vm.value.volumes;
    for (std::uint32_t index = 0; index < volumes.size(); ++index) {
        BLANKET_TRY(auto move, ports_.moves.source(volumes[index]));
        moves_.push_back(std::move(move));
        DiskMove& mover = *moves_.back();
        DiskPace pace(wanted > 0 ? std::max(wanted, kLeastWait) : kLongestWait);
        BLANKET_CHECK(ship_rounds(index, mover, pace));
        BLANKET_TRY(const std::uint16_t port, prepare_mirror(index, mover));
        pace.interrupted();
        BLANKET_CHECK(ship_rounds(index, mover, pace));  // what was written while the mirror connected may be too much by now
        const auto before = ports_.clock.boottime_ms();
        link_.urgent(true);  // its writes wait
        pacer_.lift(true);
        BLANKET_TRY(const auto rest, mover.last_round());
        if (const auto wait = pace.time_for(data_bytes(rest)); pace.too_long(wait / 2)) return std::unexpected(written_too_fast(volumes[index].target, pace, wait));  // much more than foreseen
        BLANKET_CHECK(ship(index, mover, rest));
        BLANKET_CHECK(end_round(index));
        ++stats_.disk_rounds;
        BLANKET_CHECK(mover.attach_mirror(wireguard_address(plan_.here.index), wireguard_address(plan_.target.index), port, true));
        pacer_.lift(false);
        link_.urgent(false);
        const auto held = ports_.clock.boottime_ms() - before;
        observer_.held_for(held);
        observer_.note(std::format("disk {}: last {} and the switch to the mirror held its writes for {} ms", volumes[index].target, format_bytes(data_bytes(rest)), held));
    }
    stats_.disk_wire_bytes = link_.bytes_sent() - wire_before;
    return {};
}

// What cut our connection has cut the mirrors' too. They connect again by themselves and send what the other end lacks; the guest, whose writes go on here
// meanwhile, is not to be stopped before that is done: it would stand still for it.
Result<void> Source::await_mirrors() {
    const auto health = link_.health();
    if (!health || health->cuts == mirrors_seen_) return {};
    for (auto& move : moves_) {
        for (auto left = kMirrorsAgain;; left -= kMirrorsLook) {
            const auto connected = move->wait_connected(kMirrorsLook);
            if (connected) break;
            BLANKET_CHECK(check_cancelled());
            if (connected.error().kind != Kind::kTimeout || left <= kMirrorsLook) return std::unexpected(Error(connected.error()).context("after the link was lost"));
        }
    }
    mirrors_seen_ = health->cuts;
    return {};
}

}  // namespace blanket::migrate
