// SPDX-License-Identifier: GPL-2.0-or-later
// Random federations in the middle of random moves: every site has its own, possibly stale, view. Frames are walked from site to site through the planned flows.
#pragma once

#include <gtest/gtest.h>
#include <random>

#include "interpreter.hpp"
#include "net/anchors.hpp"
#include "net/model.hpp"

namespace blanket::net::test {

inline constexpr std::uint32_t kTunnel = 1;
inline constexpr unsigned kSites = 3, kNets = 2, kVmsPerNet = 4;

enum class Stage { kSettled, kMigrating, kLeaving, kSuspended, kCommitted };

struct Vm {
    VmRecord before, after;  // the record before and after the commit
    unsigned net = 0, source = 0, target = 0;
    Stage stage = Stage::kSettled;
    Mac mac = 0;
    std::uint32_t ip = 0;
    bool held = false;                 // its target keeps frames for it
    std::array<bool, kSites> knows{};  // kCommitted: this site has the new record
    [[nodiscard]] unsigned place() const { return stage == Stage::kCommitted ? target : source; }
    [[nodiscard]] bool runs() const { return stage != Stage::kSuspended; }
    [[nodiscard]] bool hears() const { return runs() && stage != Stage::kLeaving; }
};

inline std::string site_name(unsigned index) { return std::string(1, static_cast<char>('a' + index)); }
inline std::uint32_t address(unsigned site) { return 10u << 24 | 213u << 16 | (site + 1) << 8 | 1u; }
inline std::uint32_t vni(unsigned net) { return 101 + net; }
inline std::uint32_t vif(unsigned vm) { return 100 + vm; }
inline std::uint32_t hold(unsigned vm) { return 200 + vm; }
inline unsigned vm_of(std::uint32_t port) { return port % 100; }
inline std::uint32_t gateway_port(unsigned net) { return 10 + net; }
inline constexpr std::uint32_t kGatewayIp = 10u << 24 | 1u << 16 | 1u;

inline std::vector<Site> all_sites() {
    std::vector<Site> sites(kSites);
    for (unsigned s = 0; s < kSites; ++s) {
        sites[s].name = site_name(s);
        sites[s].index = s + 1;
    }
    return sites;
}

struct Federation {
    std::vector<Vm> vms;
    std::array<std::vector<Flow>, kSites> flows;

    explicit Federation(std::mt19937& random, bool settled = false, bool forgetful = false, std::optional<unsigned> anchor = {}) : forgetful_(forgetful), anchor_(anchor) {
        const auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
        for (unsigned i = 0; i < kNets * kVmsPerNet; ++i) {
            Vm vm;
            vm.net = i / kVmsPerNet;
            const unsigned n = i % kVmsPerNet;  // the same addresses in both nets
            vm.mac = 0x0200'0000'0010 + n;
            vm.ip = gateway_ip(vm.net) + 1 + n;
            vm.source = pick(kSites);
            vm.target = (vm.source + 1 + pick(kSites - 1)) % kSites;
            vm.stage = settled ? Stage::kSettled : static_cast<Stage>(pick(5));
            auto& r = vm.before;
            r.uuid = std::format("00000000-0000-4000-8000-{:012x}", i + 1);
            r.name = std::format("vm{}", i);
            r.owner = site_name(vm.source);
            r.epoch = 5;
            r.phase = Phase::kRunning;
            r.nics = {{std::format("net{}", vm.net), format_mac(vm.mac), format_ipv4(vm.ip)}};
            if (vm.stage != Stage::kSettled) {
                r.phase = Phase::kMigrating;
                r.migration = Migration{"m", site_name(vm.target)};
            }
            vm.after = r;
            vm.after.owner = site_name(vm.target);
            vm.after.epoch = 6;
            vm.after.phase = Phase::kRunning;
            vm.after.migration.reset();
            vm.held = vm.stage != Stage::kSettled && pick(2) == 0;
            for (unsigned s = 0; s < kSites; ++s) vm.knows[s] = s == vm.target || pick(2) == 0;
            vms.push_back(vm);
        }
        for (unsigned s = 0; s < kSites; ++s) flows[s] = plan(s);
    }

