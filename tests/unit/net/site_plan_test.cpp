// SPDX-License-Identifier: GPL-2.0-or-later
// SitePlan against its judge: random federations under random sequences of changes, with doubled addresses, stale records, networks that come and go and whatever else
// a registry may say. After every step the table that is kept up to date is the one that plan_flows() gives from scratch, and a switch that is told
// only the scoped changes holds what one holds that is compared as a whole.
#include <gtest/gtest.h>
#include <random>

#include "net/ovs.hpp"
#include "net/site_plan.hpp"

namespace blanket::net::test {
namespace {

constexpr unsigned kSteps = 40;

// A switch that understands the lines of a bundle.
class SwitchModel {
public:
    void bundle(const std::string& line) {
        constexpr std::string_view kAdd = "flow add ", kDelete = "flow delete_strict ";
        const bool add = line.starts_with(kAdd);
        std::string text = line.substr((add ? kAdd : kDelete).size());
        if (!add) text += ",actions=drop";
        text.replace(text.find(",actions="), 1, " ");
        const auto flow = parse_flow_line(text);
        ASSERT_TRUE(flow) << line;
        if (add) entries_[flow->key()] = *flow;
        else entries_.erase(flow->key());
    }
    std::string actions(const std::string& key) const {
        const auto at = entries_.find(key);
        return at == entries_.end() ? "none" : at->second.actions;
    }
    std::vector<FlowText> dump() const {
        std::vector<FlowText> out;
        for (const auto& [key, flow] : entries_) out.push_back(flow);
        return out;
    }
    std::string text() const {
        std::string out;
        for (const auto& [key, flow] : entries_) out += std::format("{:x} {} {}\n", flow.cookie, key, flow.actions);
        return out;
    }

private:
    std::map<std::string, FlowText> entries_;
};

// A registry and a host that change at random, and the same told to a SitePlan.
class Changing {
public:
    explicit Changing(unsigned seed) : random_(seed), plan_("a") {
        world_ = {.site = "a", .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}, .armed = {}, .released = {}};
        world_.ports.tunnel = 1;
        for (unsigned i = 0; i < 3; ++i) world_.sites.push_back(new_site(i));
        for (unsigned i = 0; i < 2; ++i) world_.nets.push_back(new_net(i));
        for (unsigned i = 0; i < 6; ++i) change_vm(uuid(i));
        for (const auto& net : world_.nets) world_.ports.gateways[net.vni] = 10 + net.vni;
        plan_.records(world_.nets, world_.sites);
        plan_.ports(world_.ports);
    }

    // One change; its name, for the message of a failure.
    std::string step() {
        const std::string vm = uuid(pick(8));
        switch (pick(22)) {
            case 0: case 1: case 2: case 3: case 4: case 5: case 6: return change_vm(vm), "record";
            case 7: std::erase_if(world_.vms, [&](const VmRecord& one) { return one.uuid == vm; }); plan_.forget(vm); return "no record";
            case 8: case 9: case 10: change_ports(vm); plan_.ports(world_.ports); return "ports";
            case 11: case 12: case 13: change_handover(vm); plan_.handovers(world_.handovers); return "hand-over";
            case 14: flip(world_.armed, vm); plan_.arm(vm, world_.armed.contains(vm)); return "armed";
            case 15: flip(world_.released, vm); plan_.release(vm, world_.released.contains(vm)); return "released";
            case 16: change_net(); plan_.records(world_.nets, world_.sites); return "network";
            case 17: world_.sites[pick(3)] = new_site(pick(3)); plan_.records(world_.nets, world_.sites); return "site";
            case 20: case 21: return reuse(), "address used again";
            case 18: world_.sites[pick(3)].path_mtu["b"] = 1280 + pick(100); plan_.records(world_.nets, world_.sites); return "path";
            default: return bump(), "epoch";
        }
    }

