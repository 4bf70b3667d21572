// SPDX-License-Identifier: GPL-2.0-or-later
// By which way WireGuard sends to each other site (net/ways.hpp has the rules): looks at what it counts, pings now and then, carries out what follows, and knows what this site's
// record is to tell of whom it hears. One thread calls round(); the rest may be called by any.
#pragma once

#include <chrono>
#include <mutex>

#include "net/ways.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/paths.hpp"

namespace blanket {

class WayKeeper final {
public:
    static constexpr std::int64_t kSampleMs = 60'000;  // between two samples of one path: 5 pings, a TCP connection or two
    static constexpr std::size_t kSamplesPerRound = 2;

    struct World {  // the host; tests have another one
        CommandRunner run;
        std::function<bool()> give_way;                                  // true: no pings now. Ways are looked at and changed all the same: a move may need it
        std::function<void(const std::string& address)> poke;           // a question to it by the tunnel, whose answer is not waited for
        std::function<bool(const std::string& address)> opens;           // whether it takes a TCP connection at blanketd's port; 2 s at most
        std::function<void(std::chrono::milliseconds)> wait;
        std::function<void(std::set<std::string> sites)> keep_endpoints;  // OvsOverlay's
    };
    WayKeeper(std::string here, World world) : here_(std::move(here)), world_(std::move(world)) {}

    // One process, two for each endpoint that changes, and samples (6 s at most for each of kSamplesPerRound sites). A look that fails changes nothing.
    Result<void> round(const Snapshot& records, net::Moment now);

    // What this site tells of those that it hears; kept from what its record has said before.
    [[nodiscard]] std::map<std::string, Heard> heard() const;
    [[nodiscard]] std::optional<net::WayText> way(const std::string& site) const;  // empty: no such peer, or not looked at yet
    // Where its TCP ports are reached: its record's address, or its tunnel's where the last sample found nobody there (a NAT that lets the tunnel in lets nothing else in).
    [[nodiscard]] std::string address_of(const Site& site) const;
    [[nodiscard]] bool settled() const;  // everybody is heard, and nobody through a relay: there is no hurry to look again

private:
    struct Known {
        net::PairState state;
        std::int64_t sample_ms = 0;  // when the next one is due
        std::optional<bool> opens;   // TCP, at its record's address ...
        net::Way opened_by = net::Way::kNone;  // ... while the tunnel went so
        net::WayText text;
        std::optional<Heard> heard;
    };
    std::optional<net::Sample> sample(const Site& site, Known& known, std::int64_t now_ms);
    std::string carry_out(const Site& site, const net::Choice& choice);
    std::optional<net::PeerCount> count_of(const Site& site) const;
    void send_to(const Site& site, const std::string& endpoint);

    const std::string here_;
    const World world_;
    std::map<std::string, Known> pairs_;  // of round()'s thread; mutex_ where others read
    mutable std::mutex mutex_;
};

// Into the record of site `here`, by compare-and-swap, if that has something else. Without a record nothing is written.
Result<void> publish_heard(Registry& registry, const std::string& here, const std::map<std::string, Heard>& heard);

// An echo request, by the interface's routes.
void poke(const std::string& address);
// Whether somebody accepts a TCP connection there within 2 s; nothing is said to him.
bool opens(const std::string& address, std::uint16_t port);

}  // namespace blanket
