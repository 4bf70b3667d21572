// SPDX-License-Identifier: GPL-2.0-or-later
// Some sites, their NATs and their WireGuards in virtual time, with the real WayKeeper at each site. Not simulated: encryption, and the time that a packet takes.
//
// WireGuard as it is (wireguard.com/protocol, drivers/net/wireguard): an authentic packet makes its source the peer's endpoint; handshakes every 5 s while one is wanted; a session
// of 120 s is renewed, of 180 s is none; keepalives of 32 bytes every 25 s; bytes that were not authentic are not counted.
// NATs: a port for all destinations (cone) or one for each (symmetric); both let in only from where something was sent to in the last 60 s, and nothing else.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "toolstack/daemon/ways.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::ways_test {

enum class Nat : std::uint8_t { kNone, kCone, kSymmetric };

class Internet {
public:
    struct Peer {
        std::string endpoint;
        std::int64_t handshake_ms = -1, asked_ms = -1'000'000;
        std::uint64_t received = 0, sent = 0;
    };
    struct Host {
        Site record;
        Nat nat = Nat::kNone;
        std::uint32_t outside = 0;                                          // of the NAT, or its own
        std::map<std::string, std::uint16_t> ports;                         // symmetric: by destination
        std::map<std::pair<std::uint16_t, std::string>, std::int64_t> open;  // (port, destination) -> when last
        std::map<std::string, Peer> peers;
        std::unique_ptr<WayKeeper> ways;
        std::set<std::string> kept;
        std::int64_t phase_ms = 0;
        bool up = true;
        bool takes_tcp = true, listens = true;  // at its address; at all
        unsigned sets = 0;  // of endpoints, by our hand
    };

    explicit Internet(unsigned seed = 1) : random_(seed) {}

    Host& add(const std::string& name, Nat nat = Nat::kNone) {
        auto& host = hosts_[name] = std::make_unique<Host>();
        const auto index = static_cast<std::uint32_t>(hosts_.size());
        host->record.name = name;
        host->record.index = index;
        host->record.wireguard_key = base64_encode(std::string(32, static_cast<char>('A' + index)));
        host->nat = nat;
        host->outside = parse_ipv4(std::format("203.0.113.{}", index)).value();
        host->record.address = nat == Nat::kNone ? format_ipv4(host->outside) : std::format("192.168.{}.2", index);
        host->phase_ms = static_cast<std::int64_t>(random_() % 5000);
        host->ways = std::make_unique<WayKeeper>(name, world(*host));
        return *host;
    }
    // All know each other from now on.
    void begin() {
        for (auto& [name, host] : hosts_)
            for (const auto& [other, one] : hosts_)
                if (name != other) host->peers[other].endpoint = one->record.address + ":51820";
        for (const auto& [name, host] : hosts_) {  // one network that all share
            VmRecord vm;
            vm.owner = name;
            vm.phase = Phase::kRunning;
            vm.nics = {{"lan", "", ""}};
            vms.push_back(vm);
        }
    }
    void run(std::int64_t seconds) {
        for (const auto end = now_ms_ + seconds * 1000; now_ms_ < end; now_ms_ += 500) tick();
    }

    Host& operator[](const std::string& name) { return *hosts_.at(name); }
    std::string way(const std::string& from, const std::string& to) { return hosts_.at(from)->ways->way(to).value_or(net::WayText{"?", ""}).way; }
    std::string why(const std::string& from, const std::string& to) { return hosts_.at(from)->ways->way(to).value_or(net::WayText{}).why; }
    // Of what the guests of the two say to each other, once a second: the longest time without an answer since the last call.
    std::int64_t outage_s(const std::string& a, const std::string& b) { return std::exchange(worst_[{std::min(a, b), std::max(a, b)}], 0); }
    bool answers(const std::string& a, const std::string& b) {
        carried_ = 0;
        return speak(a, b, 84) && speak(b, a, 84);
    }
    void cut(const std::string& a, const std::string& b, double loss = 100) { loss_[{std::min(a, b), std::max(a, b)}] = loss; }
    unsigned sets() const {
        unsigned out = 0;
        for (const auto& [name, host] : hosts_) out += host->sets;
        return out;
    }
    std::vector<std::string> names() const {
        std::vector<std::string> out;
        for (const auto& [name, host] : hosts_) out.push_back(name);
        return out;
    }
    Snapshot records() const {
        Snapshot out;
        for (const auto& [name, host] : hosts_) out.sites.push_back({host->record, 1});
        for (const auto& vm : vms) out.vms.push_back({vm, 1});
        return out;
    }

