// SPDX-License-Identifier: GPL-2.0-or-later
// A PeerLink that outlives its connections, of which it may have several at once (lanes). Messages are numbered; what the peer has not acknowledged is kept, and sent
// again over another connection; what comes twice is dropped. Used by daemon/ (link_session.hpp agrees on such a link); Source and Target do not notice.
//
//   frame of a message = its type, payload: number u64 LE (from 1, one by one in each direction), the message's own payload
//   kLinkAck           = number u64 LE: everything up to it has been taken. Also every Times::ping without need, as a sign of life
//   kLinkBye           = the session is over, no payload
// Of several connections also:
//   kLinkPart          = as a message: its payload goes before that of the next number. So a frame carries kLinkPiece bytes at most
//   kLinkAck           = and after it, u64 LE: the lowest number that has come ahead of a missing one, or has no room yet; 0: none
//
// A frame goes to the connection that takes more and has the least on its way. A connection that is lost costs what it carried, which the others send again while it is made
// anew. A frame that the peer lacks after four round trips, and whose connection lags (not all of it has reached the peer's host, or nothing comes over it while something
// comes over others), is sent over another one too that has nothing to do: so the last pages of a guest that stands still do not wait for a connection that is slow, or dead
// and not known to be.
//
// One end dials again (it has `again`), the other is given the new connection (adopt). A connection counts as lost when it breaks, or when nothing has come
// for Times::silence although this end reads. The link is lost without any. Deadlines of receive() stand still meanwhile: the patience bounds the wait instead. A peer that
// skips a number (of several connections: goes beyond the window), sends two different frames of one, acknowledges what was not sent or says that it took less than it
// had acknowledged ends the session (kInvalid).
//
// Memory: unacknowledged messages up to Sizes::replay (send() waits beyond), messages that nobody has received yet up to Sizes::inbox (then nothing more is
// read); either may be exceeded by one message. Of several connections also what link_inbox.hpp says; and the sender keeps no more on its way than twice what the path
// takes in a round trip, or 8 MiB: else a target that is slower than the path would have all of kLinkWindow before it when the guest stops.
// Threads: as PeerLink says; two of its own for each connection.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/link_inbox.hpp"
#include "toolstack/migrate/link_outbox.hpp"

namespace blanket::migrate {

inline constexpr std::chrono::seconds kDefaultPatience{90}, kMostPatience{3600};
inline constexpr unsigned kDefaultStreams = 4;

struct LinkTimes {
    std::chrono::milliseconds patience = kDefaultPatience;  // without a connection; then the session is over
    std::chrono::milliseconds urgent = std::chrono::seconds(10);  // the same while a guest stands still
    std::chrono::milliseconds silence = std::chrono::seconds(6);
    std::chrono::milliseconds ping = std::chrono::milliseconds(1500);
    std::chrono::milliseconds retry = std::chrono::milliseconds(500);  // between two tries to connect
    std::chrono::milliseconds linger = std::chrono::seconds(10);       // at the end, for the last acknowledgement
    std::chrono::milliseconds stall = std::chrono::milliseconds(250);  // before a frame is sent over a second connection: at least; at most eight times as long
};

struct LinkSizes {
    std::uint64_t replay = kLinkWindow, inbox = 4u << 20;  // bytes
    std::uint64_t unsent = 64u << 10;                      // bytes that send() leaves behind at most: more would be sent only after the guest has stopped
    std::uint64_t cuts = 1000;                             // of all connections at once; a session with more is over
};

// The link is lost, or (lost_ms < 0) there again.
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
        unsigned streams = 1;  // connections, 1 to kMostStreams: as agreed with the peer
        // Connects the stream of this index (from 0) and tells the peer the last number taken here. An error: is tried again. Called by a thread of the link, one at a time. Empty:
        // the peer connects.
        std::function<Result<Again>(unsigned stream, std::uint64_t taken)> again = {};
        // Asked about once a second while send() or receive() waits for a lost link, in that call's thread and not while urgent: true ends the session.
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
    [[nodiscard]] unsigned connections() const;  // that stand now

