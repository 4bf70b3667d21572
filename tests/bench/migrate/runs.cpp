// SPDX-License-Identifier: GPL-2.0-or-later
// One move by each method; see runs.hpp. The cases are in cases.cpp.
#include "tests/bench/migrate/runs.hpp"

#include "tests/bench/migrate/peers.hpp"

namespace blanket::bench {
namespace {

constexpr std::int64_t kUnderWayUs = 5'000'000;
constexpr double kQuorum = 1;           // round trips: the target commits by itself, and its vote and the source's are a majority of three
constexpr double kHandshake = 1;        // xl's READY and GO, half a round trip each (Xen's tools/xl/xl_migrate.c)
constexpr double kSshWindow = 2 << 20;  // bytes: of an OpenSSH channel (64 packets of 32 KiB), less than TCP's

Result<std::unique_ptr<Method>> make_peer(const Stage& stage, const std::string& name) {
    const Settings& settings = stage.settings;
    if (name == kXl) return make_raw();
    if (name == kXlSsh) return make_raw(settings.cipher_s_per_byte);
    if (name == kZstdPipe) return make_zstd_pipe(settings.meter);
    if (name == kXbzrle) return make_qemu_xbzrle(settings.frames, settings.meter);
    if (name == kMultifd) return make_qemu_multifd_zstd(settings.meter);
    return fail(Kind::kInternal, "no method '{}'", name);
}

}  // namespace

Guest make_guest(const Stage& stage, Load load, std::uint64_t number) {
    const std::uint64_t seed = stage.settings.seed ^ (number * kLoads.size() + static_cast<std::uint64_t>(load) + 1) * 0x9e37'79b9'7f4a'7c15u;
    Guest guest(load, stage.palette, seed, stage.settings.frames);
    guest.run(kUnderWayUs);
    return guest;
}

BlanketEnds ends_of(const Stage& stage) {
    return {.image = &stage.image, .frames = stage.settings.frames, .cipher_s_per_byte = stage.settings.cipher_s_per_byte, .meter = stage.settings.meter};
}

Result<Row> run_ours(Guest& guest, const Stage& stage, const Link& link, const BlanketEnds& ends, std::size_t least_stopped) {
    BLANKET_TRY(const auto method, BlanketMethod::create(ends));
    PolicyRule rule(PolicyRule::ours(static_cast<std::int64_t>((0.5 + kQuorum) * link.rtt_s * 1000)));
    BLANKET_TRY(Moved moved, replay(guest, *method, rule, {.link = link, .connections = stage.settings.ours, .last_round_trips = kQuorum, .least_stopped = least_stopped}));
    if (!moved.exact.value_or(false)) return fail(Kind::kInternal, "the target's memory is not the guest's (seed {}, link {})", stage.settings.seed, link.name);
    method->arrived();
    return Row{.what = {}, .load = {}, .link = link.name, .method = kOurs, .moved = std::move(moved), .classes = method->counts(), .cipher_s = method->cipher_s()};
}

Result<Row> run_peer(Guest& guest, const Stage& stage, const Link& link, const std::string& name, std::size_t least_stopped) {
    const bool qemu = name == kXbzrle || name == kMultifd;
    BLANKET_TRY(const auto method, make_peer(stage, name));
    PolicyRule xl(PolicyRule::xl());
    QemuRule own;
    StopRule& rule = qemu ? static_cast<StopRule&>(own) : xl;
    Connections connections;
    if (name == kMultifd) connections.count = 2;
    if (name == kXlSsh) connections.window = kSshWindow;
    BLANKET_TRY(Moved moved, replay(guest, *method, rule, {.link = link, .connections = connections, .last_round_trips = qemu ? 0 : kHandshake, .least_stopped = least_stopped}));
    return Row{.what = {}, .load = {}, .link = link.name, .method = name, .moved = std::move(moved), .classes = {}, .cipher_s = 0};
}

}  // namespace blanket::bench
