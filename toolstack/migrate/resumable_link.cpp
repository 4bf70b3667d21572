// SPDX-License-Identifier: GPL-2.0-or-later
// See resumable_link.hpp. The reader's thread reads and connects again, the writer's sends and tells of losses; the mutex is never held while a connection
// sends or receives (it is while one is asked for its counters, which waits for nothing), nor while one of the options' functions is called.
#include "toolstack/migrate/resumable_link.hpp"

#include <algorithm>
#include <array>

namespace blanket::migrate {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t kNumber = 8;
constexpr std::size_t kMostMessage = (8u << 20) - kNumber;  // what a channel's frame holds
constexpr std::uint32_t kFirstOwnType = 0xffff0000u;
constexpr std::chrono::milliseconds kSlice = 500ms, kTell = 1s, kAsk = 1s;
constexpr std::chrono::milliseconds kPart = 3s;  // at the end; used up only where the writer is late or the peer is silent

void put_number(std::byte* out, std::uint64_t value) {
    for (unsigned i = 0; i < kNumber; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint64_t number_of(const std::vector<std::byte>& payload) {  // of at least 8 bytes
    std::uint64_t value = 0;
    for (unsigned i = 0; i < kNumber; ++i) value |= std::to_integer<std::uint64_t>(payload[i]) << (8 * i);
    return value;
}

std::int64_t whole_ms(std::chrono::steady_clock::duration time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time).count(); }

}  // namespace

ResumableLink::ResumableLink(std::unique_ptr<PeerLink> first, Options options) : options_(std::move(options)), peer_(first->peer()), wire_(std::move(first)), pinged_(Clock::now()) {
    reader_ = std::jthread([this] { read_all(); });
    writer_ = std::jthread([this] { write_all(); });
}

ResumableLink::~ResumableLink() {
    close();
    reader_.join();
    writer_.join();
}

void ResumableLink::close() {
    Lock lock(mutex_);
    changed_.wait_for(lock, options_.times.linger, [&] { return end_ || out_.empty(); });
    end({Kind::kCancelled, "the link was closed", {}}, true);
}

// ---------------------------------------------------------------- what the user calls
Result<void> ResumableLink::send(std::uint32_t type, std::span<const std::byte> payload) {
    if (type >= kFirstOwnType || payload.size() > kMostMessage) return fail(Kind::kInvalid, "a message of type {} and {} bytes cannot be sent", type, payload.size());
    auto frame = std::make_shared<std::vector<std::byte>>(kNumber + payload.size());
    std::ranges::copy(payload, frame->begin() + kNumber);
    Lock lock(mutex_);
    auto asked = Clock::now();
    while (!end_ && !out_.empty() && out_bytes_ + frame->size() > options_.sizes.replay) wait(lock, kSlice, asked);
    if (end_) return std::unexpected(*end_);
    const std::uint64_t number = queued() + 1;
    put_number(frame->data(), number);
    out_bytes_ += frame->size();
    unsent_bytes_ += frame->size();
    out_.push_back({type, std::move(frame)});
    changed_.notify_all();
    while (!end_ && written_ < number && (unsent_bytes_ > options_.sizes.unsent || (!wire_ && options_.again && !urgent_))) wait(lock, kSlice, asked);
    if (end_ && written_ < number) return std::unexpected(*end_);
    return {};
}

Result<Message> ResumableLink::receive(std::chrono::milliseconds deadline) {
    Lock lock(mutex_);
    Clock::duration left = deadline;
    for (auto asked = Clock::now();;) {
        if (!inbox_.empty()) {
            Message message = std::move(inbox_.front());
            inbox_.pop_front();
            inbox_bytes_ -= message.payload.size();
            changed_.notify_all();
            return message;
        }
        if (end_) return std::unexpected(*end_);
        if (left <= 0ms) return fail(Kind::kTimeout, "nothing came in time");
        const bool linked = wire_ != nullptr;
        const auto before = Clock::now();
        wait(lock, std::min<Clock::duration>(left, kSlice), asked);
        if (linked || deadline <= 0ms) left -= Clock::now() - before;
    }
}

// A moment's wait. Without a connection somebody may know that there is nothing to wait for.
void ResumableLink::wait(Lock& lock, Clock::duration most, Clock::time_point& asked) {
    changed_.wait_for(lock, most);
    if (wire_ || end_) return;
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
    return sent_before_ + (wire_ ? wire_->bytes_sent() : 0);
}

std::uint64_t ResumableLink::bytes_received() const {
    const std::scoped_lock lock(mutex_);
    return received_before_ + (wire_ ? wire_->bytes_received() : 0);
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
    const auto now_lost = wire_ || end_ ? Clock::duration{} : Clock::now() - lost_since_;
    return LinkHealth{.cuts = cuts_, .lost_ms = whole_ms(lost_ + now_lost), .again_bytes = again_bytes_};
}

// ---------------------------------------------------------------- state, under the mutex
void ResumableLink::end(Error error, bool tell_peer) {
    if (end_) return;
    end_ = std::move(error);
    bye_due_ = bye_wanted_ = tell_peer && wire_;
    changed_.notify_all();
}

void ResumableLink::lose(const std::shared_ptr<PeerLink>& wire, const std::string& why, Clock::time_point since) {
    if (wire_ != wire) return;
    sent_before_ += wire->bytes_sent();
    received_before_ += wire->bytes_received();
    wire->shutdown();
    wire_.reset();
    lost_since_ = since;
    lost_why_ = why;
    bye_due_ = false;
    if (++cuts_ > options_.sizes.cuts) end({Kind::kIo, std::format("the link to site '{}' was lost {} times", peer_, cuts_), "check the network between the sites"}, false);
    changed_.notify_all();
}

LinkLoss ResumableLink::loss() const {
    return {.lost_ms = whole_ms(Clock::now() - waiting_since()), .patience_ms = whole_ms(patience()), .why = lost_why_};
}

void ResumableLink::give_up_if_late() {
    if (wire_ || end_ || Clock::now() - waiting_since() < patience()) return;
    end({Kind::kIo, std::format("the link to site '{}' has been lost for {} s: {}", peer_, whole_ms(Clock::now() - lost_since_) / 1000, lost_why_), "check the network between the sites"}, false);
}

void ResumableLink::mark_written(std::uint64_t number) {
    for (; written_ < number; ++written_) unsent_bytes_ -= out_[static_cast<std::size_t>(written_ - acked_)].frame->size();
}

// The peer has these: they need not be kept.
void ResumableLink::forget_to(std::uint64_t number) {
    mark_written(number);
    for (; acked_ < number; ++acked_) {
        out_bytes_ -= out_.front().frame->size();
        out_.pop_front();
    }
    changed_.notify_all();
}

Result<void> ResumableLink::install(const std::shared_ptr<PeerLink>& wire, std::uint64_t taken) {
    if (taken < acked_ || taken > highest_)
        return fail(Kind::kInvalid, "site '{}' says that it has taken {} messages; it had acknowledged {}, and {} were sent", peer_, taken, acked_, highest_);
    forget_to(taken);
    next_ = taken + 1;
    last_again_ = 0;
    for (std::uint64_t number = next_; number <= highest_; ++number) last_again_ += out_[static_cast<std::size_t>(number - acked_ - 1)].frame->size();
    told_ = taken_;
    last_lost_ = std::max<Clock::duration>(Clock::now() - lost_since_, 0ms);
    lost_ += last_lost_;
    pinged_ = Clock::now();
    wire_ = wire;
    changed_.notify_all();
    return {};
}

// ---------------------------------------------------------------- reading
void ResumableLink::read_all() {
    Lock lock(mutex_);
    while (!end_) {
        if (const auto wire = wire_) read_connection(lock, wire);
        else if (options_.again) connect_again(lock);
        else changed_.wait_for(lock, kSlice);
        give_up_if_late();
    }
    part(lock);
}

void ResumableLink::read_connection(Lock& lock, const std::shared_ptr<PeerLink>& wire) {
    const auto slice = std::clamp<std::chrono::milliseconds>(options_.times.silence / 8, 1ms, kSlice);
    auto heard = Clock::now();
    for (auto bytes = wire->bytes_received(); !end_ && wire_ == wire;) {
        lock.unlock();
        auto message = wire->receive(slice);
        lock.lock();
        if (message) {
            if (auto done = take(lock, wire, std::move(*message)); !done) end(std::move(done).error(), true);
            heard = Clock::now();  // not before: while nobody takes messages here, nothing is read
        } else if (message.error().kind == Kind::kInvalid) {
            end(std::move(message).error(), false);
        } else if (message.error().kind != Kind::kTimeout) {
            lose(wire, message.error().what, Clock::now());
        } else if (const auto now = wire->bytes_received(); now != bytes) {
            bytes = now;
            heard = Clock::now();
        } else if (Clock::now() - heard >= options_.times.silence) {
            lose(wire, std::format("nothing has come for {} s", static_cast<double>(whole_ms(Clock::now() - heard) / 100) / 10), heard);
        }
    }
}

Result<void> ResumableLink::take(Lock& lock, const std::shared_ptr<PeerLink>& wire, Message message) {
    if (wire_ != wire || end_) return {};
    if (message.type == kLinkBye) {
        end({Kind::kIo, "closed by the peer", {}}, false);
        return {};
    }
    if (message.payload.size() < kNumber || (message.type >= kFirstOwnType && (message.type != kLinkAck || message.payload.size() != kNumber)))
        return fail(Kind::kInvalid, "site '{}' sent a frame of type {} and {} bytes", peer_, message.type, message.payload.size());
    const std::uint64_t number = number_of(message.payload);
    if (message.type == kLinkAck) return take_ack(number);
    if (number <= taken_) return {};  // a second time
    if (number != taken_ + 1) return fail(Kind::kInvalid, "site '{}' sent message {} where {} was due", peer_, number, taken_ + 1);
    message.payload.erase(message.payload.begin(), message.payload.begin() + kNumber);
    while (!end_ && wire_ == wire && !inbox_.empty() && inbox_bytes_ + message.payload.size() > options_.sizes.inbox) changed_.wait(lock);
    if (end_ || wire_ != wire) return {};  // not taken: the peer sends it again
    taken_ = number;
    inbox_bytes_ += message.payload.size();
    inbox_.push_back(std::move(message));
    changed_.notify_all();
    return {};
}

Result<void> ResumableLink::take_ack(std::uint64_t number) {
    if (number < acked_ || number >= next_)
        return fail(Kind::kInvalid, "site '{}' acknowledged message {}; it had acknowledged {}, and {} were sent", peer_, number, acked_, next_ - 1);
    if (number > acked_) forget_to(number);
    return {};
}

void ResumableLink::connect_again(Lock& lock) {
    const std::uint64_t taken = taken_;  // stays so while there is no connection
    lock.unlock();
    auto again = options_.again(taken);
    lock.lock();
    if (end_) return;
    if (!again) {
        lost_why_ = again.error().what;
        changed_.wait_for(lock, options_.times.retry, [&] { return end_.has_value(); });
        return;
    }
    if (again->refused) {
        end({Kind::kIo, std::format("the link to site '{}' was lost, and cannot be taken up again: {}", peer_, again->refused->what), again->refused->hint}, false);
        return;
    }
    if (auto installed = install(std::move(again->link), again->taken); !installed) end(std::move(installed).error(), false);
}

Result<void> ResumableLink::adopt(std::unique_ptr<PeerLink>& link, std::uint64_t taken, const std::function<Result<void>(PeerLink&, std::uint64_t)>& answer) {
    std::shared_ptr<PeerLink> wire;
    Lock lock(mutex_, std::defer_lock);
    {
        const std::scoped_lock one(adopting_);
        lock.lock();
        if (end_) return std::unexpected(*end_);
        if (taken < acked_ || taken > highest_)  // before the present connection is given up for it
            return fail(Kind::kInvalid, "site '{}' says that it has taken {} messages; it had acknowledged {}, and {} were sent", peer_, taken, acked_, highest_);
        if (wire_) lose(wire_, "the peer connected anew", Clock::now());
        const std::uint64_t own = taken_;
        wire = std::move(link);
        lock.unlock();
        BLANKET_CHECK(answer(*wire, own));
        lock.lock();
        if (end_) return std::unexpected(*end_);
        BLANKET_CHECK(install(wire, taken));
    }
    changed_.wait(lock, [&] { return end_ || wire_ != wire; });
    return {};
}

// The end of the last connection: the goodbye is written (by the writer), and the peer's end awaited, so that it is not cut off.
void ResumableLink::part(Lock& lock) {
    const auto until = Clock::now() + kPart;
    changed_.wait_until(lock, until, [&] { return !bye_due_; });
    const auto wire = std::exchange(wire_, nullptr);
    changed_.notify_all();
    if (!wire) return;
    sent_before_ += wire->bytes_sent();
    received_before_ += wire->bytes_received();
    const bool said = bye_wanted_;
    lock.unlock();
    while (said && Clock::now() < until) {
        const auto rest = wire->receive(std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()));
        if (!rest || rest->type == kLinkBye) break;
    }
    wire->shutdown();
    lock.lock();
}

