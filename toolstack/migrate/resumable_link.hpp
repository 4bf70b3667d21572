// SPDX-License-Identifier: GPL-2.0-or-later
// A PeerLink that outlives its connections. Messages are numbered; what the peer has not acknowledged is kept, and sent again over the next connection; what
// comes twice is dropped. Used by daemon/ (link_session.hpp agrees on such a link); Source and Target do not notice.
//
//   frame of a message = its type, payload: number u64 LE (from 1, one by one in each direction), the message's own payload
//   kLinkAck           = number u64 LE: everything up to it has been taken. Also every Times::ping without need, as a sign of life
//   kLinkBye           = the session is over, no payload
//
// One end dials again (it has `again`), the other is given the new connection (adopt). A connection counts as lost when it breaks, or when nothing has come
// for Times::silence although this end reads. Deadlines of receive() stand still meanwhile: the patience bounds the wait instead. A peer that skips a
// number, acknowledges what was not sent or says that it took less than it had acknowledged ends the session (kInvalid).
//
// Memory: unacknowledged messages up to Sizes::replay (send() waits beyond), messages that nobody has received yet up to Sizes::inbox (then nothing more is
// read); either may be exceeded by one message. Threads: as PeerLink says; two of its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "toolstack/core/ports.hpp"

namespace blanket::migrate {

inline constexpr std::uint32_t kLinkAck = 0xffff0001u, kLinkBye = 0xffff0002u;
inline constexpr std::chrono::seconds kDefaultPatience{90}, kMostPatience{3600};

struct LinkTimes {
    std::chrono::milliseconds patience = kDefaultPatience;  // without a connection; then the session is over
    std::chrono::milliseconds urgent = std::chrono::seconds(10);  // the same while a guest stands still
    std::chrono::milliseconds silence = std::chrono::seconds(6);
    std::chrono::milliseconds ping = std::chrono::milliseconds(1500);
    std::chrono::milliseconds retry = std::chrono::milliseconds(500);  // between two tries to connect
    std::chrono::milliseconds linger = std::chrono::seconds(10);       // at the end, for the last acknowledgement
};

struct LinkSizes {
    std::uint64_t replay = 32u << 20, inbox = 4u << 20;  // bytes
    std::uint64_t unsent = 64u << 10;                    // bytes that send() leaves behind at most: more would be sent only after the guest has stopped
    std::uint64_t cuts = 1000;                           // a session with more is over
};

// The connection is lost, or (lost_ms < 0) there again.
struct LinkLoss {
    std::int64_t lost_ms = 0, patience_ms = 0;
    std::string why;
    std::int64_t was_ms = 0;        // there again: so long it was lost
    std::uint64_t again_bytes = 0;  // there again: so much of what had been sent is sent once more
};

class ResumableLink final : public PeerLink {
public:
    struct Again {
        std::unique_ptr<PeerLink> link;
        std::uint64_t taken = 0;       // the last number that the peer has taken
        std::optional<Error> refused;  // it does not know the session, or no longer wants it: no further try
    };
    struct Options {
        LinkTimes times = {};
        LinkSizes sizes = {};
        // Connects anew and tells the peer the last number taken here. An error: is tried again. Called by a thread of the link. Empty: the peer connects.
        std::function<Result<Again>(std::uint64_t taken)> again = {};
        // Asked about once a second while send() or receive() waits for a lost connection, in that call's thread and not while urgent: true ends the session.
        std::function<bool()> ended = {};
        // Told by a thread of the link: at the loss, about every second, and at the end of it.
        std::function<void(const LinkLoss&)> lost = {};
    };
    ResumableLink(std::unique_ptr<PeerLink> first, Options options);
    ~ResumableLink() override;  // close()
    ResumableLink(const ResumableLink&) = delete;
    ResumableLink& operator=(const ResumableLink&) = delete;

