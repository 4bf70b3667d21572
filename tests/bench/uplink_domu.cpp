// SPDX-License-Identifier: GPL-2.0-or-later
// See uplink_domu.hpp.
#include "tests/bench/uplink_domu.hpp"

#include <format>
#include <vector>

#include "tests/lab/deadline.hpp"
#include "tests/lab/lab.hpp"
#include "tests/lab/provider.hpp"
#include "tests/vm/uplink_rig/pattern.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// At the provider: one more disk and one more card for the machine inside, and the other end of the measured network.
constexpr std::string_view kProvide = R"sh(set -eu
cd /root/rent
losetup --direct-io=on /dev/loop8 /root/bench.img || { losetup -d /dev/loop8 2>/dev/null || true; losetup /dev/loop8 /root/bench.img; }
xl block-attach east "format=raw, vdev=xvdc, access=rw, script=/root/rent/block, target=/dev/loop8"
xl network-attach east mac=00:16:3e:99:00:09 script=/root/rent/vif
ip address add 10.99.0.1/24 dev rent0
chmod 755 /root/probe /root/meter
setsid /root/probe serve </dev/null >/dev/null 2>&1 &
setsid /root/meter </dev/null >/dev/null 2>&1 &
)sh";

// In the blanket's dom0: both are handed on to a guest. Services that take processor time are stopped where there are any: one that is missing is no failure.
constexpr std::string_view kHandOn = R"sh(set -eu
systemctl stop blanketd blanket-etcd libvirtd openvswitch-switch 2>/dev/null || true
mkdir -p /root/bench/root/modules; cd /root/bench
modules=/usr/lib/modules/$(uname -r)/kernel/drivers
cp "$modules"/block/xen-blkfront.ko "$modules"/net/xen-netfront.ko root/modules/
printf '%s\n' xen-blkfront xen-netfront >root/modules/stock.list
mv /root/probe root/init; chmod 755 root/init
(cd root && find . | cpio --quiet -o -H newc) >initrd.img
for i in $(seq 60); do [ ! -e /dev/xvdc ] || break; sleep 1; done; [ -e /dev/xvdc ]
card=$(grep -l 00:16:3e:99:00:09 /sys/class/net/eth*/address | cut -d/ -f5); [ -n "$card" ]
ip link add bench0 type bridge; ip link set "$card" master bench0 up; ip link set bench0 up; ip address add 10.99.0.3/24 dev bench0
chmod 755 /root/meter; setsid /root/meter </dev/null >/dev/null 2>&1 &
cat >guest.cfg <<S
name = "probe"
type = "pv"
kernel = "/boot/vmlinuz"
ramdisk = "/root/bench/initrd.img"
cmdline = "console=hvc0 quiet panic=5 stock=1 inner=10.99.0.3 @WORDS@"
memory = 256
vcpus = 1
on_crash = "destroy"
on_reboot = "destroy"
disk = [ "format=raw, vdev=xvda, access=rw, script=/root/bench/block, target=/dev/xvdc" ]
vif = [ "mac=00:16:3e:99:00:0a, script=/root/bench/vif" ]
S
xl create guest.cfg
(sleep 1800 | setsid xl console -t pv probe >console.log 2>&1) </dev/null >/dev/null 2>&1 &
)sh";

}  // namespace

Result<std::string> run_in_domu(const std::string& appliance, const std::string& words) {
    lab::LabOptions options;
    options.name = "bench-uplink-domu";
    options.image = appliance;
    options.capture_bytes = 0;
    options.providers["east"] = lab::Provider::kXenPvh;
    BLANKET_TRY(const auto lab, lab::Lab::create(std::move(options)));
    BLANKET_CHECK(lab->start(lab::east_profile()));
    BLANKET_CHECK(lab->wait_ready("east", minutes(10)));
    BLANKET_TRY(lab::Ssh* const provider, lab->provider_ssh("east"));
    BLANKET_TRY(lab::Ssh* const inside, lab->ssh("east"));
    std::vector<std::uint64_t> pattern(kRegionBytes / 8);
    fill(pattern, 0, kProviderSeed);
    std::string bytes(reinterpret_cast<const char*>(pattern.data()), kRegionBytes);
    bytes.resize(2 * kRegionBytes);
    const std::string disk = lab->dir() + "/bench.img";
    BLANKET_CHECK(write_file(disk, bytes));
    BLANKET_CHECK(provider->put_file(disk, "/root/bench.img", minutes(3)));
    for (lab::Ssh* const machine : {provider, inside}) {
        BLANKET_CHECK(machine->put_file(UPLINK_PROBE, "/root/probe", minutes(3)));
        BLANKET_CHECK(machine->put_file(UPLINK_METER, "/root/meter", minutes(3)));
    }
    BLANKET_CHECK(provider->script(kProvide, minutes(3)));
    std::string script(kHandOn);
    script.replace(script.find("@WORDS@"), 7, words);
    BLANKET_CHECK(lab::put_hotplug_scripts(*inside, "/root/bench", "bench0"));
    BLANKET_CHECK(inside->script(script, minutes(6)));
    std::string said;
    const auto ended = lab::wait_until("the guest of the blanket ends", minutes(15), seconds(3), [&]() -> Result<bool> {
        const auto text = inside->run_any({"cat", "/root/bench/console.log"});
        if (text) said = text->out;
        const auto there = inside->run_any({"xl", "domid", "probe"});
        return (there && there->status != 0) || said.contains("Kernel panic");
    });
    // What the guest's requests cost no copy: its own pages are granted on to the provider.
    BLANKET_TRY(const std::string granted, inside->run({"cat", "/sys/bus/blanket/granted_guests"}));
    said += std::format("PROBE bench granted_guests {} pages\n", trim(granted));
    BLANKET_TRY(const std::string direct, provider->run({"cat", "/sys/block/loop8/loop/dio"}));
    said += std::format("PROBE bench provider_disk_by_direct_io {} yes\n", trim(direct));
    if (!ended || !said.contains("PROBE end")) return fail(Kind::kIo, "the guest of the blanket did not end well; it said:\n{}", said);
    return said;
}

}  // namespace blanket::rig
