// SPDX-License-Identifier: GPL-2.0-or-later
// bench-net: how long the network takes to follow a commit. Native, no lab; real ovs-vswitchd with dummy devices, the planner and codecs that blanketd has.
//   bench-net [--report FILE] [--flows MOST] [--switches N] [--sites N]
// flip:    a third site hears of a commit: from the record in hand until the switch has taken the VM's entries in one bundle, at sites with 1,000 to MOST entries
// fleet:   a VM moves in a network that has a VM at each of N sites: every site's own plan, its difference and its bytes; N of them with a switch of their own
// state:   entries of a site whose tenants stay as they are while the federation grows
// mesh:    beside it, bridges that learn (NORMAL, a port for each other site, as Supercloud has them): until the moved MAC is known at its new port
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <print>
#include <random>
#include <sys/socket.h>
#include <sys/un.h>

#include "net/openflow.hpp"
#include "net/ovs.hpp"
#include "net/site_plan.hpp"
#include "net/switch_socket.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/tool.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

using Clock = std::chrono::steady_clock;
constexpr unsigned kVmsPerNet = 100, kFlips = 200;
constexpr std::size_t kLinesAtOnce = 50'000;
constexpr std::chrono::seconds kPatience{600};

double own_busy_ms() { return static_cast<double>(std::clock()) * 1e3 / CLOCKS_PER_SEC; }

// How long a thread has been ready to run and had no processor (the second word of its schedstat).
double queued_ms(const std::string& task) {
    std::ifstream file("/proc/" + task + "/schedstat");
    double ran = 0, queued = 0;
    file >> ran >> queued;
    return queued / 1e6;
}

double ms_since(Clock::time_point begin) { return std::chrono::duration<double, std::milli>(Clock::now() - begin).count(); }

struct Spread {
    double median = 0, p99 = 0, worst = 0;
    static Spread of(std::vector<double> values) {
        if (values.empty()) return {};
        std::ranges::sort(values);
        return {values[values.size() / 2], values[std::min(values.size() - 1, values.size() * 99 / 100)], values.back()};
    }
    [[nodiscard]] Json json() const { return {{"median_ms", median}, {"p99_ms", p99}, {"worst_ms", worst}}; }
    [[nodiscard]] std::string text() const { return std::format("median {:.3f}, p99 {:.3f}, worst {:.3f} ms", median, p99, worst); }
};

