// SPDX-License-Identifier: GPL-2.0-or-later
// The threads of a ResumableLink: of each connection one reads and connects again, the other sends. The first one's also tells of losses.
#include <array>

#include "toolstack/migrate/resumable_link.hpp"

namespace blanket::migrate {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::milliseconds kReadSlice = 500ms, kTell = 1s;
constexpr std::chrono::milliseconds kPart = 3s;        // at the end; used up only where the writer is late or the peer is silent
constexpr std::chrono::milliseconds kTellOthers = 50ms;  // an acknowledgement goes out over the other connections too: the one that it went by first may be dead

std::int64_t whole_ms(std::chrono::steady_clock::duration time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time).count(); }

}  // namespace

// ---------------------------------------------------------------- reading
void ResumableLink::read_all(Lane& lane) {
    Lock lock(mutex_);
    while (!end_) {
        if (const auto wire = lane.wire) read_connection(lock, lane, wire);
        else if (options_.again) connect_again(lock, lane);
        else changed_.wait_for(lock, kReadSlice);
        give_up_if_late();
    }
    part(lock, lane);
}

void ResumableLink::read_connection(Lock& lock, Lane& lane, const Wire& wire) {
    const auto slice = std::clamp<std::chrono::milliseconds>(options_.times.silence / 8, 1ms, kReadSlice);
    auto heard = Clock::now();
    for (auto bytes = wire->bytes_received(); !end_ && lane.wire == wire;) {
        if (inbox_.full()) {
            changed_.wait(lock);
            heard = Clock::now();  // not before: while nobody takes messages here, nothing is read
            continue;
        }
        lock.unlock();
        auto message = wire->receive(slice);
        lock.lock();
        if (message) {
            if (auto done = take(lane, wire, std::move(*message)); !done) end(std::move(done).error(), true);
            heard = lane.heard = Clock::now();
        } else if (message.error().kind == Kind::kInvalid) {
            end(std::move(message).error(), false);
        } else if (message.error().kind != Kind::kTimeout) {
            lose(lane, wire, message.error().what, Clock::now());
        } else if (const auto now = wire->bytes_received(); now != bytes) {
            bytes = now;
            heard = Clock::now();
        } else if (Clock::now() - heard >= options_.times.silence) {
            lose(lane, wire, std::format("nothing has come for {} s", static_cast<double>(whole_ms(Clock::now() - heard) / 100) / 10), heard);
        }
    }
}

Result<void> ResumableLink::take(Lane& lane, const Wire& wire, Message message) {
    if (lane.wire != wire || end_) return {};
    if (message.type == kLinkBye) {
        end({Kind::kIo, "closed by the peer", {}}, false);
        return {};
    }
    if (message.type == kLinkAck) return take_ack(message.payload);
    const auto before = inbox_.taken();
    if (auto taken = inbox_.take(std::move(message)); !taken) return std::unexpected(Error(taken.error()).context(std::format("site '{}'", peer_)));
    heard_ = &lane;
    if (inbox_.taken() != before || many()) changed_.notify_all();
    return {};
}

Result<void> ResumableLink::take_ack(const std::vector<std::byte>& payload) {
    if (payload.size() != (many() ? 2 * kLinkNumber : kLinkNumber)) return fail(Kind::kInvalid, "site '{}' sent an acknowledgement of {} bytes", peer_, payload.size());
    const std::uint64_t number = link_number(payload), ahead = many() ? link_number(std::span(payload).subspan(kLinkNumber)) : 0;
    BLANKET_CHECK(check_taken(number));
    if (number > out_.acked()) {
        measure(out_.acknowledge(number));
        peer_ahead_ = ahead;
        changed_.notify_all();
    } else if (number == out_.acked() && ahead != 0) {
        peer_ahead_ = peer_ahead_ == 0 ? ahead : std::min(peer_ahead_, ahead);
    }
    return {};
}

// One connection at a time: where the whole link is lost, the first one that stands is what is waited for. While a guest stands still those that stand have to do.
void ResumableLink::connect_again(Lock& lock, Lane& lane) {
    if (dialling_ || (live() && (urgent_ || lane.refused || Clock::now() < lane.next_dial))) {
        changed_.wait_for(lock, options_.times.retry);
        return;
    }
    const std::uint64_t taken = inbox_.taken();
    dialling_ = true;
    lock.unlock();
    auto again = options_.again(lane.index, taken);
    lock.lock();
    if (!end_ && !again) {
        if (!live()) lost_why_ = again.error().what;
        changed_.wait_for(lock, options_.times.retry, [&] { return end_.has_value(); });
    }
    dialling_ = false;
    changed_.notify_all();
    if (end_ || !again) return;
    if (again->refused && live()) {
        lane.refused = true;
    } else if (again->refused) {
        end({Kind::kIo, std::format("the link to site '{}' was lost, and cannot be taken up again: {}", peer_, again->refused->what), again->refused->hint}, false);
    } else if (auto installed = install(lane, std::move(again->link), again->taken, taken); !installed) {
        end(std::move(installed).error(), false);
    }
}