// ---------------------------------------------------------------- writing
void ResumableLink::write_all() {
    Lock lock(mutex_);
    for (std::uint64_t cuts = 0; !end_;) {
        if (!wire_) {
            give_up_if_late();
            if (end_) break;
            tell(lock, loss());
            changed_.wait_for(lock, kTell, [&] { return wire_ || end_; });
            continue;
        }
        if (cuts != cuts_) {
            cuts = cuts_;
            tell(lock, {.lost_ms = -1, .why = {}, .was_ms = whole_ms(last_lost_), .again_bytes = last_again_});
            continue;
        }
        const auto wire = wire_;
        const auto busy = [&] { return end_ || wire_ != wire || taken_ != told_ || next_ <= queued(); };
        if (changed_.wait_until(lock, pinged_ + options_.times.ping, busy); end_ || wire_ != wire) continue;
        write_next(lock, wire);
    }
    if (const auto wire = wire_; wire && bye_due_) {
        lock.unlock();
        (void)wire->send(kLinkBye, {});
        lock.lock();
    }
    bye_due_ = false;
    changed_.notify_all();
}

void ResumableLink::write_next(Lock& lock, const std::shared_ptr<PeerLink>& wire) {
    std::uint64_t number = 0;
    Result<void> sent;
    if (taken_ != told_ || next_ > queued()) {
        std::array<std::byte, kNumber> ack{};
        told_ = taken_;
        put_number(ack.data(), told_);
        lock.unlock();
        sent = wire->send(kLinkAck, ack);
    } else {
        number = next_++;
        const Out out = out_[static_cast<std::size_t>(number - acked_ - 1)];
        if (number <= highest_) again_bytes_ += out.frame->size();
        highest_ = std::max(highest_, number);
        lock.unlock();
        sent = wire->send(out.type, *out.frame);
    }
    lock.lock();
    pinged_ = Clock::now();
    if (!sent) {
        lose(wire, sent.error().what, pinged_);
        return;
    }
    if (number == 0) return;
    mark_written(std::max(number, written_));
    changed_.notify_all();
}

void ResumableLink::tell(Lock& lock, const LinkLoss& loss) {
    if (!options_.lost) return;
    lock.unlock();
    options_.lost(loss);
    lock.lock();
}

}  // namespace blanket::migrate