// An ovs-vswitchd with a database, in a folder of its own.
class RealSwitch final {
public:
    static Result<std::unique_ptr<RealSwitch>> start(bool learning = false) {
        auto out = std::unique_ptr<RealSwitch>(new RealSwitch("/tmp/bench-net-" + random_hex(4)));
        BLANKET_CHECK(make_dirs(out->folder_));
        out->use();
        const std::string db = "unix:" + out->folder_ + "/db.sock";
        BLANKET_CHECK(run({"ovsdb-tool", "create", out->folder_ + "/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"}));
        BLANKET_CHECK(out->spawn({"ovsdb-server", out->folder_ + "/conf.db", "--remote=p" + db, "--unixctl=" + out->folder_ + "/db.ctl"}));
        BLANKET_CHECK(run({"ovs-vsctl", "--timeout=20", "--retry", "--no-wait", "init"}));
        BLANKET_CHECK(out->spawn({"ovs-vswitchd", "--enable-dummy=override", "--disable-system", db, "--unixctl=" + out->folder_ + "/vswitchd.ctl"}));
        BLANKET_CHECK(run({"ovs-vsctl", "--timeout=60", "add-br", kBridge, "--", "set", "Bridge", kBridge, "datapath_type=dummy", std::string("fail_mode=") + (learning ? "standalone" : "secure"),
                           "protocols=OpenFlow10,OpenFlow13,OpenFlow14"}));
        return out;
    }
    ~RealSwitch() {
        children_.clear();
        std::filesystem::remove_all(folder_);
    }
    RealSwitch(const RealSwitch&) = delete;
    RealSwitch& operator=(const RealSwitch&) = delete;
    void use() const {
        for (const char* name : {"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"}) ::setenv(name, folder_.c_str(), 1);
    }
    Result<void> fill(const std::vector<std::string>& lines) const {
        use();
        for (std::size_t at = 0; at < lines.size();) {
            std::string text;
            for (const std::size_t end = std::min(lines.size(), at + kLinesAtOnce); at < end; ++at) text += lines[at] + '\n';
            BLANKET_CHECK(send_bundle(kBridge, text, kPatience));
        }
        return {};
    }
    // ovs-appctl without its process: JSON-RPC on the control socket.
    Result<std::string> ask(const std::string& method, const std::vector<std::string>& words) const {
        const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        (folder_ + "/vswitchd.ctl").copy(address.sun_path, sizeof address.sun_path - 1);
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("connect", folder_);
        BLANKET_CHECK(write_all(fd.get(), as_bytes(Json{{"method", method}, {"params", words}, {"id", 0}}.dump())));
        std::string text;
        std::array<std::byte, 65536> chunk;
        while (!Json::accept(text)) {
            BLANKET_TRY(const std::size_t got, read_some(fd.get(), chunk));
            if (got == 0) return fail(Kind::kIo, "{}: the switch closed the connection", method);
            text.append(reinterpret_cast<const char*>(chunk.data()), got);
        }
        const Json reply = Json::parse(text);
        if (!reply["error"].is_null()) return fail(Kind::kIo, "{}: {}", method, reply["error"].dump());
        return reply["result"].get<std::string>();
    }
    // Processor time that its vswitchd has used.
    [[nodiscard]] double busy_ms() const {
        clockid_t clock = 0;
        timespec used{};
        if (children_.empty() || ::clock_getcpuclockid(children_.front().pid(), &clock) != 0 || ::clock_gettime(clock, &used) != 0) return 0;
        return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
    }
    [[nodiscard]] double main_thread_queued_ms() const { return children_.empty() ? 0 : queued_ms(std::to_string(children_.front().pid())); }
    [[nodiscard]] std::uint64_t resident_kib() const {
        std::uint64_t sum = 0;
        for (const auto& child : children_) {
            std::ifstream status(std::format("/proc/{}/status", child.pid()));
            for (std::string line; std::getline(status, line);)
                if (line.starts_with("VmRSS:")) sum += std::strtoull(line.c_str() + 6, nullptr, 10);
        }
        return sum;
    }

private:
    explicit RealSwitch(std::string folder) : folder_(std::move(folder)), quiet_(::open("/dev/null", O_WRONLY | O_CLOEXEC)) {}
    Result<void> spawn(const Argv& argv) {
        BLANKET_TRY(Child child, Child::spawn(argv, {.in = -1, .out = quiet_.get(), .err = quiet_.get(), .pass = {}}));
        children_.insert(children_.begin(), std::move(child));
        return {};
    }
    std::string folder_;
    UniqueFd quiet_;
    std::vector<Child> children_;
};

Site site_at(unsigned index) {
    Site site;
    site.name = std::format("s{}", index);
    site.index = index;
    site.address = std::format("192.0.2.{}", index);
    return site;
}

// Net number `n` with `vms` VMs: the first is at site 1, the others at sites 2 to `sites`. No two nets have an address in common.
void add_net(World& world, unsigned n, unsigned vms, unsigned sites) {
    const std::string name = std::format("n{}", n);
    const std::uint32_t base = 10u << 24 | n << 10;  // a /22
    world.nets.push_back({name, n + 1, format_ipv4(base) + "/22", format_ipv4(base + 1), 1390, {}});
    for (unsigned v = 0; v < vms; ++v) {
        VmRecord vm;
        vm.uuid = std::format("00000000-0000-4000-8000-{:06x}{:06x}", n, v);
        vm.name = std::format("v{}-{}", n, v);
        vm.owner = std::format("s{}", v == 0 ? 1 : 2 + (n + v) % (sites - 1));
        vm.phase = Phase::kRunning;
        vm.nics = {{name, format_mac(Mac{0x0200'0000'0000} | n << 12 | v), format_ipv4(base + 2 + v)}};
        world.vms.push_back(std::move(vm));
    }
}

World empty_world(const std::string& site, unsigned sites) {
    World world{.site = site, .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}, .armed = {}, .released = {}};
    for (unsigned i = 1; i <= sites; ++i) world.sites.push_back(site_at(i));
    world.ports.tunnel = 1;
    return world;
}