    // Without a connection the end that makes it anew waits for it, so that it does not go on to stop its guest; the other one, and while urgent, only with
    // more than Sizes::unsent: what a target tells of its commit must not wait.
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override;
    Result<Message> receive(std::chrono::milliseconds deadline) override;
    std::uint64_t bytes_sent() const override;
    std::uint64_t bytes_received() const override;
    const std::string& peer() const override { return peer_; }
    void shutdown() override;  // the peer is told, if it can be
    void close();              // the same, once the peer has taken what was sent, or after LinkTimes::linger. What comes meanwhile is dropped: nobody receives any more
    void urgent(bool on) override;
    std::optional<LinkHealth> health() const override;

    // The peer has connected anew and says the last number that it has taken; `answer` tells it ours. The connection that was there before is given up.
    // Returns when the new one has ended too. After an error before `answer` was called the connection is still the caller's.
    Result<void> adopt(std::unique_ptr<PeerLink>& link, std::uint64_t taken, const std::function<Result<void>(PeerLink&, std::uint64_t taken)>& answer);

private:
    using Clock = std::chrono::steady_clock;
    using Lock = std::unique_lock<std::mutex>;
    struct Out {
        std::uint32_t type = 0;
        std::shared_ptr<const std::vector<std::byte>> frame;
    };
    void read_all();
    void write_all();
    void read_connection(Lock& lock, const std::shared_ptr<PeerLink>& wire);
    Result<void> take(Lock& lock, const std::shared_ptr<PeerLink>& wire, Message message);
    Result<void> take_ack(std::uint64_t number);
    void connect_again(Lock& lock);
    void write_next(Lock& lock, const std::shared_ptr<PeerLink>& wire);
    void part(Lock& lock);
    Result<void> install(const std::shared_ptr<PeerLink>& wire, std::uint64_t taken);
    void lose(const std::shared_ptr<PeerLink>& wire, const std::string& why, Clock::time_point since);
    void end(Error error, bool tell_peer);
    void give_up_if_late();
    void wait(Lock& lock, Clock::duration most, Clock::time_point& asked);
    void tell(Lock& lock, const LinkLoss& loss);
    void forget_to(std::uint64_t number);
    void mark_written(std::uint64_t number);
    [[nodiscard]] LinkLoss loss() const;
    [[nodiscard]] Clock::time_point waiting_since() const { return urgent_ ? std::max(lost_since_, urgent_since_) : lost_since_; }
    [[nodiscard]] Clock::duration patience() const { return urgent_ ? std::min(options_.times.urgent, options_.times.patience) : options_.times.patience; }
    [[nodiscard]] std::uint64_t queued() const { return acked_ + out_.size(); }

    const Options options_;
    const std::string peer_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::shared_ptr<PeerLink> wire_;  // null: lost
    std::optional<Error> end_;        // the session is over
    bool bye_due_ = false, bye_wanted_ = false, closing_ = false;
    // Outgoing: out_ holds the numbers acked_ + 1 ... queued().
    std::deque<Out> out_;
    std::uint64_t out_bytes_ = 0, unsent_bytes_ = 0, acked_ = 0;
    std::uint64_t next_ = 1, highest_ = 0, written_ = 0;  // to be written next; ever given to a connection; ever taken whole by one
    // Incoming.
    std::deque<Message> inbox_;
    std::uint64_t inbox_bytes_ = 0, taken_ = 0, told_ = 0;  // taken_: the last number; told_: as acknowledged
    Clock::time_point pinged_{};
    // Losses.
    bool urgent_ = false;
    Clock::time_point lost_since_{}, urgent_since_{};
    std::string lost_why_;
    std::uint64_t cuts_ = 0, again_bytes_ = 0, last_again_ = 0, sent_before_ = 0, received_before_ = 0;
    Clock::duration lost_{}, last_lost_{};
    std::mutex adopting_;
    std::jthread reader_, writer_;
};

}  // namespace blanket::migrate
