// SPDX-License-Identifier: GPL-2.0-or-later
// The memory's way: what the live save puts out is coded and sent.
#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/source.hpp"

namespace blanket::migrate {

Result<void> Source::send_memory(std::span<const std::byte> plain, StreamDigest& digest) {
    for (; !plain.empty(); plain = plain.subspan(std::min(plain.size(), kMaxBlock))) {
        const auto piece = plain.first(std::min(plain.size(), kMaxBlock));
        digest.add(piece);
        BLANKET_CHECK(link_.send(static_cast<std::uint32_t>(Type::kMemory), pack_memory(static_cast<std::uint32_t>(piece.size()), encode(piece))));
        memory_bytes_ = digest.bytes();
    }
    return {};
}

Result<void> Source::move_memory() {
    const std::uint64_t wire_before = link_.bytes_sent();
    BLANKET_CHECK(send_json(link_, Type::kMemoryBegin, Json::object()));
    StreamDigest digest;
    const auto on_progress = [&](const SaveProgress& progress) {
        stats_.rounds = std::max(stats_.rounds, progress.round + 1);
        if (progress.suspended && !suspended_) {
            suspended_at_ = ports_.clock.boottime_ms();
            suspended_ = true;
            observer_.phase("suspend");
        } else if (progress.stopping && !redirected_) {
            // Before the guest is asked: what it has got it can still answer. An answer that it gives when it wakes up, before its network card
            // is back, is lost, and its TCP waits for seconds before it tries again.
            redirected_ = true;
            if (auto diverted = ports_.overlay.divert(plan_.vm.value, plan_.target); !diverted)
                log::warning("migrate", "VM {}: frames to it are lost while it moves: {}", plan_.vm.value.name, diverted.error().what);
        } else if (!progress.suspended) {
            observer_.progress(100.0 * static_cast<double>(memory_bytes_) / static_cast<double>(plan_.vm.value.memory_mib << 20));
        }
        return suspended_ || !observer_.cancelled();
    };
    const auto saved = ports_.ends.save_live(plan_.vm.value.uuid, [&](std::span<const std::byte> plain) { return send_memory(plain, digest); }, on_progress);
    suspended_ = saved.has_value();  // a failed save has let the guest run on
    stats_.memory_bytes = memory_bytes_;
    stats_.memory_wire_bytes = link_.bytes_sent() - wire_before;
    if (!saved) return std::unexpected(Error(saved.error()).context("sending memory"));
    return send_json(link_, Type::kMemoryEnd, {{"bytes", digest.bytes()}, {"digest", digest.value()}});
}

}  // namespace blanket::migrate
