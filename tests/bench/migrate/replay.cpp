// SPDX-License-Identifier: GPL-2.0-or-later
// See replay.hpp. The order is libxenguest's (xg_sr_save.c): a round sends the pages that were dirty at its begin, with the content that they have when their turn comes; the last
// round before the stop, too; then the guest stops, and what became dirty is sent.
#include "tests/bench/migrate/replay.hpp"

#include <numeric>

namespace blanket::bench {
namespace {

constexpr int kMostWaits = 100'000;  // ticks in which a guest may dirty what the stop shall have

// The guest's time follows the sender's.
class Follower {
public:
    Follower(Guest& guest, const VirtualWire& wire) : guest_(guest), wire_(wire) {}
    void follow(double share) {
        owed_us_ += (wire_.now() - seen_) * 1e6 * share;
        seen_ = wire_.now();
        const auto whole = static_cast<std::int64_t>(owed_us_);
        guest_.run(whole);
        owed_us_ -= static_cast<double>(whole);
    }

private:
    Guest& guest_;
    const VirtualWire& wire_;
    double seen_ = 0, owed_us_ = 0;
};

template <typename Before>
Result<void> send_all(const GuestMemory& memory, std::span<const Frame> frames, Method& method, VirtualWire& wire, const Before& before) {
    for (; !frames.empty(); frames = frames.subspan(std::min(kBatch, frames.size()))) {
        before();
        BLANKET_CHECK(method.pages(memory, frames.first(std::min(kBatch, frames.size())), wire));
    }
    return {};
}

void dirty_at_least(Guest& guest, std::vector<Frame>& frames, std::size_t least) {
    if (frames.size() >= least) return;
    for (const Frame frame : frames) guest.memory().write(frame);
    for (int i = 0; i < kMostWaits && guest.memory().dirty() < least; ++i) guest.run(Guest::kTickUs);
    frames = guest.memory().take_dirty();
}

}  // namespace

Result<Moved> replay(Guest& guest, Method& method, StopRule& rule, const Path& path) {
    Moved moved;
    VirtualWire wire(path.link, path.connections);
    Follower follower(guest, wire);
    BLANKET_CHECK(method.begin(wire));
    follower.follow(1);
    (void)guest.memory().take_dirty();
    std::vector<Frame> frames(guest.memory().frames());  // the first round takes all
    std::iota(frames.begin(), frames.end(), Frame{0});
    for (auto step = StopRule::Step::kContinue; step == StopRule::Step::kContinue;) {
        step = rule.begin(wire.now_ms(), frames.size());
        moved.share = rule.share();
        if (step == StopRule::Step::kStopNow) break;
        const std::size_t bytes_before = wire.bytes();
        BLANKET_CHECK(send_all(guest.memory(), frames, method, wire, [&] { follower.follow(moved.share); }));
        follower.follow(moved.share);
        rule.end(wire.now_ms(), wire.bytes() - bytes_before);
        moved.rounds.push_back(frames.size());
        frames = guest.memory().take_dirty();
    }
    moved.forecast_s = static_cast<double>(rule.forecast_ms()) / 1000;
    moved.settled = rule.settled();
    moved.why = rule.why();
    dirty_at_least(guest, frames, path.least_stopped);
    const double stopped = wire.now();
    method.stop();
    BLANKET_CHECK(send_all(guest.memory(), frames, method, wire, [] {}));
    BLANKET_CHECK(method.end(wire));
    moved.rounds.push_back(frames.size());
    moved.seconds = wire.arrived() + path.last_round_trips * path.link.rtt_s;
    moved.downtime_s = moved.seconds - stopped;
    moved.wire_bytes = wire.bytes();
    moved.processor_s = wire.spent();
    moved.pages = std::accumulate(moved.rounds.begin(), moved.rounds.end(), std::uint64_t{0});
    moved.exact = method.exact(guest.memory());
    return moved;
}

}  // namespace blanket::bench