std::vector<FlowText> texts(const std::vector<Flow>& flows) {
    std::vector<FlowText> out;
    out.reserve(flows.size());
    for (const auto& flow : flows) out.push_back(to_flow_text(flow));
    return out;
}

// To another site that is not site 1.
void move_on(VmRecord& vm, unsigned sites) {
    const auto at = std::strtoul(vm.owner.c_str() + 1, nullptr, 10);
    vm.owner = std::format("s{}", at >= sites ? 2 : at + 1);
    ++vm.epoch;
}

// A site as blanketd keeps it: its plan, and what its switch holds.
class LiveSite final {
public:
    explicit LiveSite(const World& world) : plan_(world.site) {
        plan_.records(world.nets, world.sites);
        plan_.ports(world.ports);
        for (const auto& vm : world.vms) plan_.put(vm);
    }
    // Networks that come.
    void grow(const World& world) {
        std::vector<Net> nets = plan_.world().nets;
        nets.insert(nets.end(), world.nets.begin(), world.nets.end());
        plan_.records(nets, plan_.world().sites);
        for (const auto& vm : world.vms) plan_.put(vm);
    }
    // All that is not in the switch yet.
    std::vector<std::string> missing() {
        plan_.settle();
        (void)plan_.take_touched();
        std::vector<std::string> lines;
        for (const auto& change : plan_changes(plan_.table(), installed_)) {
            lines.push_back(change.line());
            take(installed_, change);
        }
        return lines;
    }
    // What a changed record changes; counted as taken.
    std::string follow(const VmRecord& vm) {
        plan_.put(vm);
        plan_.settle();
        std::string lines;
        for (const auto& change : plan_changes(plan_.table(), installed_, plan_.take_touched().keys)) {
            lines += change.line() + '\n';
            take(installed_, change);
        }
        return lines;
    }
    [[nodiscard]] const World& world() const { return plan_.world(); }
    [[nodiscard]] std::size_t entries() const { return plan_.table().size(); }

private:
    SitePlan plan_;
    InstalledTable installed_;
};

struct Report {
    Json metrics = Json::array(), details = Json::object();
    void add(const std::string& name, double value, const char* unit, const char* goal, bool met, Json peers = Json::object()) {
        std::println("  {:<34} {:>10.3f} {:<8} goal {:<8} {}", name, value, unit, goal, met ? "met" : "NOT MET");
        metrics.push_back(lab::metric(name, value, unit, goal, met, std::move(peers)));
    }
};

struct Flip {
    std::size_t entries = 0;
    Spread wall, work;  // by the clock, and processor time: what a busy machine does not distort
};

Result<std::vector<Flip>> measure_flips(std::size_t most, Report& report) {
    constexpr unsigned kSites = 20;
    std::vector<Flip> out;
    BLANKET_TRY(const auto real, RealSwitch::start());
    std::mt19937 random(1);
    LiveSite site(empty_world("s1", kSites));
    unsigned nets = 0;
    Json rows = Json::array();
    for (std::size_t want = 1000; want <= most; want *= 10) {
        const auto begin = Clock::now();
        World more = empty_world("s1", kSites);
        for (std::size_t coming = site.entries(); coming < want; coming += std::size_t{kVmsPerNet} * 3) add_net(more, nets++, kVmsPerNet, kSites);
        site.grow(more);
        BLANKET_CHECK(real->fill(site.missing()));
        const double fill_ms = ms_since(begin);
        std::vector<double> flips, busy, planned, queued;
        std::size_t lines = 0;
        for (unsigned i = 0; i < kFlips; ++i) {
            VmRecord vm = site.world().vms[random() % nets * kVmsPerNet + 1 + random() % (kVmsPerNet - 1)];
            move_on(vm, kSites);
            real->use();
            const double used = real->busy_ms() + own_busy_ms(), waited = real->main_thread_queued_ms() + queued_ms("thread-self");
            const auto start = Clock::now();
            const std::string bundle = site.follow(vm);
            planned.push_back(ms_since(start));
            BLANKET_CHECK(send_bundle(kBridge, bundle, kPatience));
            flips.push_back(ms_since(start));
            queued.push_back(real->main_thread_queued_ms() + queued_ms("thread-self") - waited);
            busy.push_back(real->busy_ms() + own_busy_ms() - used);
            lines += static_cast<std::size_t>(std::ranges::count(bundle, '\n'));
        }
        const Spread spread = Spread::of(flips), work = Spread::of(busy), plan = Spread::of(planned), wait = Spread::of(queued);
        std::println("  flip among {:>9} entries: {}   ({:.1f} changes each; filled in {:.1f} s, the switch has {} MiB)", site.entries(), spread.text(), static_cast<double>(lines) / kFlips, fill_ms / 1000, real->resident_kib() >> 10);
        std::println("    plan and difference in it: {}\n    waiting for a processor:   {}\n    processor time, ours and all of the switch's: {}", plan.text(), wait.text(), work.text());
        Json row = spread.json();
        row["plan"] = plan.json();
        row["waiting_for_a_processor"] = wait.json();
        row["processor_time"] = work.json();
        row["entries"] = site.entries();
        row["switch_mib"] = real->resident_kib() >> 10;
        row["fill_s"] = fill_ms / 1000;
        rows.push_back(std::move(row));
        out.push_back({site.entries(), spread, work});
    }
    report.details["flip"] = std::move(rows);
    return out;
}