    // The peer has connected this stream anew and says the last number that it has taken; `answer` tells it ours. The stream's connection that was there before is given up.
    // Returns when the new one has ended too. After an error before `answer` was called the connection is still the caller's.
    Result<void> adopt(std::unique_ptr<PeerLink>& link, std::uint64_t stream, std::uint64_t taken, const std::function<Result<void>(PeerLink&, std::uint64_t taken)>& answer);

private:
    using Clock = std::chrono::steady_clock;
    using Lock = std::unique_lock<std::mutex>;
    struct Lane {
        explicit Lane(unsigned number) : index(number) {}
        const unsigned index;
        std::shared_ptr<PeerLink> wire;         // null: lost, or not there yet
        std::optional<LinkOutbox::Frame> given;  // its writer's next
        bool idle = false;                      // its writer waits for one
        bool refused = false;                   // the peer wants no such connection; for as long as there is another one
        Clock::time_point stood{}, next_dial{};  // since when it stands or stood; one that broke soon is not made anew before that, as long as there is another one
        Clock::duration pause{};
        bool bye_due = false, bye_wanted = false;
        std::uint64_t told = 0, told_ahead = 0;  // what was taken and what is held ahead, as the peer was told over it
        Clock::time_point told_at{}, pinged{}, heard{};
        std::jthread reader, writer;
    };
    using Wire = std::shared_ptr<PeerLink>;
    void read_all(Lane& lane);
    void write_all(Lane& lane);
    void read_connection(Lock& lock, Lane& lane, const Wire& wire);
    Result<void> take(Lane& lane, const Wire& wire, Message message);
    Result<void> take_ack(const std::vector<std::byte>& payload);
    Result<void> check_taken(std::uint64_t number) const;
    void measure(std::uint64_t acknowledged);
    void connect_again(Lock& lock, Lane& lane);
    void tell_taken(Lock& lock, Lane& lane, const Wire& wire);
    void write_given(Lock& lock, Lane& lane, const Wire& wire);
    void part(Lock& lock, Lane& lane);
    Result<void> install(Lane& lane, const Wire& wire, std::uint64_t theirs, std::uint64_t ours);
    void lose(Lane& lane, const Wire& wire, const std::string& why, Clock::time_point since);
    void deal();
    [[nodiscard]] bool must_tell(const Lane& lane, Clock::time_point now) const;
    [[nodiscard]] Clock::time_point next_look(const Lane& lane) const;
    void end(Error error, bool tell_peer);
    void give_up_if_late();
    void wait(Lock& lock, Clock::duration most, Clock::time_point& asked);
    void tell(Lock& lock, const LinkLoss& loss);
    [[nodiscard]] LinkLoss loss() const;
    [[nodiscard]] bool many() const { return lanes_.size() > 1; }
    [[nodiscard]] bool live() const;
    [[nodiscard]] std::uint64_t ahead() const { return many() ? inbox_.ahead() : 0; }
    [[nodiscard]] Clock::duration stall() const { return std::clamp<Clock::duration>(4 * rtt_, options_.times.stall, 8 * options_.times.stall); }
    [[nodiscard]] Clock::time_point waiting_since() const { return urgent_ ? std::max(lost_since_, urgent_since_) : lost_since_; }
    [[nodiscard]] Clock::duration patience() const { return urgent_ ? std::min(options_.times.urgent, options_.times.patience) : options_.times.patience; }

    const Options options_;
    const std::string peer_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::optional<Error> end_;  // the session is over
    // Outgoing.
    LinkOutbox out_;
    std::uint64_t window_;             // bytes that may be unacknowledged
    std::uint64_t peer_ahead_ = 0;     // what the peer last said that it holds ahead
    std::uint64_t measured_bytes_ = 0; // acknowledged since measured_
    Clock::time_point measured_ = Clock::now();
    std::chrono::microseconds rtt_{0};  // the longest of the connections'; 0: not known
    // Incoming.
    LinkInbox inbox_;
    const Lane* heard_ = nullptr;  // the last message's frame came over this one: acknowledgements go back by it
    // Losses.
    bool urgent_ = false, dialling_ = false;
    Clock::time_point lost_since_{}, urgent_since_{};
    std::string lost_why_, congestion_;
    std::uint64_t cuts_ = 0, losses_ = 0;  // connections; the whole link
    std::uint64_t last_again_ = 0, sent_before_ = 0, received_before_ = 0;
    Clock::duration lost_{}, last_lost_{};
    std::mutex adopting_;
};

}  // namespace blanket::migrate
