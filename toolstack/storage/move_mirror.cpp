// SPDX-License-Identifier: GPL-2.0-or-later
// A move's second half: the mirror, the drain and the end at either side. See thin_move.hpp.
#include <utility>

#include "toolstack/base/log.hpp"
#include "toolstack/storage/device_io.hpp"
#include "toolstack/storage/thin_move.hpp"

namespace blanket::storage {
namespace {

using namespace std::chrono_literals;
constexpr auto kConnect = 20s;

}  // namespace

ThinMove::~ThinMove() {
    if (port_ != 0) thin_.give_port_back(port_);
}

Result<std::uint16_t> ThinMove::take_port(std::span<const std::uint16_t> ports) {
    if (port_ != 0) thin_.give_port_back(std::exchange(port_, 0));
    BLANKET_TRY(port_, thin_.take_port(volume_key(id_), ports));
    return port_;
}

Result<void> ThinMove::prepare_mirror(const std::string& local_ip, const std::string& peer_ip, std::uint16_t port) {
    BLANKET_CHECK(mirror_.connect(local_ip, peer_ip, port));
    return source_ ? mirror_.wait_connected(kConnect) : Result<void>{};
}

Result<void> ThinMove::attach_mirror(const std::string& local_ip, const std::string& peer_ip, std::uint16_t port, bool source) {
    if (source != source_) return fail(Kind::kInternal, "attach_mirror at the wrong end of volume '{}'", id_);
    if (!source_) {
        if (writer_) BLANKET_CHECK(flush_device(writer_.get()));
        return mirror_.connect(local_ip, peer_ip, port);
    }
    BLANKET_TRY(const auto before, thin_.info(top_device(id_)));
    if (!before || !before->suspended) return fail(Kind::kInternal, "attach_mirror before last_round of volume '{}'", id_);
    BLANKET_CHECK(prepare_mirror(local_ip, peer_ip, port));
    BLANKET_CHECK(mirror_.declare_equal());
    BLANKET_TRY(const auto facts, mirror_.facts());
    BLANKET_CHECK(thin_.system().run(plan_load_top(id_, size_, drbd_device(facts.minor))));
    BLANKET_CHECK(thin_.system().run(resume(top_device(id_))));
    reader_.reset();
    if (auto done = remove_snapshots(std::nullopt); !done) log::warning("storage", "{}", done.error().what);  // the end removes them, at the latest the next start
    return {};
}

Result<void> ThinMove::wait_connected(std::chrono::seconds deadline) { return mirror_.wait_connected(deadline); }

Result<void> ThinMove::drain() {
    if (!source_) return fail(Kind::kInternal, "only the source of a move drains");
    BLANKET_CHECK(thin_.system().run(suspend(top_device(id_))));  // in-flight writes end: locally done and in the send buffer
    return mirror_.settle();
}

Result<std::uint64_t> ThinMove::verify(std::chrono::milliseconds deadline) { return mirror_.verify(deadline); }

// The top lies over the thin volume again, in one swap; `open` says whether it runs then.
Result<void> ThinMove::put_top_back(bool open) {
    const auto top = top_device(id_);
    BLANKET_TRY(const auto volume, thin_.info(volume_device(id_)));
    BLANKET_TRY(const auto state, thin_.info(top));
    if (!volume || !state) return {};  // nothing is active: open_volume makes it anew
    BLANKET_TRY(const auto lower, thin_.lower_of(top));
    const bool swap = lower != std::format("{}:{}", volume->major, volume->minor);
    if (!state->suspended && (swap || !open)) BLANKET_CHECK(thin_.system().run(suspend(top)));
    BLANKET_CHECK(thin_.system().run(clear(top)));
    if (swap) {
        BLANKET_CHECK(thin_.system().run(plan_load_top(id_, size_, mapper(volume_device(id_)))));
        // The new table takes effect at a resume. At the loser that lets through what was queued: into a copy that nobody will ever read.
        BLANKET_CHECK(thin_.system().run(resume(top)));
        if (!open) BLANKET_CHECK(thin_.system().run(suspend(top)));
    }
    return {};
}

Result<void> ThinMove::finish_source(bool keep, std::uint64_t epoch) {
    if (keep) BLANKET_CHECK(store_.raise_epoch(id_, epoch));
    // First the connection: writes that wait for a dead network complete on the local disk, so nothing after this can hang.
    if (auto done = mirror_.cut(); !done) log::warning("storage", "{}", done.error().what);
    BLANKET_CHECK(put_top_back(keep));
    if (keep) BLANKET_CHECK(store_.open_volume(id_, epoch));
    // The guest runs (or is fenced); the rest is tidying up.
    reader_.reset();
    BLANKET_CHECK(mirror_.down());
    return remove_snapshots(std::nullopt);
}

Result<void> ThinMove::take_over(std::uint64_t epoch) {
    if (source_) return fail(Kind::kInternal, "only the target of a move takes over");
    if (taken_over_) return {};
    BLANKET_CHECK(mirror_.cut());  // the loser first: nothing of it can arrive later
    if (!writer_) {
        BLANKET_TRY(writer_, thin_.system().open_device(volume_device(id_), true));
    }
    BLANKET_CHECK(flush_device(writer_.get()));
    BLANKET_CHECK(store_.open_volume(id_, epoch));
    writer_.reset();
    taken_over_ = true;
    return {};
}

Result<void> ThinMove::finish_target(bool keep, std::uint64_t epoch) {
    if (keep) {
        BLANKET_CHECK(take_over(epoch));
    } else if (auto done = mirror_.cut(); !done) {
        log::warning("storage", "{}", done.error().what);
    }
    writer_.reset();
    return mirror_.down();
}

Result<void> ThinMove::finish(bool keep, std::uint64_t epoch) {
    auto done = source_ ? finish_source(keep, epoch) : finish_target(keep, epoch);
    if (!done) return std::unexpected(std::move(done).error().context(std::format("end of the move of volume '{}'", id_)));
    return {};
}

}  // namespace blanket::storage