// The plan of a whole site from scratch and its comparison with all that is installed, as at every apply().
void measure_planner(Report& report) {
    Json rows = Json::array();
    for (const unsigned nets : {3u, 33u, 333u}) {
        World world = empty_world("s1", 20);
        for (unsigned n = 0; n < nets; ++n) add_net(world, n, kVmsPerNet, 20);
        std::vector<std::string> quiet;
        std::vector<double> times;
        std::size_t flows = 0;
        for (int i = 0; i < 5; ++i) {
            const auto installed = texts(plan_flows(world, quiet));
            world.vms[static_cast<std::size_t>(i) + 1].epoch++;
            const auto begin = Clock::now();
            const auto plan = plan_flows(world, quiet);
            const auto lines = plan_bundle(plan, installed);
            times.push_back(ms_since(begin));
            flows = plan.size();
        }
        const Spread spread = Spread::of(times);
        std::println("  the site's whole plan, {:>7} entries: {}", flows, spread.text());
        rows.push_back({{"entries", flows}, {"median_ms", spread.median}, {"worst_ms", spread.worst}});
    }
    report.details["planner"] = std::move(rows);
}

Result<void> measure_fleet(unsigned sites, unsigned switches, Report& report) {
    // The network of the VM that moves has a VM at every site. A view has 254 sites at most (the address plan's bound): each site sees itself, the two of the move, and
    // others up to that; VMs of sites that it does not see are left to those.
    constexpr unsigned kSeen = 200, kOwnNets = 5;
    std::vector<double> plan_ms, encode_ms, total_ms, switch_ms;
    std::vector<std::unique_ptr<RealSwitch>> real;
    std::size_t flows = 0, bytes = 0;
    const auto memory_begin = Clock::now();
    for (unsigned i = 0; i < switches; ++i) {
        auto started = RealSwitch::start();
        if (!started) {
            std::println("  {} switches could be started, not {}: {}", i, switches, started.error().what);
            break;
        }
        real.push_back(std::move(*started));
    }
    const double start_s = ms_since(memory_begin) / 1000;
    for (unsigned s = 0; s < sites; ++s) {
        World world = empty_world("s1", kSeen);
        add_net(world, 0, kSeen, kSeen);
        for (unsigned n = 1; n <= kOwnNets; ++n) add_net(world, s * kOwnNets + n, 20, kSeen);
        LiveSite site(world);
        const auto all = site.missing();
        flows = site.entries();
        if (s < real.size()) BLANKET_CHECK(real[s]->fill(all));
        VmRecord moved = site.world().vms[1 + s % (kSeen - 1)];
        move_on(moved, kSeen);
        const auto begin = Clock::now();
        const std::string bundle = site.follow(moved);
        plan_ms.push_back(ms_since(begin));
        const auto coded = Clock::now();
        BLANKET_TRY(const Bundle encoded, encode_bundle(bundle, 2));
        encode_ms.push_back(ms_since(coded));
        bytes = encoded.lines.size() + encoded.commit.size();
        total_ms.push_back(ms_since(begin));
        if (s >= real.size()) continue;
        real[s]->use();
        const auto sent = Clock::now();
        BLANKET_CHECK(send_bundle(kBridge, bundle, kPatience));
        switch_ms.push_back(ms_since(sent));
        total_ms.back() = plan_ms.back() + switch_ms.back();
    }
    std::uint64_t resident = 0;
    for (const auto& one : real) resident += one->resident_kib();
    const Spread plan = Spread::of(plan_ms), code = Spread::of(encode_ms), total = Spread::of(total_ms), flip = Spread::of(switch_ms);
    double sum = 0;
    for (const double one : total_ms) sum += one;
    std::println("  {} sites, {} of them with an ovs-vswitchd of their own (started in {:.1f} s, {} MiB): each has {} entries, its commit {} bytes", sites, real.size(), start_s, resident >> 10, flows, bytes);
    std::println("  plan and difference: {}\n  coding: {}\n  the switch takes it: {}\n  one after the other on this machine: {:.1f} ms", plan.text(), code.text(), flip.text(), sum);
    report.add("fleet_slowest_site", total.worst, "ms", "< 10", total.worst < 10, {{"median_site", total.median}, {"p99_site", total.p99}});
    report.add("fleet_real_switches", static_cast<double>(real.size()), "switches", ">= 50", real.size() >= 50);
    report.details["fleet"] = {{"sites", sites}, {"switches", real.size()}, {"switches_mib", resident >> 10}, {"entries_each", flows}, {"commit_bytes", bytes}, {"plan", plan.json()}, {"coding", code.json()}, {"switch", flip.json()}, {"site", total.json()}, {"in_series_ms", sum}};
    return {};
}