    bool busy = false;  // a job runs everywhere
    std::vector<VmRecord> vms;
    std::map<std::pair<std::string, std::string>, unsigned> forwarded;  // by (relay, sender)

private:
    static constexpr std::int64_t kEpochS = 1'800'000'000;

    WayKeeper::World world(Host& host) {
        WayKeeper::World out;
        out.run = [this, &host](const Argv& argv) { return command(host, argv); };
        out.give_way = [this] { return busy; };
        out.poke = [this, &host](const std::string& address) {
            for (const auto& [name, one] : hosts_)
                if (wireguard_address(one->record.index) == address && speak(host.record.name, name, 61)) speak(name, host.record.name, 61);
        };
        out.opens = [this, &host](const std::string& address) {
            return std::ranges::any_of(hosts_, [&](const auto& other) {
                const Host& one = *other.second;
                if (!one.up || !one.listens) return false;
                if (wireguard_address(one.record.index) == address) return true;
                const auto cut = loss_.find({std::min(other.first, host.record.name), std::max(other.first, host.record.name)});
                return one.nat == Nat::kNone && one.takes_tcp && one.record.address == address && (cut == loss_.end() || cut->second < 100);
            });
        };
        out.wait = [](std::chrono::milliseconds) {};
        out.keep_endpoints = [&host](std::set<std::string> sites) { host.kept = std::move(sites); };
        return out;
    }

    Result<Output> command(Host& host, const Argv& argv) {
        if (argv[0] == "wg" && argv[1] == "show") {
            std::string text = "SECRET\tPUBLIC\t51820\toff\n";
            for (const auto& [name, peer] : host.peers)
                text += std::format("{}\t(none)\t{}\t10.213.0.0/24\t{}\t{}\t{}\t25\n", hosts_.at(name)->record.wireguard_key, peer.endpoint, peer.handshake_ms < 0 ? 0 : kEpochS + peer.handshake_ms / 1000,
                                    peer.received, peer.sent);
            return Output{0, text, ""};
        }
        if (argv[0] == "wg") {
            EXPECT_EQ(argv[1], "set");
            for (const auto& [name, one] : hosts_)
                if (one->record.wireguard_key == argv[4]) host.peers.at(name).endpoint = argv[6];
            ++host.sets;
            return Output{0, "", ""};
        }
        EXPECT_EQ(argv[0], "ping");
        unsigned back = 0;
        for (const auto& [name, one] : hosts_)
            if (wireguard_address(one->record.index) == argv.back())
                for (int i = 0; i < 5; ++i) back += answers(host.record.name, name) ? 1 : 0;
        return Output{back == 0, std::format("5 packets transmitted, {} received, {}% packet loss\nrtt min/avg/max/mdev = 20.0/20.0/20.0/0.1 ms\n", back, 20 * (5 - back)), ""};
    }

