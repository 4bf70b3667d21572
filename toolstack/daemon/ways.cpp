// SPDX-License-Identifier: GPL-2.0-or-later
// See ways.hpp.
#include "toolstack/daemon/ways.hpp"

#include <algorithm>
#include <array>
#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <set>
#include <sys/socket.h>

#include "net/commands.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/daemon/path_probe.hpp"

namespace blanket {
namespace {

constexpr auto kNudgeTime = std::chrono::milliseconds(50);  // for the kernel's threads that encrypt the question, and for near sites' answers
constexpr auto kNudgeLook = std::chrono::milliseconds(250);
constexpr int kNudgeLooks = 3;

template <typename T>
std::vector<T> values(const std::vector<Versioned<T>>& list) {
    std::vector<T> out;
    for (const auto& item : list) out.push_back(item.value);
    return out;
}

}  // namespace

void poke(const std::string& address) {
    const UniqueFd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    constexpr std::array<unsigned char, 8> kEcho{8, 0, 0xf7, 0xff, 0, 0, 0, 0};  // RFC 792: type, code, checksum, identifier, number
    if (socket && ::inet_pton(AF_INET, address.c_str(), &to.sin_addr) == 1) (void)::sendto(socket.get(), kEcho.data(), kEcho.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

bool opens(const std::string& address, std::uint16_t port) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    if (!socket || ::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) return false;
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return true;
    pollfd wait{socket.get(), POLLOUT, 0};
    if (errno != EINPROGRESS || ::poll(&wait, 1, 2000) != 1) return false;
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

std::optional<net::Sample> WayKeeper::sample(const Site& site, Known& known, std::int64_t now_ms) {
    if (world_.give_way()) return std::nullopt;
    known.sample_ms = now_ms + kSampleMs;
    const auto address = parse_ipv4(site.address);
    const std::string inside = wireguard_address(site.index);
    const bool direct = known.state.now.way == net::Way::kDirect;
    // A private address that its packets do not come from may be another machine's here. Where nobody accepts at either, its blanketd is away: that says nothing of the address.
    known.opens = address && (direct || !is_private_address(*address)) && (world_.opens(site.address) || (direct && !world_.opens(inside)));
    known.opened_by = known.state.now.way;
    const auto output = world_.run({"ping", "-q", "-n", "-4", "-c", "5", "-i", "0.2", "-W", "1", "-I", net::kWireGuardInterface, inside});
    const auto loss = output ? ping_loss(output->out) : std::nullopt;
    if (!loss) return std::nullopt;
    return net::Sample{*loss, ping_average_ms(output->out)};
}

void WayKeeper::send_to(const Site& site, const std::string& endpoint) {
    if (!count_of(site)) return;  // `wg set` would make a peer anew that the overlay took away meanwhile: of a site that is cut off
    const auto done = world_.run({"wg", "set", net::kWireGuardInterface, "peer", site.wireguard_key, "endpoint", endpoint});  // a public key
    if (!done || done->status != 0) log::warning("paths", "WireGuard does not take '{}' as the way to site '{}'", endpoint, site.name);
}

std::optional<net::PeerCount> WayKeeper::count_of(const Site& site) const {
    const auto output = world_.run({"wg", "show", net::kWireGuardInterface, "dump"});
    if (!output || output->status != 0) return std::nullopt;
    const auto counts = net::parse_wireguard_dump(output->out);
    if (!counts) return std::nullopt;
    const auto count = counts->find(site.wireguard_key);
    return count == counts->end() ? std::nullopt : std::optional(count->second);
}

// Returns the endpoint from which a nudge was answered; empty: none.
std::string WayKeeper::carry_out(const Site& site, const net::Choice& choice) {
    const std::string address = wireguard_address(site.index), &now = choice.state.now.endpoint;
    if (choice.set) {
        if (choice.state.alive) log::info("paths", "site '{}' is sent to at {} from now on", site.name, now);
        else log::debug("paths", "site '{}' is tried at {}", site.name, now);  // every 15 s, as long as nothing is heard
        send_to(site, now);
        world_.poke(address);  // a handshake begins, or the other end learns of the way
    }
    if (choice.nudges.empty()) return {};
    for (const auto& nudge : choice.nudges) {
        send_to(site, nudge.endpoint);
        const auto before = count_of(site);
        world_.poke(address);
        world_.wait(kNudgeTime);
        // WireGuard sends to where it has heard from last: had it heard of the relay since, it would be there.
        if (const auto after = count_of(site); before && after && after->endpoint == nudge.endpoint && after->received > before->received) return nudge.endpoint;
    }
    send_to(site, now);
    for (int i = 0; i < kNudgeLooks; ++i) {  // an answer that took longer
        world_.wait(kNudgeLook);
        if (const auto after = count_of(site); after && !after->endpoint.empty() && after->endpoint != now && !net::relay_of_endpoint(after->endpoint)) return after->endpoint;
    }
    return {};
}

Result<void> WayKeeper::round(const Snapshot& records, net::Moment now) {
    const auto sites = values(records.sites);
    const auto self = std::ranges::find(sites, here_, &Site::name);
    if (self == sites.end() || self->index == 0) return {};
    std::vector<std::string> quiet;
    std::set<std::string> tunnels;  // the overlay's: who comes with another site's key is none, and has no say in where that one is sent to
    for (const auto& peer : net::plan_underlay(here_, sites, net::kUplinkMtu, quiet).peers) tunnels.insert(peer.site);
    std::vector<const Site*> others;
    for (const auto& site : sites)
        if (tunnels.contains(site.name)) others.push_back(&site);
    if (others.empty() && pairs_.empty()) return {};
    BLANKET_TRY(const Output output, world_.run({"wg", "show", net::kWireGuardInterface, "dump"}));
    if (output.status != 0) return fail(Kind::kIo, "'wg show {} dump' failed with status {}", net::kWireGuardInterface, output.status);
    BLANKET_TRY(const auto counts, net::parse_wireguard_dump(output.out));

    const auto endpoint = [](const Site& site) { return std::format("{}:{}", site.address, net::kWireGuardPort); };
    const auto own_address = parse_ipv4(self->address);
    const bool own_is_private = own_address && is_private_address(*own_address);
    std::map<std::string, Known> pairs = pairs_;
    std::erase_if(pairs, [&](const auto& pair) { return std::ranges::none_of(others, [&](const Site* site) { return site->name == pair.first; }); });
    std::vector<const Site*> peers, due;
    for (const Site* site : others) {
        if (!counts.contains(site->wireguard_key)) continue;  // the overlay makes it soon
        peers.push_back(site);
        const auto [known, is_new] = pairs.try_emplace(site->name);
        if (is_new)
            if (const auto told = self->heard.find(site->name); told != self->heard.end()) known->second.heard = told->second;  // of an earlier life
        if (known->second.state.alive && known->second.sample_ms <= now.boot_ms) due.push_back(site);
    }
    std::ranges::stable_sort(due, {}, [&](const Site* site) { return pairs[site->name].sample_ms; });  // who has waited longest
    if (due.size() > kSamplesPerRound) due.resize(kSamplesPerRound);
    for (const Site* site : peers) {
        Known& known = pairs[site->name];
        const auto sampled = std::ranges::contains(due, site) ? sample(*site, known, now.boot_ms) : std::nullopt;
        known.state = net::look(std::move(known.state), counts.at(site->wireguard_key), sampled, endpoint(*site), sites, now);
    }
    std::optional<net::Shares> shares;
    std::set<std::string> kept;
    std::vector<std::pair<const Site*, net::Choice>> choices;
    for (const Site* site : peers) {
        Known& known = pairs[site->name];
        std::vector<net::Relay> relays;
        if (net::are_apart(*self, *site)) {
            if (!shares) shares = net::shares_of(values(records.nets), values(records.vms));
            relays = net::relays_for(*self, *site, sites, *shares);
            std::erase_if(relays, [&](const net::Relay& relay) {  // only those that are heard without a relay, at this moment: packets must not go round
                const auto by = pairs.find(relay.site);
                return by == pairs.end() || !by->second.state.alive || by->second.state.now.way == net::Way::kRelay;
            });
        }
        const auto list = net::candidates(here_, *site, sites, relays);
        auto choice = net::choose(std::move(known.state), list, self->index < site->index, now);
        known.state = choice.state;
        auto fresh = net::heard_of(known.state, endpoint(*site), own_is_private, known.heard, now);
        // A port that changes at each look is not written down at each: no NAT and no site makes the registry busy.
        if (fresh && known.heard && !known.state.proven_ms && now.boot_ms - known.state.since_ms < net::kSettledMs) fresh->from = known.heard->from;
        known.heard = std::move(fresh);
        known.text = net::describe(known.state, list, net::looks_symmetric(here_, *site, sites), now);
        if (known.state.now.endpoint != endpoint(*site)) kept.insert(site->name);
        if (choice.set || !choice.nudges.empty()) choices.emplace_back(site, std::move(choice));
    }
    {
        const std::lock_guard lock(mutex_);
        pairs_ = std::move(pairs);
    }
    world_.keep_endpoints(std::move(kept));  // before anything is set: the overlay must not take it back
    for (const auto& [site, choice] : choices) {
        const std::string answered = carry_out(*site, choice);
        if (answered.empty()) continue;
        log::info("paths", "site '{}' answers at {}, without a relay", site->name, answered);
        const std::lock_guard lock(mutex_);
        Known& known = pairs_[site->name];
        const net::Candidate way{answered == endpoint(*site) ? net::Way::kDirect : net::Way::kPunched, answered, {}, 0};
        known.state = net::prove(std::move(known.state), way, now);
        known.heard = net::heard_of(known.state, endpoint(*site), own_is_private, known.heard, now);
    }
    return {};
}

std::map<std::string, Heard> WayKeeper::heard() const {
    const std::lock_guard lock(mutex_);
    std::map<std::string, Heard> out;
    for (const auto& [site, known] : pairs_)
        if (known.heard) out[site] = *known.heard;
    return out;
}

std::optional<net::WayText> WayKeeper::way(const std::string& site) const {
    const std::lock_guard lock(mutex_);
    const auto known = pairs_.find(site);
    return known == pairs_.end() || !known->second.state.looked ? std::nullopt : std::optional(known->second.text);
}

std::string WayKeeper::address_of(const Site& site) const {
    const std::lock_guard lock(mutex_);
    const auto at = pairs_.find(site.name);
    if (at == pairs_.end() || !at->second.state.alive) return site.address;
    const Known& known = at->second;
    // That it accepted says nothing after a change of way, and in a move nobody looks again.
    const bool accepts = known.opens ? *known.opens && known.opened_by == known.state.now.way : known.state.now.way == net::Way::kDirect;
    return accepts ? site.address : wireguard_address(site.index);
}

bool WayKeeper::settled() const {
    const std::lock_guard lock(mutex_);
    return std::ranges::all_of(pairs_, [](const auto& pair) { return pair.second.state.alive && pair.second.state.now.way != net::Way::kRelay && pair.second.heard; });
}

Result<void> publish_heard(Registry& registry, const std::string& here, const std::map<std::string, Heard>& heard) {
    return change_own_record(registry, here, [&](Site& site) { return std::exchange(site.heard, heard) != heard; });
}

}  // namespace blanket