Result<void> ResumableLink::adopt(std::unique_ptr<PeerLink>& link, std::uint64_t stream, std::uint64_t taken, const std::function<Result<void>(PeerLink&, std::uint64_t)>& answer) {
    if (stream >= lanes_.size()) return fail(Kind::kInvalid, "site '{}' connects stream {} of {}", peer_, stream, lanes_.size());
    Lane& lane = *lanes_[stream];
    Wire wire;
    Lock lock(mutex_, std::defer_lock);
    {
        const std::scoped_lock one(adopting_);
        lock.lock();
        if (end_) return std::unexpected(*end_);
        BLANKET_CHECK(check_taken(taken));  // before the present connection is given up for it
        if (lane.wire) lose(lane, lane.wire, "the peer connected anew", Clock::now());
        if (end_) return std::unexpected(*end_);
        const std::uint64_t own = inbox_.taken();
        wire = std::move(link);
        lock.unlock();
        BLANKET_CHECK(answer(*wire, own));
        lock.lock();
        if (end_) return std::unexpected(*end_);
        BLANKET_CHECK(install(lane, wire, taken, own));
    }
    changed_.wait(lock, [&] { return end_ || lane.wire != wire; });
    return {};
}

// The end of the last connection: the goodbye is written (by the writer), and the peer's end awaited, so that it is not cut off.
void ResumableLink::part(Lock& lock, Lane& lane) {
    const auto until = Clock::now() + kPart;
    changed_.wait_until(lock, until, [&] { return !lane.bye_due; });
    const auto wire = std::exchange(lane.wire, nullptr);
    changed_.notify_all();
    if (!wire) return;
    sent_before_ += wire->bytes_sent();
    received_before_ += wire->bytes_received();
    const bool said = lane.bye_wanted;
    lock.unlock();
    while (said && Clock::now() < until) {
        const auto rest = wire->receive(std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()));
        if (!rest || rest->type == kLinkBye) break;
    }
    wire->shutdown();
    lock.lock();
}

// ---------------------------------------------------------------- writing
void ResumableLink::write_all(Lane& lane) {
    Lock lock(mutex_);
    const bool teller = lane.index == 0;
    for (std::uint64_t losses = 0; !end_;) {
        const auto wire = lane.wire;
        if (teller && !live()) {
            give_up_if_late();
            if (end_) break;
            tell(lock, loss());
            changed_.wait_for(lock, kTell, [&] { return live() || end_; });
        } else if (teller && losses != losses_) {
            losses = losses_;
            tell(lock, {.lost_ms = -1, .why = {}, .was_ms = whole_ms(last_lost_), .again_bytes = last_again_});
        } else if (!wire) {
            changed_.wait_for(lock, kTell);
        } else if (must_tell(lane, Clock::now())) {
            tell_taken(lock, lane, wire);
        } else if (lane.given) {
            write_given(lock, lane, wire);
        } else {
            lane.idle = true;
            deal();
            if (!lane.given) changed_.wait_until(lock, next_look(lane));
            lane.idle = false;
        }
    }
    if (const auto wire = lane.wire; wire && lane.bye_due) {
        lock.unlock();
        (void)wire->send(kLinkBye, {});
        lock.lock();
    }
    lane.bye_due = false;
    changed_.notify_all();
}

bool ResumableLink::must_tell(const Lane& lane, Clock::time_point now) const {
    const bool news = inbox_.taken() != lane.told || ahead() != lane.told_ahead;
    if (news && (!many() || heard_ == &lane || now - lane.told_at >= kTellOthers)) return true;
    return !lane.given && now - lane.pinged >= options_.times.ping;
}

ResumableLink::Clock::time_point ResumableLink::next_look(const Lane& lane) const {
    auto next = lane.pinged + options_.times.ping;
    if (inbox_.taken() != lane.told || ahead() != lane.told_ahead) next = std::min(next, lane.told_at + kTellOthers);
    if (many() && !out_.empty()) next = std::min(next, Clock::now() + stall() / 4);
    return next;
}

void ResumableLink::tell_taken(Lock& lock, Lane& lane, const Wire& wire) {
    std::array<std::byte, 2 * kLinkNumber> ack{};
    lane.told = inbox_.taken();
    lane.told_ahead = ahead();
    put_link_number(ack.data(), lane.told);
    put_link_number(ack.data() + kLinkNumber, lane.told_ahead);
    lock.unlock();
    const auto sent = wire->send(kLinkAck, std::span(ack).first(many() ? 2 * kLinkNumber : kLinkNumber));
    lock.lock();
    lane.pinged = lane.told_at = Clock::now();
    if (!sent) lose(lane, wire, sent.error().what, lane.pinged);
}

void ResumableLink::write_given(Lock& lock, Lane& lane, const Wire& wire) {
    const LinkOutbox::Frame frame = *std::exchange(lane.given, std::nullopt);
    lock.unlock();
    const auto sent = wire->send(frame.type, *frame.bytes);
    lock.lock();
    lane.pinged = Clock::now();
    if (!sent) {
        lose(lane, wire, sent.error().what, lane.pinged);
        return;
    }
    out_.written(frame.number);
    changed_.notify_all();
}

void ResumableLink::tell(Lock& lock, const LinkLoss& loss) {
    if (!options_.lost) return;
    lock.unlock();
    options_.lost(loss);
    lock.lock();
}

}  // namespace blanket::migrate