    // ---------------------------------------------------------------- packets
    struct Arrived {
        Host* host = nullptr;
        std::string source;  // as it sees it
    };
    // What the host sends from its WireGuard's port to an endpoint.
    Arrived carry(Host& from, const std::string& to) {
        if (++carried_ > 50) {
            ADD_FAILURE() << "packets go round";
            return {};
        }
        if (const auto relay = net::relay_of_endpoint(to)) {
            const std::uint32_t wanted = parse_ipv4_port(to)->port - net::kRelayPort;
            Host* const via = by_index(*relay);
            Host* const target = by_index(wanted);
            if (via == nullptr || target == nullptr || !speak(from.record.name, via->record.name, 200)) return {};
            std::vector<Site> sites;
            for (const auto& site : records().sites) sites.push_back(site.value);
            const net::RelayedPair pair{*relay, std::min(from.record.index, wanted), std::max(from.record.index, wanted)};
            if (!std::ranges::contains(net::relayed_by(via->record.name, {}, vms, sites), pair) || !speak(via->record.name, target->record.name, 200)) return {};
            ++forwarded[{via->record.name, from.record.name}];
            return {target, net::relay_endpoint(*relay, from.record.index)};
        }
        const auto port = out_of(from, to);
        const std::string source = format_ipv4_port({from.outside, port});
        const auto where = parse_ipv4_port(to);
        if (!where) return {};
        for (auto& [name, host] : hosts_) {
            if (host->outside != where->ip || !host->up || !from.up || host.get() == &from) continue;
            const auto loss = loss_.find({std::min(name, from.record.name), std::max(name, from.record.name)});
            if (loss != loss_.end() && static_cast<double>(random_() % 100) < loss->second) return {};
            if (host->nat == Nat::kNone) return where->port == 51820 ? Arrived{host.get(), source} : Arrived{};
            const auto open = host->open.find({where->port, source});
            if (open == host->open.end() || now_ms_ - open->second > 60'000) return {};
            return {host.get(), source};
        }
        return {};
    }
    std::uint16_t out_of(Host& from, const std::string& to) {
        if (from.nat == Nat::kNone) return 51820;
        std::uint16_t port = 30'000;
        if (from.nat == Nat::kSymmetric) port = from.ports.try_emplace(to, static_cast<std::uint16_t>(40'000 + from.ports.size())).first->second;
        from.open[{port, to}] = now_ms_;
        return port;
    }
    Host* by_index(std::uint32_t index) {
        for (auto& [name, host] : hosts_)
            if (host->record.index == index) return host.get();
        return nullptr;
    }
    bool session(const std::string& a, const std::string& b) {
        const auto& peer = hosts_.at(a)->peers.at(b);
        const auto& other = hosts_.at(b)->peers.at(a);
        return peer.handshake_ms >= 0 && peer.handshake_ms == other.handshake_ms && now_ms_ - peer.handshake_ms < 180'000;
    }
    void handshake(const std::string& a, const std::string& b) {
        Host& from = *hosts_.at(a);
        Peer& peer = from.peers.at(b);
        if (now_ms_ - peer.asked_ms < 5000) return;
        peer.asked_ms = now_ms_;
        peer.sent += 148;
        const Arrived there = carry(from, std::string(peer.endpoint));
        if (there.host == nullptr || there.host->record.name != b) return;
        Peer& back = there.host->peers.at(a);
        back.endpoint = there.source;
        back.received += 148;
        back.sent += 92;
        const Arrived here = carry(*there.host, std::string(back.endpoint));
        if (here.host != &from) return;
        peer.endpoint = here.source;
        peer.received += 92;
        peer.handshake_ms = back.handshake_ms = now_ms_;
    }
    // Data from a to b through their tunnel: whether it arrives.
    bool speak(const std::string& a, const std::string& b, std::uint64_t bytes) {
        if (a == b || !hosts_.at(a)->up) return false;
        if (!session(a, b) || now_ms_ - hosts_.at(a)->peers.at(b).handshake_ms > 120'000) handshake(a, b);
        if (!session(a, b)) return false;
        Peer& peer = hosts_.at(a)->peers.at(b);
        peer.sent += bytes;
        const Arrived there = carry(*hosts_.at(a), std::string(peer.endpoint));
        if (there.host == nullptr || there.host->record.name != b) return false;
        there.host->peers.at(a).endpoint = there.source;
        there.host->peers.at(a).received += bytes;
        return true;
    }

    void tick() {
        for (auto& [name, host] : hosts_) {
            if (!host->up) continue;
            for (auto& [other, peer] : host->peers) {
                carried_ = 0;
                if ((now_ms_ + host->phase_ms / 500 * 500) % 25'000 == 0) speak(name, other, 32);
                carried_ = 0;
                if (!session(name, other) && now_ms_ % 5000 == 0) handshake(name, other);
            }
            if ((now_ms_ + host->phase_ms / 500 * 500) % 5000 == 0) {
                carried_ = 0;
                EXPECT_TRUE(host->ways->round(records(), {now_ms_ + 1'000'000, kEpochS + now_ms_ / 1000}));
                host->record.heard = host->ways->heard();
            }
        }
        if (now_ms_ % 1000 != 0) return;
        for (const auto& [a, one] : hosts_)
            for (const auto& [b, other] : hosts_) {
                if (a >= b) continue;
                std::int64_t& silent = silent_[{a, b}];
                silent = answers(a, b) ? 0 : silent + 1;
                worst_[{a, b}] = std::max(worst_[{a, b}], silent);
            }
    }

    std::mt19937 random_;
    std::int64_t now_ms_ = 0;
    unsigned carried_ = 0;
    std::map<std::string, std::unique_ptr<Host>> hosts_;
    std::map<std::pair<std::string, std::string>, double> loss_;
    std::map<std::pair<std::string, std::string>, std::int64_t> silent_, worst_;
};

}  // namespace blanket::ways_test
