// SPDX-License-Identifier: GPL-2.0-or-later
// See mirror.hpp.
#include "toolstack/storage/mirror.hpp"

#include <fcntl.h>
#include <sys/uio.h>

#include "toolstack/base/log.hpp"
#include "toolstack/storage/device_io.hpp"

namespace blanket::storage {
namespace {

using namespace std::chrono_literals;
constexpr auto kStep = 15s;       // one drbdsetup call that talks to the local kernel only
constexpr auto kPoll = 10ms;      // also the unit in which waiting is counted, so that a fake clock needs no more than sleep()
constexpr std::chrono::milliseconds kDeclare = 500ms;  // two round trips, and what a busy host adds
constexpr std::chrono::milliseconds kAgain = 6s;       // a connection's handshake: 1 s and some round trips; connect-int once if both ends miss each other
constexpr std::chrono::milliseconds kSettle = 5s;      // the resync after a short break of the link may still have to end
constexpr std::chrono::milliseconds kReconnect = 1s;   // a link that is down for longer is given up: the guest stands still meanwhile

}  // namespace

Result<MirrorFacts> Mirror::facts() {
    BLANKET_TRY(const auto entry, thin_.find(volume_key(id_)));
    if (!entry.mirror) return fail(Kind::kConflict, "volume '{}' has no mirror", id_);
    return *entry.mirror;
}

bool Mirror::present() { return facts().has_value(); }

Result<std::map<std::uint32_t, DrbdStatus>> Mirror::all() {
    auto text = thin_.system().read_text("/proc/drbd");
    if (!text && text.error().kind == Kind::kNotFound) return std::map<std::uint32_t, DrbdStatus>{};
    if (!text) return std::unexpected(std::move(text).error());
    return parse_proc_drbd(*text);
}

Result<DrbdStatus> Mirror::status() {
    BLANKET_TRY(const auto mine, facts());
    BLANKET_TRY(auto devices, all());
    const auto at = devices.find(mine.minor);
    if (at == devices.end()) return fail(Kind::kNotFound, "DRBD minor {} of volume '{}' is not set up", mine.minor, id_);
    return at->second;
}

Result<void> Mirror::load_module() {
    auto& system = thin_.system();
    if (!system.exists("/proc/drbd")) BLANKET_CHECK(system.run({"modprobe", "drbd", "usermode_helper=/bin/true", "disable_sendpage=1"}));
    return {};
}

Result<void> Mirror::connect(const std::string& local, const std::string& peer, std::uint16_t port) {
    const MirrorFacts wish{.minor = 0, .local = local, .peer = peer, .port = port};
    BLANKET_CHECK(check_mirror(wish));
    BLANKET_TRY(const auto volume, thin_.find(volume_key(id_)));
    if (volume.mirror) {
        if (volume.mirror->local == local && volume.mirror->peer == peer && volume.mirror->port == port && status()) return {};
        return fail_hint(Kind::kConflict, std::format("volume '{}' has a mirror between {} and {} port {}", id_, volume.mirror->local, volume.mirror->peer, volume.mirror->port),
                         "the earlier move of this VM must be finished or given up first");
    }
    BLANKET_CHECK(load_module());
    BLANKET_TRY(const auto devices, all());
    std::set<std::uint32_t> busy;
    for (const auto& [minor, status] : devices)
        if (status.connection != "Unconfigured") busy.insert(minor);
    BLANKET_TRY(const auto mine, thin_.reserve_mirror(volume_key(id_), wish, busy));

    const auto build = [&]() -> Result<void> {
        const auto key = meta_key(id_);
        BLANKET_TRY(const auto meta, thin_.reserve(key, {.kind = ThinKind::kMeta, .size = mirror_meta_size(volume.size), .sha256 = {}, .mirror = {}}));
        BLANKET_CHECK(thin_.make(meta, std::nullopt));
        BLANKET_CHECK(thin_.activate(meta_device(id_), meta));
        BLANKET_CHECK(thin_.set_ready(key));
        return apply(thin_.system(), plan_mirror_up(id_, volume.size, mine), kStep);
    };
    auto done = build();
    if (done) return {};
    if (auto undone = down(); !undone) log::warning("storage", "{}", undone.error().what);
    return std::unexpected(std::move(done).error().context(std::format("mirror of volume '{}'", id_)));
}

Result<void> Mirror::wait_connected(std::chrono::milliseconds deadline) {
    for (auto waited = 0ms;; waited += kPoll) {
        BLANKET_TRY(const auto now, status());
        if (now.connected()) return {};
        if (waited >= deadline || now.connection == "StandAlone") {
            BLANKET_TRY(const auto mine, facts());
            return fail_hint(Kind::kTimeout, std::format("the mirror of volume '{}' is not connected to {} after {} ms ({})", id_, mine.peer, deadline.count(), describe(now)),
                             std::format("check that TCP port {} passes between {} and {} inside WireGuard", mine.port, mine.local, mine.peer));
        }
        thin_.system().sleep(kPoll);
    }
}

Result<void> Mirror::declare_equal() {
    BLANKET_TRY(const auto mine, facts());
    BLANKET_CHECK(apply(thin_.system(), plan_mirror_primary(mine), kStep));
    // A peer that has just connected sends its state once more, as it was then; when it comes after this, the peer counts as Inconsistent here for as long as
    // it has no reason to send another. A new handshake makes it speak: nothing was written since, so nothing is synced then. (A peer that never heard of this
    // is synced, slowly, by the same handshake: then the time is up.)
    bool again = false;
    for (auto waited = 0ms;; waited += kPoll) {
        BLANKET_TRY(const auto now, status());
        if (now.in_step() && now.role == "Primary") return {};
        if (!again && waited >= kDeclare && now.connected()) {
            log::info("storage", "the mirror of volume '{}' is made anew: {}", id_, describe(now));
            BLANKET_CHECK(reconnect());
            again = true, waited = 0ms;
        } else if (waited >= kAgain || now.connection == "StandAlone" || (!again && !now.connected())) {
            return fail_hint(Kind::kUnavailable, std::format("the mirror of volume '{}' did not start in step: {}", id_, describe(now)), "try the move again");
        }
        thin_.system().sleep(kPoll);
    }
}

Result<void> Mirror::reconnect() {
    BLANKET_TRY(const auto mine, facts());
    BLANKET_CHECK(thin_.system().run(plan_mirror_cut(mine), kStep));
    BLANKET_CHECK(thin_.system().run(plan_mirror_connect(id_, mine), kStep));
    return {};
}

Result<void> Mirror::settle() {
    BLANKET_TRY(const auto mine, facts());
    const auto lost = [&](std::string_view why) {
        return fail_hint(Kind::kUnavailable, std::format("the mirror of volume '{}' is not in step with {}: {}", id_, mine.peer, why), "the VM stays here; check the link between the sites and move it again");
    };
    for (auto waited = 0ms;; waited += kPoll) {
        BLANKET_TRY(const auto now, status());
        if (now.in_step() && now.role == "Primary") break;
        const bool linked = now.peer_disk != "DUnknown";
        if (waited >= (linked ? kSettle : kReconnect) || now.connection == "StandAlone") return lost(describe(now));
        thin_.system().sleep(kPoll);
    }
    // Protocol A completes a write when it is in the send buffer. Under C a write completes when the peer's disk has it, and the peer finishes (and flushes)
    // everything of an earlier epoch before it begins a later one. So: switch to C, then rewrite block 0 with its own content. Nobody else writes: top is suspended.
    BLANKET_CHECK(thin_.system().run(plan_mirror_protocol(mine, 'C'), kStep));
    {
        BLANKET_TRY(const UniqueFd fd, thin_.system().open_device(drbd_device(mine.minor), true));
        AlignedBuffer block(4096);
        BLANKET_CHECK(pread_all(fd.get(), block.span(), 0));
        const iovec vector{.iov_base = block.span().data(), .iov_len = block.span().size()};
        if (::pwritev2(fd.get(), &vector, 1, 0, RWF_DSYNC) != static_cast<ssize_t>(vector.iov_len)) return fail_errno("pwritev2", drbd_device(mine.minor));
    }
    BLANKET_TRY(const auto now, status());
    if (!now.in_step() || now.pending != 0) return lost(describe(now));  // the write would also complete, locally, on a link that broke
    return {};
}

Result<void> Mirror::cut() {
    BLANKET_TRY(const auto devices, all());
    const auto mine = facts();
    if (!mine) return {};
    const auto at = devices.find(mine->minor);
    if (at == devices.end() || at->second.connection == "StandAlone" || at->second.connection == "Unconfigured") return {};
    auto done = thin_.system().run(plan_mirror_cut(*mine), kStep);
    if (done) return {};
    BLANKET_TRY(const auto after, all());
    const auto still = after.find(mine->minor);
    if (still == after.end() || still->second.connection == "StandAlone") return {};
    return std::unexpected(std::move(done).error());
}

Result<void> Mirror::down() {
    const auto mine = facts();
    if (!mine) return {};
    auto& system = thin_.system();
    if (auto done = cut(); !done) log::warning("storage", "{}", done.error().what);
    BLANKET_TRY(const auto before, all());
    if (before.contains(mine->minor) || system.exists("/proc/drbd")) {
        for (const auto& argv : plan_mirror_down(id_, *mine))
            if (auto done = system.run(argv, kStep); !done) log::debug("storage", "{}", done.error().what);  // what is left is judged below
        BLANKET_TRY(const auto after, all());
        const auto at = after.find(mine->minor);
        if (at != after.end() && at->second.connection != "Unconfigured")
            return fail_hint(Kind::kConflict, std::format("DRBD minor {} of volume '{}' does not go away: {}", mine->minor, id_, describe(at->second)),
                             std::format("look for who holds {} open: lsof {}", drbd_device(mine->minor), drbd_device(mine->minor)));
    }
    BLANKET_CHECK(thin_.remove_device(under_device(id_)));
    BLANKET_CHECK(thin_.destroy(meta_key(id_), meta_device(id_)));
    return thin_.update(volume_key(id_), [](ThinEntry& entry) { entry.mirror.reset(); });
}

Result<std::uint64_t> Mirror::verify(std::chrono::milliseconds deadline) {
    BLANKET_TRY(const auto mine, facts());
    BLANKET_CHECK(thin_.system().run(plan_mirror_verify(mine), kStep));
    for (auto waited = 0ms;; waited += 50ms) {
        thin_.system().sleep(50ms);
        BLANKET_TRY(const auto now, status());
        if (now.connected()) return now.out_of_sync_kib / 4;
        if (!now.connection.starts_with("Verify") || waited >= deadline)
            return fail(Kind::kTimeout, "the comparison of volume '{}' did not end: {}", id_, describe(now));
    }
}

}  // namespace blanket::storage
