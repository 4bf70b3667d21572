// SPDX-License-Identifier: GPL-2.0-or-later
// In the machine: a hub, and two sites behind routers that masquerade, each a network namespace with the kernel's WireGuard and the real WayKeeper. One JSON line a verdict.
#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <sched.h>
#include <thread>

#include "net/host.hpp"
#include "net/wireguard.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/daemon/ways.hpp"

namespace blanket::ways_rig {
namespace {

class Namespace {
public:
    Namespace() : holder_(Child::spawn({"unshare", "--net", "sleep", "3600"}, {}).value()) {
        std::error_code code;
        const auto own = std::filesystem::read_symlink("/proc/self/ns/net");
        for (int i = 0; i < 1000 && std::filesystem::read_symlink(path(), code) == own; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        batch("link set lo up\n");
    }
    [[nodiscard]] std::string path() const { return std::format("/proc/{}/ns/net", holder_.pid()); }
    [[nodiscard]] int pid() const { return holder_.pid(); }
    [[nodiscard]] Result<Output> any(Argv argv, std::string_view input = {}) const {
        argv.insert(argv.begin(), {"nsenter", "--net=" + path()});
        return run_any(argv, {.deadline = std::chrono::seconds(60), .input = input});
    }
    void must(Argv argv, std::string_view input = {}) const {
        const std::string text = to_string(argv);
        const auto done = any(std::move(argv), input);
        if (!done || done->status != 0) std::fprintf(stderr, "%s: %s\n", text.c_str(), done ? done->err.c_str() : done.error().what.c_str());
    }
    void batch(const std::string& lines) const { must({"ip", "-batch", "-"}, lines); }
    void inside(const std::function<void()>& work) const {
        std::thread([&] {
            const UniqueFd there(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
            if (::setns(there.get(), CLONE_NEWNET) == 0) work();
        }).join();
    }

private:
    Child holder_;
};

void link(const Namespace& a, const std::string& a_name, const Namespace& b, const std::string& b_name) {
    (void)run_any({"ip", "link", "add", "pa", "type", "veth", "peer", "name", "pb"});
    for (const auto& [device, place, name] : {std::tuple("pa", &a, a_name), std::tuple("pb", &b, b_name)}) {
        (void)run_any({"ip", "link", "set", device, "netns", std::to_string(place->pid()), "name", name});
        place->batch(std::format("link set {} up\n", name));
    }
}

struct Member {
    Namespace place;
    Site record;
    net::WireGuardKey key;
    std::unique_ptr<WayKeeper> keeper;
};

class Federation {
public:
    explicit Federation(const std::string& masquerade) {
        for (const char* name : {"hub", "one", "two"}) {
            auto& member = members_[name] = std::make_unique<Member>();
            member->record.name = name;
            member->record.index = static_cast<std::uint32_t>(members_.size());
            member->key = net::make_identity().value();
            member->record.wireguard_key = member->key.pub;
        }
        hub().record.address = "203.0.113.9";
        hub().place.batch("link add br0 type bridge\nlink set br0 up\naddress add 203.0.113.9/24 dev br0\n");
        hub().place.must({"sysctl", "-q", "-w", "net.ipv4.ip_forward=1"});
        int i = 0;
        for (const char* name : {"one", "two"}) {
            Member& member = *members_[name];
            Namespace& router = routers_[++i];
            link(hub().place, std::format("to{}", i), router, "out");
            hub().place.batch(std::format("link set to{} master br0\n", i));
            link(router, "in", member.place, "eth0");
            router.batch(std::format("address add 203.0.113.{0}/24 dev out\naddress add 192.168.{0}.1/24 dev in\n", i));
            router.must({"sysctl", "-q", "-w", "net.ipv4.ip_forward=1"});
            router.must({"nft", "-f", "-"}, std::format("table ip nat {{\n chain out {{ type nat hook postrouting priority srcnat; oifname \"out\" {} ; }}\n chain own {{ type filter hook input priority filter; iifname \"out\" drop; }}\n"
                                                        " chain pass {{ type filter hook forward priority filter; iifname \"out\" ct state new drop; }}\n}}\n",
                                                        masquerade));
            member.place.batch(std::format("address add 192.168.{0}.2/24 dev eth0\nroute add default via 192.168.{0}.1\n", i));
            member.record.address = std::format("198.51.100.{}", i);  // nobody has it
            VmRecord vm;
            vm.owner = name;
            vm.phase = Phase::kRunning;
            vm.nics = {{"lan", "", ""}};
            vms_.push_back(vm);
        }
        for (auto& [name, member] : members_) start(*member);
    }

    void run(int seconds, const std::function<bool()>& enough) {
        for (const auto end = system_time().boottime_ms() + 1000 * seconds; system_time().boottime_ms() < end && !enough(); std::this_thread::sleep_for(std::chrono::seconds(1))) {
            if (system_time().boottime_ms() - looked_ms_ < 5000) continue;
            looked_ms_ = system_time().boottime_ms();
            const Snapshot now = records();
            for (auto& [name, member] : members_) {
                if (const auto done = member->keeper->round(now, {system_time().boottime_ms(), system_time().unix_ms() / 1000}); !done) std::fprintf(stderr, "%s: %s\n", name.c_str(), done.error().what.c_str());
                member->record.heard = member->keeper->heard();
                std::fprintf(stderr, "%s", way_lines(*member).c_str());
            }
            std::vector<Site> sites;
            for (const auto& site : records().sites) sites.push_back(site.value);
            if (const std::string rules = net::firewall_rules({}, {}, net::relayed_by("hub", {}, vms_, sites)); rules != rules_) hub().place.must({"nft", "-f", "-"}, rules_ = rules);
        }
    }
    bool reaches(const std::string& from, const std::string& to, int size = 56) {
        const auto done = members_[from]->place.any({"ping", "-q", "-c", "3", "-i", "0.3", "-W", "2", "-M", "do", "-s", std::to_string(size), wireguard_address(members_[to]->record.index)});
        return done && done->status == 0;
    }
    std::string way(const std::string& from, const std::string& to) { return members_[from]->keeper->way(to).value_or(net::WayText{}).way; }
    Member& hub() { return *members_["hub"]; }
    void part() { vms_.pop_back(); }  // they share no network any more

private:
    void start(Member& member) {
        std::vector<Site> sites;
        for (const auto& site : records().sites) sites.push_back(site.value);
        std::vector<std::string> warnings;
        const auto underlay = net::plan_underlay(member.record.name, sites, net::kUplinkMtu, warnings);
        member.place.batch(net::plan_wireguard_link({}, underlay) + net::plan_wireguard_routes(underlay));
        member.place.must({"wg", "syncconf", "wg-blanket", "/dev/stdin"}, net::wireguard_config(member.key, underlay));
        WayKeeper::World world;
        world.run = [&place = member.place](const Argv& argv) { return place.any(argv); };
        world.give_way = [] { return false; };
        world.poke = [&place = member.place](const std::string& address) { place.inside([&] { poke(address); }); };
        world.opens = [](const std::string&) { return false; };
        world.wait = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
        world.keep_endpoints = [](const std::set<std::string>&) {};
        member.keeper = std::make_unique<WayKeeper>(member.record.name, std::move(world));
    }
    [[nodiscard]] Snapshot records() const {
        Snapshot out;
        for (const auto& [name, member] : members_) out.sites.push_back({member->record, 1});
        for (const auto& vm : vms_) out.vms.push_back({vm, 1});
        return out;
    }
    std::string way_lines(const Member& member) const {
        std::string out;
        for (const auto& [name, other] : members_)
            if (const auto known = member.keeper->way(name)) out += std::format("{} -> {}: {} {}\n", member.record.name, name, known->way, known->why);
        return out;
    }

    std::map<std::string, std::unique_ptr<Member>> members_;
    std::map<int, Namespace> routers_;
    std::vector<VmRecord> vms_;
    std::string rules_;
    std::int64_t looked_ms_ = 0;
};

void verdict(const std::string& what, bool ok) { std::printf("%s\n", Json{{"what", what}, {"ok", ok}}.dump().c_str()); }

}  // namespace

int main() {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    {
        Federation all("masquerade");
        all.run(120, [&] { return all.hub().record.heard.size() == 2; });
        verdict("cones: heard at the hub", all.hub().record.heard["one"].from.starts_with("203.0.113.1:"));
        all.run(180, [&] { return all.reaches("one", "two"); });
        verdict("cones: joined", all.reaches("one", "two"));
        all.run(300, [&] { return all.way("one", "two") == "punched" && all.way("two", "one") == "punched"; });
        verdict("cones: punched", all.way("one", "two") == "punched" && all.reaches("one", "two"));
        all.run(60, [] { return false; });
        verdict("cones: the relay rests", all.way("two", "one") == "punched" && all.reaches("two", "one"));
    }
    {
        Federation all("masquerade fully-random");
        all.run(240, [&] { return all.reaches("one", "two"); });
        verdict("symmetric: joined", all.reaches("one", "two"));
        all.run(90, [&] { return all.way("one", "two") == "via hub" && all.way("two", "one") == "via hub"; });
        verdict("symmetric: by the relay", all.way("one", "two") == "via hub" && all.reaches("two", "one"));
        verdict("symmetric: whole packets", all.reaches("one", "two", 1380 - 28));
        all.part();
        all.run(20, [] { return false; });
        verdict("symmetric: it ends with the pair", !all.reaches("one", "two"));
    }
    return 0;
}

}  // namespace blanket::ways_rig

int main() { return blanket::ways_rig::main(); }
