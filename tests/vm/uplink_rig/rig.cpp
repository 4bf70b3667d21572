// SPDX-License-Identifier: GPL-2.0-or-later
// See rig.hpp.
#include "tests/vm/uplink_rig/rig.hpp"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "tests/lab/deadline.hpp"
#include "tests/lab/provider.hpp"
#include "tests/vm/uplink_rig/pattern.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::rig {

using lab::wait_until;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

// The provider's daemons would take processor time.
constexpr std::string_view kPrepare = R"sh(set -eu
systemctl stop blanketd blanket-etcd libvirtd 2>/dev/null || true
mkdir -p /root/rig/root/modules; cd /root/rig
modules=/usr/lib/modules/$(uname -r)
cp "$modules"/updates/blanket/*.ko "$modules"/kernel/drivers/xen/xen-privcmd.ko "$modules"/kernel/drivers/block/xen-blkfront.ko "$modules"/kernel/drivers/net/xen-netfront.ko root/modules/
[ ! -d /root/modules ] || cp /root/modules/*.ko root/modules/
printf '%s\n' xen-blkfront xen-netfront >root/modules/stock.list
# Emulated devices' drivers, each after what it needs (and uplink, which modprobe would load first, is not for a plain guest).
if [ -e /dev/disk/by-id/virtio-model ]; then
    modprobe --show-depends -a ata_piix ahci sd_mod e1000 | awk '$1 == "insmod" && $2 !~ /uplink/ && !seen[$2]++ { print $2 }' >needed
    for module in $(cat needed); do cp "$module" root/modules/; basename "$module" .ko >>root/modules/emulated.list; done
fi
mv /root/probe root/init; chmod 755 root/init /root/start-domu /root/rogue /root/meter
pack() { (cd "$1" && find . | cpio --quiet -o -H newc); }
pack root >initrd.img
# The same with a guest to start in there: the program with its libraries, the kernel, and an initramfs of the probe alone.
mkdir -p domu/modules with/domu; cp root/init domu/init; cp root/modules/xen-privcmd.ko domu/modules/; pack domu >with/domu/initrd.img
cp -a root/. with/; cp /boot/vmlinuz with/domu/vmlinuz; mv /root/start-domu with/start-domu
ldd with/start-domu | grep -o '/[^ ]*' | sort -u | (cd / && xargs cp -L --parents -t /root/rig/with)
pack with >initrd-domu.img; rm -r domu with
ip link add rig0 type bridge; ip addr add 10.99.0.1/24 dev rig0; ip addr add 10.97.0.1/24 dev rig0; ip link set rig0 up
{ [ -n "${direct:-}" ] && losetup --direct-io=on /dev/loop7 disk.img; } || { losetup -d /dev/loop7 2>/dev/null || true; losetup /dev/loop7 disk.img; }
setsid root/init serve </dev/null >/dev/null 2>&1 &
setsid /root/meter </dev/null >/dev/null 2>&1 &
)sh";

std::string config_of(const Inside& inside) {
    const bool pc = !inside.emulated.empty();
    std::string text = std::format("name = \"inside\"\nkernel = \"/boot/vmlinuz\"\nramdisk = \"/root/rig/initrd{}.img\"\n", inside.domu ? "-domu" : "");
    if (inside.blanket)
        text += std::format("pvshim = 1\npvshim_path = \"/boot/xen-blanket.gz\"\n"
                            "pvshim_cmdline = \"console=xen,pv dom0_mem=320M,max:320M dom0_max_vcpus={} loglvl=all mmio-relax=1 spec-ctrl=eager-fpu {}\"\n",
                            inside.dom0_vcpus, inside.xen_words);
    if (pc) text += lab::device_model_lines() + std::format("hdtype = \"{}\"\n", inside.emulated);
    else text += "type = \"pvh\"\n";
    // A processor that stands still for two minutes is stuck; for less, this emulated machine had to wait for the host's. As many event channels as the interface of 2 levels has, and not
    // the toolstack's thousand.
    return text + std::format("cmdline = \"console=hvc0 quiet panic=5 watchdog_thresh=60 {} {}\"\nmemory = {}\nvcpus = {}\nmax_event_channels = 8191\ntsc_mode = \"native\"\n"
                              "on_crash = \"destroy\"\non_reboot = \"destroy\"\n"
                              "disk = [ \"format=raw, vdev={}, access=rw, script=/root/rig/block, target=/dev/loop7\" ]\n"
                              "vif = [ \"mac=00:16:3e:99:00:02, {}script=/root/rig/vif\" ]\n",
                              pc && !inside.pv_on_hvm ? "emulated=1 xen_emul_unplug=never" : inside.blanket ? "" : "stock=1", inside.domu ? inside.words + " domu=1" : inside.words, inside.domu ? 640 : 512, inside.vcpus, pc ? "hda" : "xvda", pc ? "model=e1000, " : "");
}

}  // namespace

Result<std::unique_ptr<Rig>> Rig::create(const std::string& name, const std::string& appliance, const std::string& device_model, bool direct_io) {
    std::unique_ptr<Rig> rig(new Rig);
    lab::LabOptions options;
    options.name = name;
    options.image = std::format("/cache/lab/{}.raw", name);
    options.capture_bytes = 0;
    BLANKET_CHECK(make_dirs("/cache/lab", 0755));
    BLANKET_CHECK(lab::make_provider_image(appliance, options.image));
    BLANKET_TRY(rig->lab_, lab::Lab::create(std::move(options)));
    lab::MachineProfile provider = lab::east_profile();
    provider.cpu = lab::provider_of(provider).cpu;
    provider.cpus = 1;
    provider.device_model = device_model;
    BLANKET_CHECK(rig->lab_->start(provider));
    BLANKET_CHECK(rig->lab_->wait_ready(provider.name, minutes(6)));
    BLANKET_TRY(rig->ssh_, rig->lab_->ssh(provider.name));
    BLANKET_CHECK(rig->prepare(direct_io));
    if (!device_model.empty()) BLANKET_CHECK(lab::mount_device_model(*rig->ssh_));
    return rig;
}

Result<void> Rig::prepare(bool direct_io) {
    std::vector<std::uint64_t> words(kRegionBytes / 8);
    fill(words, 0, kProviderSeed);
    std::string bytes(reinterpret_cast<const char*>(words.data()), kRegionBytes);
    bytes.resize(2 * kRegionBytes);
    const std::string disk = lab_->dir() + "/uplink.img";
    BLANKET_CHECK(write_file(disk, bytes));
    BLANKET_CHECK(ssh_->put_file(UPLINK_PROBE, "/root/probe", minutes(2)));
    BLANKET_CHECK(ssh_->put_file(UPLINK_START_DOMU, "/root/start-domu", minutes(2)));
    BLANKET_CHECK(ssh_->put_file(UPLINK_ROGUE, kRogue, minutes(2)));
    BLANKET_CHECK(ssh_->put_file(UPLINK_METER, "/root/meter", minutes(2)));
    BLANKET_CHECK(lab::put_hotplug_scripts(*ssh_, "/root/rig", "rig0"));
    if (const char* const folder = std::getenv("BLANKET_MODULES"); folder != nullptr) {
        BLANKET_CHECK(ssh_->run({"mkdir", "-p", "/root/modules"}));
        for (const char* name : {"uplink", "uplink-blk", "uplink-net"})
            BLANKET_CHECK(ssh_->put_file(std::format("{}/{}.ko", folder, name), std::format("/root/modules/{}.ko", name), minutes(2)));
    }
    BLANKET_CHECK(ssh_->put_file(disk, kDisk, minutes(2)));
    BLANKET_CHECK(ssh_->script(std::string(direct_io ? "direct=1\n" : "") + std::string(kPrepare), minutes(3)));
    return {};
}

Result<void> Rig::start(const Inside& inside) {
    BLANKET_CHECK(ssh_->script(std::format("cd /root/rig\ncat >guest.cfg <<'S'\n{}S\nxl create guest.cfg 2>&1\n"
                                           "(sleep 1800 | setsid xl console -t pv inside >console.log 2>&1) </dev/null >/dev/null 2>&1 &\n",
                                           config_of(inside)),
                               minutes(3)));
    return {};
}

std::string Rig::console() {
    const auto text = ssh_->run_any({"tail", "-c", "60000", "/root/rig/console.log"});
    return text ? text->out : std::string();
}

std::string Rig::kept(const std::string& said) {
    const std::string file = lab_->dir() + "/inside.log";
    const auto written = write_file(file, said);
    constexpr std::size_t kEnd = 4000;
    return std::format("whole in {}; at the end it said:\n{}", written ? file : written.error().what, said.substr(said.size() - std::min(said.size(), kEnd)));
}

Result<void> Rig::wait_said(const std::string& what) {
    std::string said;
    const auto done = wait_until("inside says: " + what, minutes(8), seconds(1), [&]() -> Result<bool> { return (said = console()).contains(what); });
    if (!done) return fail(done.error().kind, "{}; {}", done.error().what, kept(said));
    return {};
}

Result<void> Rig::wait_gone() {
    const auto there = [this] {
        const auto domid = ssh_->run_any({"xl", "domid", "inside"});
        return !domid || domid->status == 0;
    };
    std::string said;
    const auto ended = wait_until("the guest inside ends", minutes(8), seconds(2), [&]() -> Result<bool> {
        said = console();
        return !there() || said.contains("Kernel panic") || said.contains("Panic on CPU");
    });
    if (!there()) return {};
    (void)ssh_->run_any({"xl", "destroy", "inside"});
    return fail(Kind::kTimeout, "{}; {}", ended ? "the guest inside broke" : ended.error().what, kept(said));
}

Result<std::string> Rig::run(const Inside& inside) {
    BLANKET_CHECK(start(inside));
    const auto gone = wait_gone();
    const std::string said = console();
    kept(said);
    if (!gone) return std::unexpected(gone.error());
    return said;
}

Result<std::vector<Stretch>> Rig::run_exits(const Inside& inside) {
    BLANKET_CHECK(start(inside));
    BLANKET_CHECK(wait_said("PROBE exits soon"));
    BLANKET_CHECK(ssh_->script("cd /root/rig\nrm -f trace\n(setsid xentrace -D -e 0x83000 -S 1024 trace >trace.log 2>&1 & echo $! >trace.pid) </dev/null\n"));
    const auto done = wait_said("PROBE exits done");
    BLANKET_CHECK(ssh_->script("cd /root/rig\ntrace=$(cat trace.pid); kill -INT $trace; timeout 60 tail --pid=$trace -f /dev/null; [ -s trace ]\n"));
    BLANKET_CHECK(done);
    BLANKET_CHECK(wait_gone());
    const std::string copy = lab_->dir() + "/exits.trace";
    BLANKET_CHECK(ssh_->get_file("/root/rig/trace", copy, minutes(3)));
    BLANKET_TRY(const std::string trace, read_file(copy, 512u << 20));
    BLANKET_TRY(auto stretches, parse_exits(trace));
    constexpr std::size_t kWorking = std::size(kExitStretches);
    if (stretches.size() != kWorking + 1) return fail(Kind::kIo, "the trace has {} stretches, and not {}", stretches.size(), kWorking + 1);
    const std::string said = console(), mark = "PROBE sends ";
    std::size_t at = 0;
    for (std::size_t i = 0; i < kWorking; ++i) {
        at = said.find(mark, at);
        if (at == std::string::npos) return fail(Kind::kIo, "the probe does not tell what it has sent; {}", kept(said));
        at += mark.size();
        stretches[i].requests = static_cast<std::uint64_t>(inside.emulated.empty() ? kExitRequests : kSlowExitRequests);
        stretches[i].sends = std::strtoull(said.c_str() + at, nullptr, 10);
    }
    return stretches;
}

Result<bool> Rig::direct_io() {
    BLANKET_TRY(const std::string is, ssh_->run({"cat", "/sys/block/loop7/loop/dio"}));
    return is.starts_with("1");
}

}  // namespace blanket::rig