    const World& world() const { return world_; }
    SitePlan& plan() { return plan_; }
    unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }

private:
    static std::string uuid(unsigned i) { return std::format("00000000-0000-4000-8000-{:012x}", i + 1); }
    static std::string site_name(unsigned i) { return std::string(1, static_cast<char>('a' + i)); }
    static void flip(std::set<std::string>& set, const std::string& item) {
        if (!set.insert(item).second) set.erase(item);
    }
    std::string mac() { return format_mac(pick(12) == 0 ? anchor_mac(1 + pick(3)) : pick(12) == 0 ? gateway_mac(101) : Mac{0x0200'0000'0010} + pick(7)); }
    std::string ip() { return std::format("10.1.0.{}", pick(10) == 0 ? pick(260) : pick(10) == 0 ? 254 : 2 + pick(7)); }
    std::string net_name() { return std::format("net{}", pick(9) == 0 ? 9 : pick(3)); }

    Site new_site(unsigned i) {
        Site site;
        site.name = site_name(i);
        site.index = pick(12) == 0 ? pick(3) : i + 1;
        if (pick(12) == 0) site.state = kRevoked;
        if (pick(20) == 0) site.role = "witness";
        return site;
    }

    Net new_net(unsigned i) {
        Net net{std::format("net{}", i), pick(15) == 0 ? 101 : 101 + i, pick(3) == 0 ? std::format("10.{}.0.0/24", i + 1) : "10.1.0.0/24", "10.1.0.1", 1390, {}};
        for (unsigned g = 0; g < pick(3); ++g) {
            SecurityGroup group;
            group.name = std::format("g{}", g);
            group.everybody = pick(3) == 0;
            for (unsigned v = 0; v < 8; ++v)
                if (pick(3) == 0) group.vms.push_back(uuid(v));
            SecurityRule rule;
            rule.ingress = pick(2) == 0;
            rule.proto = RuleProto::kTcp;
            rule.first_port = 80;
            rule.last_port = static_cast<std::uint16_t>(80 + pick(20));
            if (pick(2) == 0) rule.remote_group = std::format("g{}", pick(2));
            group.rules.push_back(rule);
            net.groups.push_back(group);
        }
        if (pick(2) == 0) {
            Anchor anchor{site_name(pick(3)), ip(), {}};
            for (unsigned v = 0; v < 8; ++v)
                if (pick(3) == 0) anchor.ports.push_back({uuid(v), RuleProto::kTcp, static_cast<std::uint16_t>(8000 + pick(12)), 80});
            net.anchors.push_back(anchor);
        }
        return net;
    }

    void change_net() {
        const unsigned i = pick(3);
        const auto at = std::ranges::find(world_.nets, std::format("net{}", i), &Net::name);
        if (at == world_.nets.end()) world_.nets.push_back(new_net(i));
        else if (pick(3) == 0) world_.nets.erase(at);
        else *at = new_net(i);
    }

    void change_vm(const std::string& vm) {
        auto at = std::ranges::find(world_.vms, vm, &VmRecord::uuid);
        if (at == world_.vms.end()) {
            VmRecord made;
            made.uuid = vm;
            made.name = "vm" + vm.substr(34);
            made.epoch = 3 + pick(4);
            made.created = std::format("2026-01-0{}T00:00:00Z", 1 + pick(4));
            world_.vms.insert(world_.vms.begin() + pick(static_cast<unsigned>(world_.vms.size()) + 1), made);
            at = std::ranges::find(world_.vms, vm, &VmRecord::uuid);
        }
        const unsigned what = at->nics.empty() ? 0 : pick(6);
        if (what == 0) {
            at->nics.clear();
            for (unsigned n = 0; n < 1 + pick(3); ++n) at->nics.push_back({net_name(), mac(), ip()});
        }
        if (what <= 3) {
            at->owner = site_name(pick(4));
            at->migration.reset();
            at->phase = pick(8) == 0 ? Phase::kDeleting : Phase::kRunning;
            if (pick(2) == 0) {
                at->phase = Phase::kMigrating;
                at->migration = Migration{"m", site_name(pick(3))};
            }
            at->epoch += pick(2);
        }
        if (what == 4) at->created = std::format("2026-01-0{}T00:00:00Z", 1 + pick(4));
        if (what == 5) at->epoch = 1 + pick(9);  // also back: a restored registry
        plan_.put(*at);
    }

