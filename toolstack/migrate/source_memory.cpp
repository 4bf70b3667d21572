// SPDX-License-Identifier: GPL-2.0-or-later
// The memory's way: libxl's live save writes into a pipe; a second thread codes what comes out and sends it, so that the save never waits for the encoder.
#include <thread>
#include <fcntl.h>
#include <unistd.h>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/source.hpp"

namespace blanket::migrate {
namespace {

constexpr std::size_t kFrame = 256 * 1024;  // plain bytes per message: small enough to keep the pipe moving, large enough to compress
constexpr int kPipeSize = 1 << 20;

}  // namespace

Result<void> Source::pump_memory(int fd) {
    StreamDigest digest;
    std::vector<std::byte> buffer(kFrame);
    for (bool end = false; !end;) {
        std::size_t filled = 0;
        while (filled < buffer.size()) {
            BLANKET_TRY(const std::size_t got, read_some(fd, std::span(buffer).subspan(filled)));
            if (got == 0) {
                end = true;
                break;
            }
            filled += got;
            if (suspended_) break;  // the last pages must not wait for a full frame
        }
        if (filled == 0) continue;
        const auto plain = std::span<const std::byte>(buffer.data(), filled);
        digest.add(plain);
        BLANKET_CHECK(ports_.link.send(static_cast<std::uint32_t>(Type::kMemory), pack_memory(static_cast<std::uint32_t>(filled), encode(plain))));
        memory_bytes_ = digest.bytes();
    }
    if (!suspended_) return {};  // the save failed and says why itself
    return send_json(ports_.link, Type::kMemoryEnd, {{"bytes", digest.bytes()}, {"digest", digest.value()}});
}

Result<void> Source::move_memory() {
    const std::uint64_t wire_before = ports_.link.bytes_sent();
    BLANKET_CHECK(send_json(ports_.link, Type::kMemoryBegin, Json::object()));
    BLANKET_TRY(Pipe pipe, make_pipe());
    ::fcntl(pipe.write.get(), F_SETPIPE_SZ, kPipeSize);  // smaller is slower, not wrong
    Result<void> pumped;
    std::thread pump([&, fd = std::move(pipe.read)]() mutable {
        pumped = pump_memory(fd.get());
        fd.reset();  // an error here breaks the save's pipe, and the guest runs on
    });
    const auto on_progress = [&](const SaveProgress& progress) {
        stats_.rounds = std::max(stats_.rounds, progress.round + 1);
        if (progress.suspended && !suspended_) {
            suspended_at_ = boottime_ms();
            suspended_ = true;
            observer_.phase("suspend");
            redirected_ = true;
            if (auto redirected = ports_.overlay.redirect(plan_.vm.value, plan_.target); !redirected)
                log::warning("migrate", "VM {}: late frames are not redirected: {}", plan_.vm.value.name, redirected.error().what);
        } else if (!progress.suspended) {
            observer_.progress(100.0 * static_cast<double>(memory_bytes_) / static_cast<double>(plan_.vm.value.memory_mib << 20));
        }
        return suspended_ || !observer_.cancelled();
    };
    auto saved = ports_.ends.save_live(plan_.vm.value.uuid, pipe.write.get(), on_progress);
    if (saved) suspended_ = true;
    pipe.write.reset();
    pump.join();
    stats_.memory_bytes = memory_bytes_;
    stats_.memory_wire_bytes = ports_.link.bytes_sent() - wire_before;
    if (!pumped) {
        if (!saved) suspended_ = false;  // a failed save has let the guest run on
        return std::unexpected(std::move(pumped).error().context("sending memory"));
    }
    if (!saved) {
        suspended_ = false;
        return std::unexpected(std::move(saved).error().context("saving memory"));
    }
    return {};
}

}  // namespace blanket::migrate