void measure_state(Report& report) {
    std::vector<std::string> quiet;
    const auto entries = [&](unsigned foreign_nets) {
        World world = empty_world("s1", 200);
        for (unsigned n = 0; n < 5; ++n) add_net(world, n, 20, 200);
        for (unsigned n = 5; n < 5 + foreign_nets; ++n) {
            add_net(world, n, 20, 200);
            world.vms[world.vms.size() - 20].owner = "s2";
        }
        return plan_flows(world, quiet).size();
    };
    const std::size_t alone = entries(0), among = entries(2000);
    std::println("  a site's entries for its 5 networks of 20 VMs: {} alone, {} among 2000 other networks with 40000 VMs", alone, among);
    report.add("state_among_2000_others", static_cast<double>(among) / static_cast<double>(alone), "ratio", "<= 1.0", among <= alone);
    report.details["state"] = {{"entries_alone", alone}, {"entries_among_2000_networks", among}};
}

// A bridge that learns, with `peers` ports for the other sites. Each trial has a MAC of its own: what is measured is the first frame from the new site.
Result<Spread> measure_mesh(unsigned peers, Report& report) {
    BLANKET_TRY(const auto real, RealSwitch::start(true));
    Argv ports{"ovs-vsctl", "--timeout=120"};
    for (unsigned i = 0; i < peers; ++i)
        for (const std::string& word : {std::string("--"), std::string("add-port"), std::string(kBridge), std::format("t{}", i), std::string("--"), std::string("set"), std::string("Interface"), std::format("t{}", i), std::string("type=dummy")}) ports.push_back(word);
    real->use();
    BLANKET_CHECK(run(ports));
    std::vector<double> times;
    for (unsigned i = 0; i < kFlips; ++i) {
        const std::string mac = format_mac(Mac{0x0200'0000'0000} | i);
        std::string digits;
        for (const char c : mac)
            if (c != ':') digits += c;
        const std::string announce = "ffffffffffff" + digits + "08060001080006040001" + digits + "0a000002" + "000000000000" + "0a000002" + std::string(36, '0');
        BLANKET_CHECK(real->ask("netdev-dummy/receive", {std::format("t{}", i % peers), announce}));
        const auto learned = [&](unsigned long not_at) -> Result<unsigned long> {  // the port that the MAC is known at, as soon as that is another one
            for (const auto begin = Clock::now(); ms_since(begin) < 5000;) {
                BLANKET_TRY(const std::string table, real->ask("fdb/show", {kBridge}));
                for (const auto& line : split(table, '\n'))
                    if (line.contains(mac))
                        if (const auto port = std::strtoul(line.c_str(), nullptr, 10); port != not_at) return port;
            }
            return fail(Kind::kTimeout, "the bridge does not learn {}", mac);
        };
        BLANKET_TRY(const auto old_port, learned(0));
        const auto begin = Clock::now();
        BLANKET_CHECK(real->ask("netdev-dummy/receive", {std::format("t{}", (i + 1) % peers), announce}));
        BLANKET_CHECK(learned(old_port));
        times.push_back(ms_since(begin));
    }
    const Spread spread = Spread::of(times);
    std::println("  a bridge that learns, {} ports: {} from the announcement's arrival on; before it, frames go to the old site; each announcement is sent to {} sites", peers, spread.text(), peers);
    report.details["mesh"] = spread.json();
    report.details["mesh"]["copies_of_each_announcement"] = peers;
    return spread;
}

