// SPDX-License-Identifier: GPL-2.0-or-later
// See drbd_plan.hpp. Times of DRBD: timeout and ping-timeout in 0.1 s, ping-int and connect-int in s; timeout must be below both of the latter.
#include "toolstack/storage/drbd_plan.hpp"

#include "toolstack/core/records.hpp"

namespace blanket::storage {
namespace {

constexpr const char* kDrbdsetup = "/usr/lib/drbd/drbdsetup-84";

std::string address(const std::string& ip, std::uint16_t port) { return std::format("ipv4:{}:{}", ip, port); }

}  // namespace

std::uint64_t mirror_meta_size(std::uint64_t volume_size) {
    const std::uint64_t bitmap = volume_size / 4096 / 8;
    return (bitmap + (1u << 20) + kBlock - 1) / kBlock * kBlock;
}

Plan plan_mirror_up(const std::string& id, std::uint64_t size, const MirrorFacts& facts) {
    const auto under = under_device(id), resource = resource_name(id), minor = std::to_string(facts.minor);
    return {
        {"dmsetup", "create", under, "--uuid", device_uuid(under), "--table", linear_table(size, mapper(volume_device(id)))},
        {"drbdmeta", "--force", minor, "v08", mapper(meta_device(id)), "flex-external", "create-md"},
        {kDrbdsetup, "new-resource", resource},
        {kDrbdsetup, "new-minor", resource, minor, "0"},
        // The metadata need not survive a crash (a crash ends the move): no flushes and no activity log for it. Data flushes stay on: they make the
        // peer's barriers durable, which drain() relies on. A local disk error goes up as it would without DRBD. The rate is for the resync after a break of
        // the link and for verify: 10 MiB/s, no controller (it starts at 250 KiB/s and a move is too short for it to learn).
        {kDrbdsetup, "attach", minor, mapper(under), mapper(meta_device(id)), "flexible", "--on-io-error=pass_on", "--disk-barrier=no", "--disk-flushes=yes",
         "--md-flushes=no", "--al-updates=no", "--c-plan-ahead=0", "--resync-rate=10240", "--c-min-rate=0"},
        plan_mirror_connect(id, facts),
    };
}

// For round trips up to 150 ms: a dead peer is noticed within about 7 s (ping-int + ping-timeout) and a write that hangs within 8 s (timeout x ko-count);
// the send buffer holds two of the largest bandwidth-delay products (100 Mbit/s x 150 ms = 1.9 MB).
Argv plan_mirror_connect(const std::string& id, const MirrorFacts& facts) {
    return {kDrbdsetup, "connect", resource_name(id), address(facts.local, facts.port), address(facts.peer, facts.port), "--protocol=A", "--timeout=40", "--connect-int=5",
            "--ping-int=5", "--ping-timeout=20", "--socket-check-timeout=3", "--ko-count=2", "--sndbuf-size=4194304", "--rcvbuf-size=4194304", "--max-buffers=8000",
            "--max-epoch-size=8000", "--after-sb-0pri=disconnect", "--verify-alg=crc32c"};
}

Plan plan_mirror_primary(const MirrorFacts& facts) {
    const auto minor = std::to_string(facts.minor);
    return {{kDrbdsetup, "new-current-uuid", minor, "--clear-bitmap"}, {kDrbdsetup, "primary", minor}};
}

Argv plan_mirror_protocol(const MirrorFacts& facts, char protocol) {
    return {kDrbdsetup, "net-options", address(facts.local, facts.port), address(facts.peer, facts.port), std::format("--protocol={}", protocol)};
}

Argv plan_mirror_cut(const MirrorFacts& facts) {
    return {kDrbdsetup, "disconnect", address(facts.local, facts.port), address(facts.peer, facts.port), "--force"};
}

Plan plan_mirror_down(const std::string& id, const MirrorFacts& facts) {
    return {{kDrbdsetup, "secondary", std::to_string(facts.minor)}, {kDrbdsetup, "down", resource_name(id)}};
}

Argv plan_mirror_verify(const MirrorFacts& facts) { return {kDrbdsetup, "verify", std::to_string(facts.minor)}; }

Result<void> check_mirror(const MirrorFacts& facts) {
    BLANKET_CHECK(parse_ipv4(facts.local));
    BLANKET_CHECK(parse_ipv4(facts.peer));
    if (facts.local == facts.peer) return fail(Kind::kInvalid, "both ends of the mirror have the address {}", facts.local);
    if (facts.port < 1024) return fail(Kind::kInvalid, "port {} is reserved", facts.port);
    return {};
}

}  // namespace blanket::storage
