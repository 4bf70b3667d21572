// SPDX-License-Identifier: GPL-2.0-or-later
// See resumable_link.hpp: what its user calls, its state, and which connection sends what. The threads are in resumable_link_lanes.cpp. The mutex is never held while a
// connection sends or receives (it is while one is asked for its counters, which waits for nothing), nor while one of the options' functions is called.
#include "toolstack/migrate/resumable_link.hpp"

namespace blanket::migrate {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::milliseconds kWaitSlice = 500ms, kAsk = 1s, kMeasure = 200ms;
constexpr std::chrono::milliseconds kAckWay = 50ms;        // as long as an acknowledgement may wait at the peer
constexpr std::uint64_t kLeastWindow = 8u << 20;           // what a new burst begins with
constexpr std::chrono::milliseconds kLag = 200ms;          // news goes out over all connections within 50 ms
constexpr std::uint64_t kLittleOnItsWay = 2 * kLinkPiece;  // what a silent connection counts as having more than it has
constexpr int kSoon = 10, kMostPause = 20;                 // times LinkTimes::retry: a connection that broke within the one waits up to the other

std::int64_t in_ms(std::chrono::steady_clock::duration time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time).count(); }

}  // namespace

ResumableLink::ResumableLink(std::unique_ptr<PeerLink> first, Options options)
    : options_(std::move(options)), peer_(first->peer()), out_(options_.streams > 1), window_(options_.sizes.replay), inbox_(options_.streams > 1, options_.sizes.inbox) {
    for (unsigned index = 0; index < std::clamp(options_.streams, 1u, kMostStreams); ++index) lanes_.push_back(std::make_unique<Lane>(index));
    if (many()) {
        window_ = std::min(window_, kLinkWindow);
        first->one_of(static_cast<unsigned>(lanes_.size()), kMostFrame);
    }
    if (const auto path = first->path()) congestion_ = path->congestion;
    lanes_[0]->wire = std::move(first);
    for (const auto& lane : lanes_) lane->pinged = lane->told_at = lane->heard = lane->stood = Clock::now();
    const Lock lock(mutex_);  // the lanes look at each other
    for (const auto& lane : lanes_) {
        lane->reader = std::jthread([this, &one = *lane] { read_all(one); });
        lane->writer = std::jthread([this, &one = *lane] { write_all(one); });
    }
}

ResumableLink::~ResumableLink() {
    close();
    for (const auto& lane : lanes_) {
        lane->reader.join();
        lane->writer.join();
    }
}

void ResumableLink::close() {
    Lock lock(mutex_);
    inbox_.drop();
    changed_.notify_all();
    changed_.wait_for(lock, options_.times.linger, [&] { return end_ || out_.empty(); });
    end({Kind::kCancelled, "the link was closed", {}}, true);
}

// ---------------------------------------------------------------- what the user calls
Result<void> ResumableLink::send(std::uint32_t type, std::span<const std::byte> payload) {
    if (type >= kFirstLinkType || payload.size() > kMostMessage) return fail(Kind::kInvalid, "a message of type {} and {} bytes cannot be sent", type, payload.size());
    auto frames = LinkOutbox::cut(many(), type, payload);
    Lock lock(mutex_);
    auto asked = Clock::now();
    while (!end_ && !out_.fits(frames, window_)) wait(lock, kWaitSlice, asked);
    if (end_) return std::unexpected(*end_);
    const std::uint64_t number = out_.push(std::move(frames));
    deal();
    changed_.notify_all();
    while (!end_ && !out_.gone(number) && (out_.unsent() > options_.sizes.unsent || (!live() && options_.again && !urgent_))) wait(lock, kWaitSlice, asked);
    if (end_ && !out_.gone(number)) return std::unexpected(*end_);
    return {};
}

Result<Message> ResumableLink::receive(std::chrono::milliseconds deadline) {
    Lock lock(mutex_);
    Clock::duration left = deadline;
    for (auto asked = Clock::now();;) {
        if (!inbox_.empty()) {
            auto message = inbox_.pop();
            if (!message) end(Error(message.error()).context(std::format("site '{}'", peer_)), true);
            changed_.notify_all();
            return message;
        }
        if (end_) return std::unexpected(*end_);
        if (left <= 0ms) return fail(Kind::kTimeout, "nothing came in time");
        const bool linked = live();
        const auto before = Clock::now();
        wait(lock, std::min<Clock::duration>(left, kWaitSlice), asked);
        if (linked || deadline <= 0ms) left -= Clock::now() - before;
    }
}