    std::uint32_t gateway_ip(unsigned net) const { return kGatewayIp + (anchor_ ? net << 16 : 0); }
    bool forgetful_;  // agents restarted: no hand-over is remembered
    std::optional<unsigned> anchor_;  // the nets have addresses of their own, and port 80 of each VM is public at that site

    std::vector<Flow> plan(unsigned site) const {
        World world{.site = site_name(site), .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}};
        for (unsigned n = 0; n < kNets; ++n) {
            const std::uint32_t gateway = gateway_ip(n);
            world.nets.push_back({std::format("net{}", n), vni(n), format_ipv4(gateway - 1) + "/24", format_ipv4(gateway), 1390});
            if (anchor_) {
                Anchor anchor{site_name(*anchor_), format_ipv4(gateway + 253), {}};
                for (unsigned i = 0; i < vms.size(); ++i)
                    if (vms[i].net == n) anchor.ports.push_back({vms[i].before.uuid, RuleProto::kTcp, static_cast<std::uint16_t>(8000 + i), 80});
                world.nets.back().anchors = {anchor};
            }
            world.ports.gateways[vni(n)] = gateway_port(n);
        }
        world.sites = all_sites();
        world.ports.tunnel = kTunnel;
        for (unsigned i = 0; i < vms.size(); ++i) {
            const Vm& vm = vms[i];
            const bool fresh = vm.stage == Stage::kCommitted && vm.knows[site];
            world.vms.push_back(fresh ? vm.after : vm.before);
            if (site == vm.source || (site == vm.target && vm.stage >= Stage::kSuspended)) world.ports.vms.push_back({vm.before.uuid, vm.mac, vif(i), {}});
            if (site == vm.target && vm.held) world.ports.holds.push_back({vm.before.uuid, vm.mac, hold(i), {}});
            if (site == vm.target && vm.held && vm.stage == Stage::kSuspended && i % 2 == 0) world.armed.insert(vm.before.uuid);
            if (forgetful_) continue;
            if (site == vm.source && vm.stage >= Stage::kLeaving)
                world.handovers.push_back({vm.before.uuid, site_name(vm.target), vm.stage == Stage::kLeaving ? Handover::Way::kLeaving : Handover::Way::kOut});
            if (site == vm.target && vm.stage == Stage::kCommitted) world.handovers.push_back({vm.before.uuid, site_name(vm.source), Handover::Way::kIn});
        }
        std::vector<std::string> warnings;
        auto out = plan_flows(world, warnings);
        EXPECT_TRUE(warnings.empty()) << warnings.front();
        return out;
    }

    struct Delivery {
        unsigned site;
        std::uint32_t port;
        Frame frame;
    };
    struct Journey {
        std::vector<Delivery> delivered;
        std::vector<Frame> on_wan;
        unsigned longest = 0;  // sites passed
    };

    void send(unsigned site, std::uint32_t port, const Frame& frame, Journey& journey, unsigned depth = 1) const {
        journey.longest = std::max(journey.longest, depth);
        if (depth > 8) return;  // a loop: `longest` tells
        for (const auto& sent : walk(flows[site], frame, port)) {
            if (sent.port != kTunnel) {
                journey.delivered.push_back({site, sent.port, sent.frame});
                continue;
            }
            journey.on_wan.push_back(sent.frame);
            for (unsigned other = 0; other < kSites; ++other) {
                if (address(other) != sent.tun_dst) continue;
                Frame next = sent.frame;
                next.tun_id = sent.tun_id;
                next.tun_src = address(site);
                send(other, kTunnel, next, journey, depth + 1);
            }
        }
    }
};

inline Frame between(const Vm& from, const Vm& to) { return {.eth_src = from.mac, .eth_dst = to.mac, .ip_src = from.ip, .ip_dst = to.ip}; }

template <typename Check>
void for_many(unsigned rounds, Check check, bool forgetful = false) {
    for (unsigned seed = 1; seed <= rounds; ++seed) {
        std::mt19937 random(seed);
        const Federation federation(random, false, forgetful);
        SCOPED_TRACE(std::format("seed {}", seed));
        check(federation, random);
        if (::testing::Test::HasFailure()) return;
    }
}

}  // namespace blanket::net::test
