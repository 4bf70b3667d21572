// SPDX-License-Identifier: GPL-2.0-or-later
// See fault.hpp.
#include "tests/faults/fault.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/lab/deadline.hpp"

namespace blanket::lab {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using End = std::string Scene::*;

Result<void> kill_program(Scene& scene, End end, const std::string& program) {
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(scene.*end));
    // The first one only: `pidof` names the newest first, and there is one of each.
    return ssh->script(std::format("kill -9 $(pidof -s {})", program)).transform([](const std::string&) {});
}

Fault killing(std::string name, End end, const std::string& program, Fault::Kind kind = Fault::Kind::kAny) {
    return {std::move(name), kind, false, [=](Scene& scene) { return kill_program(scene, end, program); }};
}

Result<void> cut(Scene& scene, bool up) {
    for (const auto& [from, to] : {std::pair(scene.source, scene.target), std::pair(scene.target, scene.source)})
        BLANKET_CHECK(scene.clouds.lab.shaper().set_link(from, to, {{"up", up}}));
    return {};
}

Fault cutting(std::string name, milliseconds time) {
    return {std::move(name), Fault::Kind::kAny, false, [time](Scene& scene) -> Result<void> {
                BLANKET_CHECK(cut(scene, false));
                std::this_thread::sleep_for(time);
                return cut(scene, true);
            }};
}

// The site loses everybody: its link to the witness too.
Fault isolating(std::string name, End end, milliseconds time) {
    return {std::move(name), Fault::Kind::kAny, false, [=](Scene& scene) -> Result<void> {
                const auto set = [&](bool up) -> Result<void> {
                    BLANKET_CHECK(cut(scene, up));
                    BLANKET_CHECK(scene.clouds.lab.shaper().set_link(scene.*end, kWitnessNode, {{"up", up}}));
                    return scene.clouds.lab.shaper().set_link(kWitnessNode, scene.*end, {{"up", up}});
                };
                BLANKET_CHECK(set(false));
                std::this_thread::sleep_for(time);
                return set(true);
            }};
}

// SIGSTOP: time goes on for the frozen machine, it only does not see it.
Fault stopping(std::string name, End end, milliseconds time) {
    return {std::move(name), Fault::Kind::kAny, false, [=](Scene& scene) -> Result<void> {
                BLANKET_TRY(Machine* const machine, scene.clouds.lab.machine(scene.*end));
                const int pid = machine->pid();
                if (pid <= 0 || ::kill(pid, SIGSTOP) != 0) return fail(Kind::kIo, "machine '{}' cannot be stopped", scene.*end);
                std::this_thread::sleep_for(time);
                if (::kill(pid, SIGCONT) != 0) return fail(Kind::kIo, "machine '{}' cannot go on", scene.*end);
                return {};
            }};
}

// QEMU's stop: the machine's clock stands still too, as when a provider freezes it.
Fault freezing(std::string name, End end, milliseconds time) {
    return {std::move(name), Fault::Kind::kAny, false, [=](Scene& scene) -> Result<void> {
                BLANKET_TRY(Machine* const machine, scene.clouds.lab.machine(scene.*end));
                BLANKET_CHECK(machine->qmp().execute("stop"));
                std::this_thread::sleep_for(time);
                BLANKET_CHECK(machine->qmp().execute("cont"));
                // There is no time server in the lab. Without one the sites' wall clocks would differ from here on, and moves be refused for that.
                BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(scene.*end));
                return ssh->script(std::format("date -s @{} >/dev/null", std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()))).transform([](const std::string&) {});
            }};
}

Fault cutting_power(std::string name, End end) {
    return {std::move(name), Fault::Kind::kCostly, end == &Scene::source, [end](Scene& scene) -> Result<void> {
                const std::string site = scene.*end;
                BLANKET_TRY(Machine* const machine, scene.clouds.lab.machine(site));
                BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(site));
                BLANKET_CHECK(machine->kill());
                ssh->disconnect();
                BLANKET_CHECK(machine->start_again());
                return wait_green(scene.clouds, site);
            }};
}