    // The VM is deleted, and another one gets its addresses: the two are seen in one step, and the new one's epoch is the lower one.
    void reuse() {
        if (world_.vms.empty()) return;
        const auto at = world_.vms.begin() + pick(static_cast<unsigned>(world_.vms.size()));
        VmRecord made = *at;
        world_.vms.erase(at);
        plan_.forget(made.uuid);
        made.uuid = std::format("00000000-0000-4000-8000-{:012x}", 0x100 + ++reused_);
        made.name = "anew" + std::to_string(reused_);
        made.epoch = 1;
        made.owner = site_name(pick(3));
        made.phase = Phase::kRunning;
        made.migration.reset();
        Mac fresh = 0x0200'0000'1000 + Mac{reused_} * 4;
        for (auto& nic : made.nics) nic.mac = format_mac(fresh++);
        world_.vms.push_back(made);
        plan_.put(made);
    }

    void bump() {  // several records at once
        for (auto& vm : world_.vms)
            if (pick(2) == 0) {
                vm.epoch += pick(3);
                plan_.put(vm);
            }
    }

    void change_ports(const std::string& vm) {
        auto& list = pick(3) == 0 ? world_.ports.holds : world_.ports.vms;
        const auto record = std::ranges::find(world_.vms, vm, &VmRecord::uuid);
        switch (pick(10)) {
            case 0: world_.ports.tunnel = world_.ports.tunnel == 0 ? 1 : 0; return;
            case 1: {
                const std::uint32_t vni = 101 + pick(3);
                if (!world_.ports.gateways.emplace(vni, 10 + vni).second) world_.ports.gateways.erase(vni);
                return;
            }
            case 2: case 3: std::erase_if(list, [&](const VmPort& port) { return port.uuid == vm; }); return;
            default:
                if (record == world_.vms.end()) return;
                for (const auto& nic : record->nics)
                    if (const auto parsed = parse_mac(nic.mac); parsed && std::ranges::none_of(list, [&](const VmPort& port) { return port.uuid == vm && port.mac == *parsed; }))
                        list.push_back({vm, *parsed, next_port_++, {}});
        }
    }

    void change_handover(const std::string& vm) {
        if (std::erase_if(world_.handovers, [&](const Handover& one) { return one.uuid == vm; }) > 0 && pick(2) == 0) return;
        world_.handovers.push_back({vm, site_name(pick(3)), static_cast<Handover::Way>(pick(3))});
    }

    std::mt19937 random_;
    SitePlan plan_;
    World world_;
    std::uint32_t next_port_ = 1000;
    unsigned reused_ = 0;
};

