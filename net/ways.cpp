// SPDX-License-Identifier: GPL-2.0-or-later
// See ways.hpp.
#include "net/ways.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace blanket::net {
namespace {

constexpr std::uint64_t kKeepalive = 32;  // bytes: no question

std::string direct_endpoint(const Site& site) { return std::format("{}:{}", site.address, kWireGuardPort); }

bool without_relay(Way way) { return way == Way::kDirect || way == Way::kPunched; }

Candidate classify(const std::string& endpoint, const std::string& direct, const std::vector<Site>& sites) {
    if (endpoint.empty()) return {};
    if (endpoint == direct) return {Way::kDirect, endpoint, {}, 0};
    const auto parsed = parse_ipv4_port(endpoint);
    if (!parsed || !is_tunnel_address(parsed->ip)) return {Way::kPunched, endpoint, {}, 0};
    const std::uint32_t relay = parsed->ip >> 8 & 255;  // or a port that none has: no candidate, so it is left at once
    const auto site = std::ranges::find(sites, relay, &Site::index);
    return {Way::kRelay, endpoint, site == sites.end() ? std::format("site {}", relay) : site->name, 0};
}

// How often each endpoint of it is seen, by sites that are no more than members.
std::map<std::string, unsigned> seen_at(const std::string& here, const Site& other, const std::vector<Site>& sites) {
    std::map<std::string, unsigned> out;
    for (const auto& site : sites) {
        if (site.name == here || site.name == other.name || site.state == kRevoked) continue;
        if (const auto heard = site.heard.find(other.name); heard != site.heard.end() && !heard->second.from.empty()) ++out[heard->second.from];
    }
    return out;
}

std::string rest_of(const std::vector<Candidate>& list) {
    std::string out;
    for (const auto& one : list)
        if (without_relay(one.way)) out += one.endpoint + ' ';
    return out;
}

void take(PairState& state, const Candidate& to, Moment now) {
    state.now = to;
    state.since_ms = now.boot_ms;
    state.lossy = state.cheaper = 0;
    state.rtt_ms = state.loss_percent = std::nullopt;
    state.proven_ms.reset();
    state.insist = false;
}

void keep_relay(PairState& state, std::int64_t since_ms, Moment now) {
    if (now.boot_ms - since_ms >= kForgottenMs) state.relapses = 0;
    state.keep_ms = now.boot_ms + (kKeepRelayMs << std::min(state.relapses, 5u));
    ++state.relapses;
}

}  // namespace

std::vector<Candidate> candidates(const std::string& here, const Site& other, const std::vector<Site>& sites, const std::vector<Relay>& relays) {
    const std::string direct = direct_endpoint(other);
    std::vector<Candidate> out{{Way::kDirect, direct, {}, 0}};
    auto seen = seen_at(here, other, sites);
    seen.erase(direct);
    std::vector<std::pair<std::string, unsigned>> ranked(seen.begin(), seen.end());
    std::ranges::stable_sort(ranked, std::greater(), &std::pair<std::string, unsigned>::second);
    if (ranked.size() > kMostPunched) ranked.resize(kMostPunched);
    for (auto& [endpoint, times] : ranked) out.push_back({Way::kPunched, std::move(endpoint), {}, 0});
    for (const auto& relay : relays) out.push_back({Way::kRelay, relay_endpoint(relay.index, other.index), relay.site, relay.cost_ms});
    return out;
}

bool looks_symmetric(const std::string& here, const Site& other, const std::vector<Site>& sites) {
    std::map<std::string, unsigned> ports;  // by address
    for (const auto& [endpoint, times] : seen_at(here, other, sites))
        if (++ports[endpoint.substr(0, endpoint.find(':'))] > 1) return true;
    return false;
}

PairState look(PairState state, const PeerCount& count, const std::optional<Sample>& sample, const std::string& direct, const std::vector<Site>& sites, Moment now) {
    const bool first = !std::exchange(state.looked, true);
    if (count.handshake_s == 0) state.shaken_ms.reset();
    else if (first) state.shaken_ms = now.boot_ms - 1000 * std::max<std::int64_t>(now.unix_s - count.handshake_s, 0);
    else if (count.handshake_s != state.handshake_s) state.shaken_ms = now.boot_ms;
    state.handshake_s = count.handshake_s;
    const bool session = state.shaken_ms && now.boot_ms - *state.shaken_ms < kSessionMs;
    if (first) {  // of what was before this process nothing is known but that
        if (session) state.heard_ms = now.boot_ms;
    } else if (count.received != state.received) {  // or the interface is a new one
        if (count.received != 0) state.heard_ms = now.boot_ms;
        state.asked_ms.reset();
    } else if (count.sent > state.sent + kKeepalive && !state.asked_ms) {
        state.asked_ms = now.boot_ms;
    }
    state.received = count.received;
    state.sent = count.sent;
    if (count.endpoint != state.now.endpoint && state.proven_ms && now.boot_ms - *state.proven_ms < kInsistMs && relay_of_endpoint(count.endpoint)) {
        state.insist = true;  // what was on its way when it was taken
    } else if (count.endpoint != state.now.endpoint) {  // WireGuard has followed the other end
        const bool fell_back = without_relay(state.now.way) && state.lossy > 0;
        const auto since_ms = state.since_ms;
        take(state, classify(count.endpoint, direct, sites), now);
        if (state.now.way == Way::kRelay && fell_back) keep_relay(state, since_ms, now);
    }
    state.alive = session && !state.now.endpoint.empty() && state.heard_ms && now.boot_ms - *state.heard_ms < kSilentMs &&
                  !(state.asked_ms && now.boot_ms - *state.asked_ms >= kUnansweredMs);
    if (without_relay(state.now.way) && state.alive) state.nudged = 0;
    if (sample) {
        state.loss_percent = sample->loss_percent;
        if (sample->rtt_ms) state.rtt_ms = state.rtt_ms ? 0.7 * *state.rtt_ms + 0.3 * *sample->rtt_ms : *sample->rtt_ms;
        state.lossy = sample->loss_percent >= kTooLossy ? std::min(state.lossy + 1, kInARow) : 0;
    }
    return state;
}

