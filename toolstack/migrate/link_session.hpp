// SPDX-License-Identifier: GPL-2.0-or-later
// How two sites agree on a link that outlives its connections, and find it again. Used by daemon/.
//
//   source                                                              target
//   kHello {version, session: {patience_ms, streams}}    ---------->    makes the session; streams: so many connections at once, at most; absent: 1
//                                                        <----------    kHello {version, session: {id, secret, streams}}, or kError; then both are a ResumableLink.
//                                                                       streams: so many are agreed, no more than wished; absent: 1
//   on another connection, after a loss, and to begin with for each stream but the first:
//   kResumeLink {id, secret, taken, stream}              ---------->    taken: the last message's number that the source has; stream: from 0, absent where 1 is agreed
//                                                        <----------    kLinkResumed {taken}, or kError: kUnavailable, try again; any other, never
//
// Every connection is authenticated by itself (mTLS); a session goes on only with the same site, and with the secret, which has been told to nobody else.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "toolstack/base/json.hpp"
#include "toolstack/migrate/resumable_link.hpp"

namespace blanket::migrate {

// A new authenticated connection to always the same site.
using Dial = std::function<Result<std::unique_ptr<PeerLink>>()>;

// Source. `first` dials this once, `again` for each kResumeLink (from a thread of the link). options.streams is the wish. kPrecondition: the peer speaks another protocol.
Result<std::unique_ptr<ResumableLink>> open_session(const Dial& first, const Dial& again, ResumableLink::Options options);

// Target: its sessions. Thread safe.
class LinkSessions final {
public:
    static constexpr std::size_t kMost = 16;
    static constexpr std::size_t kMostConnections = 96;  // of all sessions together; each has one at least
    struct Session {
        std::string id, secret, peer;
        unsigned streams = 1;
        std::function<bool()> unwanted;  // asked before a connection is taken up again: true refuses it. Any thread.
        std::unique_ptr<ResumableLink> link;  // null until open() has told the peer; then it stays
    };
    // Is it a hello that asks for a session?
    static bool asks(const Message& first);
    // Answers that hello. `options.times.patience` is the peer's wish, a little more than that, bounded; options.streams what this end grants, at most. kUnavailable: too
    // many; the peer was told.
    Result<std::shared_ptr<Session>> open(std::unique_ptr<PeerLink> link, const Message& hello, ResumableLink::Options options, std::function<bool()> unwanted);
    void close(const Session& session);  // nobody takes it up again
    // Serves a connection whose first message is kResumeLink: returns when it has ended. An error was told to the peer.
    Result<void> resume(std::unique_ptr<PeerLink> link, const Message& request);
    void end_all();  // this daemon stops: those that run end, and there are no new ones
    [[nodiscard]] std::size_t count() const;

private:
    Result<std::shared_ptr<Session>> find(const PeerLink& link, const Json& request) const;
    [[nodiscard]] unsigned grant(std::uint64_t wished, unsigned most) const;
    mutable std::mutex mutex_;
    std::map<std::string, std::shared_ptr<Session>> sessions_;  // by id
    bool ended_ = false;
};

}  // namespace blanket::migrate
