// SPDX-License-Identifier: GPL-2.0-or-later
// By which way this site's WireGuard sends to another one: to the address in its record, to where a third site sees its packets come from (its NAT lets us in if it has sent to us
// from there: UDP hole punching), or through a relay (relay.hpp). A choice changes a peer's endpoint and nothing else; its session lives on, and WireGuard itself follows the other end
// when an authentic packet comes from elsewhere. Pure: daemon/ways.cpp looks, asks and carries out.
//
//             a candidate's turn, 15 s of the wall clock each
//            +----------------------------------------------+
//            v                                              | nothing heard for 40 s, a question not answered for 20 s, or no handshake for 180 s
//        +--------+   something is heard    +-----------------------+
//        | silent | ----------------------> | heard: direct/punched | --- loses 20 % or more, three samples in a row, and there is a relay ---+
//        +--------+                         +-----------------------+                                                                        |
//            |                                  ^ a nudge is answered, or WireGuard follows                                                  v
//            |       something is heard     +--------+  30 % and 10 ms better by the records, three looks in a row, a minute after the last: the other relay
//            +----------------------------> | relay  | <-----------------------------------------------------------------------------------------+
//                                           +--------+  nudge at full minutes 1, 2, 4 ... 256: a question each to the other candidates
//
// While packets of a pair are on their way by two ways, each end sends by that from which it has heard last, so a way whose question was answered (both directions carry) is insisted
// on, and told at once: then the relay passes nothing on any more, and what remains goes by the new way.
//
// Both ends decide so by the same clock and the same records. Where both hear each other, only the one with the lower index changes a way; the other follows.
#pragma once

#include "net/relay.hpp"
#include "net/wireguard.hpp"

namespace blanket::net {

inline constexpr std::int64_t kSilentMs = 40'000;      // keepalives come every 25 s
inline constexpr std::int64_t kUnansweredMs = 20'000;  // WireGuard itself answers data within 10 s
inline constexpr std::int64_t kSessionMs = 180'000;    // REJECT_AFTER_TIME: without a handshake since then what is heard are questions only, which our answers do not reach
inline constexpr std::int64_t kTurnS = 15;             // of a candidate while nothing is heard: three handshakes (one every 5 s)
inline constexpr std::int64_t kSettledMs = 15'000;     // from then on a way is told to others
inline constexpr std::int64_t kDwellMs = 60'000;       // between two relays
inline constexpr std::int64_t kNudgeS = 60, kNudgeWindowS = 10;
inline constexpr std::int64_t kInsistMs = 30'000;      // on a way whose question was answered
inline constexpr unsigned kMostNudgePower = 8;          // at least every 256 minutes
inline constexpr std::int64_t kKeepRelayMs = 600'000;  // after a way that lost too much; twice as long each time, 32 times at most
inline constexpr std::int64_t kForgottenMs = 86'400'000;  // a way that did well for so long begins anew
inline constexpr unsigned kInARow = 3;
inline constexpr double kTooLossy = 20;                // percent
inline constexpr std::size_t kMostPunched = 3;         // endpoints that are tried

enum class Way : std::uint8_t { kNone, kDirect, kPunched, kRelay };

struct Candidate {
    Way way = Way::kNone;
    std::string endpoint;
    std::string via;             // of kRelay: the site's name
    std::uint32_t cost_ms = 0;   // of kRelay
    bool operator==(const Candidate&) const = default;
};
// In the order in which they are tried. `relays`: relays_for(), less those that this site does not hear itself at this moment.
std::vector<Candidate> candidates(const std::string& here, const Site& other, const std::vector<Site>& sites, const std::vector<Relay>& relays);
// The sites see it come from different ports of one address: its NAT gives each destination a port of its own, and only a relay or a site without NAT reaches it.
bool looks_symmetric(const std::string& here, const Site& other, const std::vector<Site>& sites);

// What the site knows of one other site; made by look() and choose() alone.
struct PairState {
    Candidate now;               // where WireGuard sends to
    bool looked = false, alive = false;
    std::int64_t since_ms = 0;   // since when it does
    std::optional<std::int64_t> heard_ms, asked_ms;  // last; the first question since then
    std::optional<std::int64_t> shaken_ms;             // the last handshake, by the clock that nobody sets
    std::int64_t handshake_s = 0;                      // as WireGuard tells it
    std::uint64_t received = 0, sent = 0;
    std::optional<double> rtt_ms, loss_percent;       // smoothed; of the last sample
    unsigned lossy = 0, cheaper = 0;                   // in a row
    unsigned nudged = 0;                               // without success
    std::int64_t nudge_slot = -1, keep_ms = 0;
    unsigned relapses = 0;
    std::string tried;                                 // what was nudged
    std::optional<std::int64_t> proven_ms;             // when a question by the present way was answered by it
    bool insist = false;                               // WireGuard was taken back to a relay since
};

struct Sample {  // some pings through the tunnel
    double loss_percent = 0;
    std::optional<double> rtt_ms;
};
struct Moment {
    std::int64_t boot_ms = 0, unix_s = 0;
};

// What WireGuard and the last sample say. `direct`: the endpoint in the other site's record.
PairState look(PairState state, const PeerCount& count, const std::optional<Sample>& sample, const std::string& direct, const std::vector<Site>& sites, Moment now);

struct Choice {
    PairState state;
    bool set = false;              // WireGuard is to send to state.now.endpoint from here on
    std::vector<Candidate> nudges;  // one question to each, and back
};
// `leads`: this site's index is the lower one.
Choice choose(PairState state, const std::vector<Candidate>& list, bool leads, Moment now);

// A nudge was answered from that endpoint: WireGuard sends there now.
PairState prove(PairState state, const Candidate& answered, Moment now);

// Whether this site tells that it hears the other, and from where. `published`: what it tells now, kept where the measure has not moved by much.
// An address of a private range is told only if this site's own is one, too: nothing of a site's inside leaves it.
std::optional<Heard> heard_of(const PairState& state, const std::string& direct, bool own_is_private, const std::optional<Heard>& published, Moment now);

struct WayText {
    std::string way;  // "direct", "punched", "via hub"; "-" while nothing is heard
    std::string why;  // not a better one; empty for direct
};
WayText describe(const PairState& state, const std::vector<Candidate>& list, bool symmetric, Moment now);

}  // namespace blanket::net