Choice choose(PairState state, const std::vector<Candidate>& list, bool leads, Moment now) {
    Choice out{std::move(state), false, {}};
    PairState& own = out.state;
    if (list.empty()) return out;
    const auto change = [&](const Candidate& to) {
        if (to.endpoint == own.now.endpoint) return;
        take(own, to, now);
        out.set = true;
    };
    const auto same = std::ranges::find(list, own.now.endpoint, &Candidate::endpoint);
    // A relay that this site does not hear any more, or that is to be reached by way of this very pair, is left at once: packets must not go round.
    const bool lost_relay = own.now.way == Way::kRelay && same == list.end();
    const auto relay = std::ranges::find(list, Way::kRelay, &Candidate::way);  // the best
    if (!own.alive || lost_relay) {
        const auto turn = static_cast<std::size_t>(std::max<std::int64_t>(now.unix_s, 0) / kTurnS) % list.size();
        change(lost_relay && relay != list.end() ? *relay : list[turn]);
        return out;
    }
    if (std::exchange(own.insist, false)) {
        out.set = true;
        return out;
    }
    if (own.now.way != Way::kRelay) {
        if (leads && own.lossy >= kInARow && relay != list.end()) {
            keep_relay(own, own.since_ms, now);
            change(*relay);
        }
        return out;
    }
    own.now = *same;  // its cost may be another one now
    const bool better = relay->cost_ms * 10 <= same->cost_ms * 7 && relay->cost_ms + 10 <= same->cost_ms;
    own.cheaper = leads && better ? std::min(own.cheaper + 1, kInARow) : 0;
    if (own.cheaper >= kInARow && now.boot_ms - own.since_ms >= kDwellMs) {
        change(*relay);
        return out;
    }
    if (const std::string rest = rest_of(list); rest != own.tried) {
        own.tried = rest;
        own.nudged = 0;
    }
    const std::int64_t slot = now.unix_s / kNudgeS;
    const bool due = now.unix_s % kNudgeS < kNudgeWindowS && slot != own.nudge_slot && slot % (std::int64_t{1} << std::min(own.nudged, kMostNudgePower)) == 0 && now.boot_ms >= own.keep_ms;
    if (!due) return out;
    own.nudge_slot = slot;
    ++own.nudged;
    for (const auto& one : list)
        if (without_relay(one.way)) out.nudges.push_back(one);
    return out;
}

PairState prove(PairState state, const Candidate& answered, Moment now) {
    take(state, answered, now);
    state.nudged = 0;
    state.proven_ms = now.boot_ms;
    return state;
}

std::optional<Heard> heard_of(const PairState& state, const std::string& direct, bool own_is_private, const std::optional<Heard>& published, Moment now) {
    if (!state.alive || !without_relay(state.now.way) || state.lossy >= kInARow || (!published && !state.proven_ms && now.boot_ms - state.since_ms < kSettledMs)) return std::nullopt;
    Heard out;
    if (const auto from = parse_ipv4_port(state.now.endpoint); state.now.endpoint != direct && from && is_host_address(from->ip) && (own_is_private || !is_private_address(from->ip)))
        out.from = state.now.endpoint;
    const std::uint32_t before = published ? published->rtt_ms : 0;
    out.rtt_ms = before;
    if (state.rtt_ms && (before == 0 || *state.rtt_ms > 1.5 * before || *state.rtt_ms < 0.25 * before)) {
        out.rtt_ms = 1;
        while (out.rtt_ms < *state.rtt_ms && out.rtt_ms < 4096) out.rtt_ms *= 2;
    }
    return out;
}

WayText describe(const PairState& state, const std::vector<Candidate>& list, bool symmetric, Moment now) {
    const auto direct = std::ranges::find(list, Way::kDirect, &Candidate::way);
    const bool relayed = std::ranges::contains(list, Way::kRelay, &Candidate::way);
    const auto punched = std::ranges::count(list, Way::kPunched, &Candidate::way);
    const std::string address = direct == list.end() ? std::string("its address") : direct->endpoint;
    if (!state.alive) {
        std::string why = state.now.endpoint.empty() ? std::string("nothing is heard of it") : std::format("nothing is heard of it, now tried at {}", state.now.endpoint);
        if (!relayed) why += "; there is no relay: no site tells that it hears both, or the two share no network";
        return {"-", why};
    }
    if (state.now.way == Way::kDirect) return {"direct", state.lossy >= kInARow ? std::format("loses {:.0f} %, and there is no relay", state.loss_percent.value_or(0)) : std::string()};
    if (state.now.way == Way::kPunched) return {"punched", std::format("its packets come from {}, not from {}: it is behind NAT", state.now.endpoint, address)};
    std::string why;
    if (now.boot_ms < state.keep_ms) why = std::format("the way without a relay lost too much; not tried again for {} min", (state.keep_ms - now.boot_ms + 59'999) / 60'000);
    else if (symmetric) why = std::format("not reached at {}, and its NAT gives each destination another port", address);
    else if (punched > 0) why = std::format("not reached at {}, nor at where other sites see it come from ({} endpoint{})", address, punched, punched == 1 ? "" : "s");
    else why = std::format("not reached at {}", address);
    if (state.nudged > 0) why += std::format("; tried {} time{} since", state.nudged, state.nudged == 1 ? "" : "s");
    return {std::format("via {}", state.now.via), why};
}

}  // namespace blanket::net