// The target's pool is full to the last block for a while: what comes in queues, or fails. A thin device beside the site's own takes the space.
Fault filling_the_pool(std::string name, End end, milliseconds time) {
    static constexpr std::string_view kFill =
        "python3 - <<'END'\n"
        "import mmap, os, subprocess\n"
        "def dmsetup(*words): return subprocess.run(('dmsetup',) + words, check=True, capture_output=True, text=True).stdout\n"
        "pool = dmsetup('ls', '--target', 'thin-pool').split()[0]\n"
        "status = lambda: [int(n) for n in dmsetup('status', pool).split()[5].split('/')]\n"  // data blocks: used, all
        "block = int(dmsetup('table', pool).split()[5]) * 512\n"
        "dmsetup('message', pool, '0', 'create_thin 16777000')\n"
        "dmsetup('create', 'fill-pool', '--table', '0 %d thin /dev/mapper/%s 16777000' % (status()[1] * block // 512, pool))\n"
        "data = mmap.mmap(-1, block)\n"
        "disk = os.open('/dev/mapper/fill-pool', os.O_WRONLY | os.O_DIRECT)\n"
        "at = 0\n"
        "while True:\n"
        "    used, every = status()\n"
        "    if used >= every: break\n"
        "    for i in range(min(every - used, 4096)):\n"
        "        os.pwrite(disk, data, at)\n"
        "        at += block\n"
        "END\n";
    static constexpr std::string_view kEmpty =
        "dmsetup remove --retry fill-pool\n"
        "pool=$(dmsetup ls --target thin-pool | awk '{ print $1; exit }')\n"
        "dmsetup message \"$pool\" 0 'delete 16777000'\n";
    return {std::move(name), Fault::Kind::kCostly, false, [=](Scene& scene) -> Result<void> {
                BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(scene.*end));
                BLANKET_CHECK(ssh->script(kFill, std::chrono::minutes(5)));
                std::this_thread::sleep_for(time);
                return ssh->script(kEmpty, std::chrono::minutes(1)).transform([](const std::string&) {});
            }};
}

std::vector<Fault> make_faults() {
    const End source = &Scene::source, target = &Scene::target;
    return {
        killing("kill-source-blanketd", source, "blanketd"),
        killing("kill-target-blanketd", target, "blanketd"),
        killing("kill-source-etcd", source, "etcd"),
        killing("kill-target-etcd", target, "etcd"),
        killing("kill-source-libvirtd", source, "libvirtd"),
        killing("kill-target-libvirtd", target, "libvirtd"),
        killing("kill-stream", source, "blanket-save", Fault::Kind::kMoving),
        cutting("cut-1s", seconds(1)),
        cutting("cut-5s", seconds(5)),
        cutting("cut-60s", seconds(60)),
        isolating("isolate-source-20s", source, seconds(20)),
        isolating("isolate-target-20s", target, seconds(20)),
        isolating("isolate-source-40s", source, seconds(40)),
        stopping("stop-source-5s", source, seconds(5)),
        stopping("stop-target-5s", target, seconds(5)),
        stopping("stop-source-30s", source, seconds(30)),
        stopping("stop-target-30s", target, seconds(30)),
        stopping("stop-target-120s", target, seconds(120)),
        freezing("freeze-source-30s", source, seconds(30)),
        freezing("freeze-target-30s", target, seconds(30)),
        filling_the_pool("pool-full-target-20s", target, seconds(20)),
        cutting_power("power-cut-source", source),
        cutting_power("power-cut-target", target),
    };
}

}  // namespace

const std::vector<Fault>& faults() {
    static const std::vector<Fault> all = make_faults();
    return all;
}

Result<const Fault*> find_fault(std::string_view name) {
    const auto found = std::ranges::find(faults(), name, &Fault::name);
    if (found != faults().end()) return &*found;
    return fail(Kind::kNotFound, "no fault '{}'", name);
}

const std::vector<std::string>& moments() {
    static const std::vector<std::string> all{"rest", "prepare", "disk", "memory", "suspend", "commit", "resume", "clean-up"};
    return all;
}

bool possible(const Fault& fault, std::string_view moment) { return fault.kind != Fault::Kind::kMoving || moment == "memory" || moment == "suspend"; }

}  // namespace blanket::lab