// A moment's wait. Without a connection somebody may know that there is nothing to wait for.
void ResumableLink::wait(Lock& lock, Clock::duration most, Clock::time_point& asked) {
    changed_.wait_for(lock, most);
    if (live() || end_) return;
    give_up_if_late();
    if (end_ || urgent_ || !options_.ended || Clock::now() - asked < kAsk) return;
    lock.unlock();
    const bool ended = options_.ended();
    lock.lock();
    asked = Clock::now();
    if (ended) end({Kind::kCancelled, std::format("the wait for the lost link to site '{}' was ended", peer_), {}}, true);
}

std::uint64_t ResumableLink::bytes_sent() const {
    const std::scoped_lock lock(mutex_);
    std::uint64_t sum = sent_before_;
    for (const auto& lane : lanes_) sum += lane->wire ? lane->wire->bytes_sent() : 0;
    return sum;
}

std::uint64_t ResumableLink::bytes_received() const {
    const std::scoped_lock lock(mutex_);
    std::uint64_t sum = received_before_;
    for (const auto& lane : lanes_) sum += lane->wire ? lane->wire->bytes_received() : 0;
    return sum;
}

void ResumableLink::shutdown() {
    const std::scoped_lock lock(mutex_);
    end({Kind::kCancelled, "the link was shut down", {}}, true);
}

void ResumableLink::urgent(bool on) {
    const std::scoped_lock lock(mutex_);
    if (on && !urgent_) urgent_since_ = Clock::now();
    urgent_ = on;
    changed_.notify_all();
}

std::optional<LinkHealth> ResumableLink::health() const {
    const std::scoped_lock lock(mutex_);
    const auto now_lost = live() || end_ ? Clock::duration{} : Clock::now() - lost_since_;
    return LinkHealth{.cuts = cuts_, .lost_ms = in_ms(lost_ + now_lost), .again_bytes = out_.again_bytes(), .streams = lanes_.size(), .congestion = congestion_};
}

unsigned ResumableLink::connections() const {
    const std::scoped_lock lock(mutex_);
    return static_cast<unsigned>(std::ranges::count_if(lanes_, [](const auto& lane) { return lane->wire != nullptr; }));
}

// ---------------------------------------------------------------- state, under the mutex
bool ResumableLink::live() const {
    return std::ranges::any_of(lanes_, [](const auto& lane) { return lane->wire != nullptr; });
}

void ResumableLink::end(Error error, bool tell_peer) {
    if (end_) return;
    end_ = std::move(error);
    for (const auto& lane : lanes_) lane->bye_due = lane->bye_wanted = tell_peer && lane->wire;
    changed_.notify_all();
}

void ResumableLink::lose(Lane& lane, const Wire& wire, const std::string& why, Clock::time_point since) {
    if (lane.wire != wire) return;
    sent_before_ += wire->bytes_sent();
    received_before_ += wire->bytes_received();
    wire->shutdown();
    lane.wire.reset();
    lane.given.reset();
    lane.bye_due = false;
    if (heard_ == &lane) heard_ = nullptr;
    out_.give_back(lane.index);
    ++cuts_;
    if (!live()) {
        ++losses_;
        lost_since_ = since;
        lost_why_ = why;
    }
    const auto now = Clock::now();
    const auto retry = options_.times.retry;
    lane.pause = now - lane.stood < kSoon * retry ? std::clamp<Clock::duration>(2 * lane.pause, retry, kMostPause * retry) : Clock::duration{};
    lane.next_dial = now + lane.pause;
    if (losses_ > options_.sizes.cuts) end({Kind::kIo, std::format("the link to site '{}' was lost {} times", peer_, losses_), "check the network between the sites"}, false);
    deal();
    changed_.notify_all();
}

LinkLoss ResumableLink::loss() const {
    return {.lost_ms = in_ms(Clock::now() - waiting_since()), .patience_ms = in_ms(patience()), .why = lost_why_};
}