TEST(SitePlan, IsAlwaysTheWholePlanAndTheSwitchFollows) {
    std::size_t refused = 0, held_back = 0, scoped = 0;
    for (unsigned seed = 1; seed <= 400; ++seed) {
        Changing changing(seed);
        SwitchModel scoped_switch, whole_switch;
        InstalledTable installed;
        if (changing.pick(2) == 0) {  // what another life of this daemon left there, of newer epochs as well
            World other = changing.world();
            for (auto& vm : other.vms) vm.epoch += changing.pick(4);
            std::vector<std::string> quiet;
            for (const auto& line : plan_bundle(plan_flows(other, quiet), {})) {
                if (changing.pick(3) == 0) continue;
                scoped_switch.bundle(line);
                whole_switch.bundle(line);
            }
            installed = InstalledTable(scoped_switch.dump());
        }
        std::string story;
        for (unsigned step = 0; step < kSteps; ++step) {
            if (step > 0)
                for (unsigned n = 1 + changing.pick(3); n > 0; --n) story += ' ' + changing.step();
            SCOPED_TRACE(std::format("seed {}, step {}:{}", seed, step, story));
            changing.plan().settle();
            std::vector<std::string> warnings;
            const auto judge = plan_flows(changing.world(), warnings);
            ASSERT_TRUE(changing.plan().is(judge));
            refused += static_cast<std::size_t>(std::ranges::count_if(warnings, [](const std::string& line) { return line.contains("belongs to an older VM"); }));

            for (const auto& line : plan_bundle(judge, whole_switch.dump())) ASSERT_NO_FATAL_FAILURE(whole_switch.bundle(line));
            auto touched = changing.plan().take_touched();
            scoped += touched.everything ? 0 : 1;
            const auto changes = touched.everything ? plan_changes(changing.plan().table(), installed) : plan_changes(changing.plan().table(), installed, touched.keys);
            for (const auto& change : changes) {
                ASSERT_NO_FATAL_FAILURE(scoped_switch.bundle(change.line()));
                take(installed, change);
            }
            ASSERT_EQ(scoped_switch.text(), whole_switch.text());
            for (const auto& flow : judge)  // an older VM's epoch holds back what its own cards say, not who has an address
                if (const auto key = to_flow_text(flow).key(); card_of_key(key).empty()) ASSERT_EQ(whole_switch.actions(key), actions_text(flow.actions)) << key;
            ASSERT_TRUE(plan_changes(changing.plan().table(), installed).empty()) << "what is known of the switch is not what it holds";
            held_back += judge.size() != whole_switch.dump().size() ? 1 : 0;
        }
    }
    EXPECT_GT(refused, 1000u);  // the cases were met
    EXPECT_GT(held_back, 100u);
    EXPECT_GT(scoped, 8000u);
}

// A commit touches the moved VM's few entries, however many other VMs and networks there are.
TEST(SitePlan, ACommitTouchesOnlyItsVm) {
    const auto touched_among = [](unsigned nets, unsigned vms) {
        SitePlan plan("a");
        std::vector<Net> records;
        std::vector<Site> sites(3);
        for (unsigned i = 0; i < 3; ++i) {
            sites[i].name = std::string(1, static_cast<char>('a' + i));
            sites[i].index = i + 1;
        }
        VmRecord moved;
        for (unsigned n = 0; n < nets; ++n) {
            records.push_back({std::format("net{}", n), 101 + n, "10.1.0.0/16", "10.1.0.1", 1390, {}});
            for (unsigned v = 0; v < vms; ++v) {
                VmRecord vm;
                vm.uuid = std::format("00000000-0000-4000-8000-{:06x}{:06x}", n, v);
                vm.owner = sites[v % 2].name;
                vm.phase = Phase::kRunning;
                vm.nics = {{records.back().name, format_mac(Mac{0x0200'0000'0000} + v), format_ipv4((10u << 24 | 1u << 16) + 2 + v)}};
                plan.put(vm);
                moved = vm;
            }
        }
        plan.records(records, sites);
        plan.ports({.tunnel = 1, .gateways = {}, .vms = {}, .holds = {}});
        plan.settle();
        EXPECT_TRUE(plan.take_touched().everything);
        moved.owner = "c";
        ++moved.epoch;
        plan.put(moved);
        plan.settle();
        const auto touched = plan.take_touched();
        EXPECT_FALSE(touched.everything);
        InstalledTable none;
        return plan_changes(plan.table(), none, touched.keys).size();
    };
    const auto few = touched_among(1, 4);
    EXPECT_EQ(few, 3u) << "ARP, the way there, and who is heard in its name";
    EXPECT_EQ(touched_among(20, 100), few);
}

}  // namespace
}  // namespace blanket::net::test