struct Inputs {
    std::string report;
    std::size_t flows = 1'000'000;
    unsigned switches = 50, sites = 1000;
};

Result<void> run_bench(const Inputs& inputs) {
    Report report;
    std::array<double, 3> load{};
    if (::getloadavg(load.data(), 3) < 0) load = {};
    std::println("load of this machine before: {:.1f} {:.1f} {:.1f}\nflip: a commit's changes, at a site that has neither end", load[0], load[1], load[2]);
    BLANKET_TRY(const auto flips, measure_flips(inputs.flows, report));
    std::println("mesh: the same at a bridge that learns");
    BLANKET_TRY(const Spread mesh, measure_mesh(64, report));
    const Json peers{{"learning_mesh", mesh.p99}};
    for (const auto& [entries, wall, work] : flips) {
        report.add(std::format("flip_p99_{}", entries), wall.p99, "ms", "< 1", wall.p99 < 1, peers);
        report.add(std::format("flip_work_p99_{}", entries), work.p99, "ms", "< 1", work.p99 < 1);
    }
    const auto ratio = [&](const char* name, double first, double last) { report.add(name, last / first, "ratio", "< 2", last < 2 * first); };
    ratio("flip_flat_p99", flips.front().wall.p99, flips.back().wall.p99);
    ratio("flip_flat_median", flips.front().wall.median, flips.back().wall.median);
    ratio("flip_work_flat_median", flips.front().work.median, flips.back().work.median);
    std::println("planner");
    measure_planner(report);
    std::println("state");
    measure_state(report);
    std::println("fleet");
    BLANKET_CHECK(measure_fleet(inputs.sites, inputs.switches, report));
    std::array<double, 3> after{};
    if (::getloadavg(after.data(), 3) < 0) after = {};
    report.details["load_before_after"] = {load[0], after[0]};
    const Json out{{"bench", "net"}, {"commit", lab::commit_of_tree()}, {"machine", lab::machine_facts(lab::Accelerator::kTcg)}, {"metrics", report.metrics}, {"details", report.details}};
    if (!inputs.report.empty()) BLANKET_CHECK(write_file(inputs.report, out.dump(2) + "\n"));
    return {};
}

}  // namespace
}  // namespace blanket::net

int main(int argc, char** argv) {
    blanket::net::Inputs inputs;
    bool wrong = argc % 2 == 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view option = argv[i];
        const auto number = [&](std::uint64_t least, std::uint64_t most) {
            const auto value = blanket::parse_number(argv[i + 1], least, most, option);
            wrong = wrong || !value;
            return value.value_or(least);
        };
        if (option == "--report") inputs.report = argv[i + 1];
        else if (option == "--flows") inputs.flows = number(1000, 1'000'000);
        else if (option == "--switches") inputs.switches = static_cast<unsigned>(number(0, 500));
        else if (option == "--sites") inputs.sites = static_cast<unsigned>(number(1, 3000));
        else wrong = true;
    }
    if (wrong) {
        std::println(stderr, "usage: bench-net [--report FILE] [--flows MOST] [--switches N] [--sites N]");
        return 2;
    }
    const auto done = blanket::net::run_bench(inputs);
    if (!done) std::println(stderr, "bench-net: {}", done.error().what);
    return done ? 0 : 1;
}