void ResumableLink::give_up_if_late() {
    if (live() || end_ || Clock::now() - waiting_since() < patience()) return;
    end({Kind::kIo, std::format("the link to site '{}' has been lost for {} s: {}", peer_, in_ms(Clock::now() - lost_since_) / 1000, lost_why_), "check the network between the sites"}, false);
}

// What the peer says anew that it has taken. Over several connections a newer word may have been faster.
Result<void> ResumableLink::check_taken(std::uint64_t number) const {
    if (number > out_.highest() || (!many() && number < out_.acked()))
        return fail(Kind::kInvalid, "site '{}' says that it has taken {} messages; it had acknowledged {}, and {} were sent", peer_, number, out_.acked(), out_.highest());
    return {};
}

Result<void> ResumableLink::install(Lane& lane, const Wire& wire, std::uint64_t theirs, std::uint64_t ours) {
    BLANKET_CHECK(check_taken(theirs));
    if (theirs > out_.acked()) out_.acknowledge(theirs);
    if (!live()) {
        last_again_ = out_.again_due();
        last_lost_ = std::max<Clock::duration>(Clock::now() - lost_since_, 0ms);
        lost_ += last_lost_;
    }
    lane.told = ours;
    lane.told_ahead = 0;
    lane.refused = false;
    lane.pinged = lane.told_at = lane.heard = lane.stood = Clock::now();
    if (many()) wire->one_of(static_cast<unsigned>(lanes_.size()), kMostFrame);
    if (const auto path = wire->path()) congestion_ = path->congestion;
    lane.wire = wire;
    changed_.notify_all();
    return {};
}

// How much may be on its way. By the kernels' word for the time there and back, as the peer's own time to take it is not to be made up for by sending more.
void ResumableLink::measure(std::uint64_t acknowledged) {
    measured_bytes_ += acknowledged;
    const auto now = Clock::now();
    const auto span = std::chrono::duration_cast<std::chrono::microseconds>(now - measured_);
    if (!many() || span < kMeasure) return;
    rtt_ = 0ms;
    for (const auto& lane : lanes_)
        if (const auto path = lane->wire ? lane->wire->path() : std::nullopt) rtt_ = std::max(rtt_, std::chrono::microseconds(path->rtt_us));
    const auto trip = static_cast<double>((rtt_ + kAckWay).count()) / static_cast<double>(span.count());
    const auto taken = static_cast<std::uint64_t>(2 * static_cast<double>(measured_bytes_) * trip);
    if (rtt_ > 0ms) window_ = std::min({options_.sizes.replay, kLinkWindow, std::max(kLeastWindow, taken)});
    measured_bytes_ = 0;
    measured_ = now;
}

// Gives what is to be sent to the connections that wait for something: first to the one with the least on its way. Where nothing is due, what lags goes to one that has little.
void ResumableLink::deal() {
    for (bool dealt = false; !end_; dealt = true) {
        if (out_.empty()) return;
        Clock::time_point heard{};
        for (const auto& lane : lanes_)
            if (lane->wire) heard = std::max(heard, lane->heard);
        Lane* to = nullptr;
        std::uint64_t number = out_.due(), least = 0;
        std::uint32_t lagging = 0, spare = 0;
        for (const auto& lane : lanes_) {
            if (!lane->wire) continue;
            const bool waits = lane->idle && !lane->given, silent = lane->heard + kLag < heard;
            const std::uint64_t backlog = many() ? lane->wire->backlog() : 0, load = backlog + (silent ? kLittleOnItsWay : 0);
            if (!waits || silent || backlog > 0) lagging |= 1u << lane->index;
            if (waits && !silent && backlog == 0) spare |= 1u << lane->index;
            if (waits && (to == nullptr || load < least)) to = lane.get(), least = load;
        }
        for (const auto& lane : lanes_) {
            if (number != 0 || !many() || (spare >> lane->index & 1) == 0) continue;
            number = out_.late(lane->index, Clock::now() - stall(), lagging, peer_ahead_);
            to = lane.get();
        }
        if (to == nullptr || number == 0) {
            if (dealt) changed_.notify_all();
            return;
        }
        to->given = out_.give(number, to->index, Clock::now());
    }
}

}  // namespace blanket::migrate
