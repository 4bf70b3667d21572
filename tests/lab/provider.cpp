// SPDX-License-Identifier: GPL-2.0-or-later
// See provider.hpp.
#include "tests/lab/provider.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;

// Backends by scripts of their own: the appliance's hotplug program serves the blanket's VMs only. The guest boots the same kernel and initramfs, from the
// provider's own /boot, with the arguments that the appliance's GRUB would give, but for the consoles.
constexpr std::string_view kRentOut = R"sh(set -eu
systemctl stop blanketd blanket-etcd libvirtd openvswitch-switch systemd-networkd systemd-networkd.socket 2>/dev/null || true
mkdir -p /root/rent; cd /root/rent
cat >block <<'S'
#!/bin/sh
[ "$1" = add ] || exit 0
xenstore-write "$XENBUS_PATH/physical-device" "$(stat -L -c '%t:%T' "$(xenstore-read "$XENBUS_PATH/params")")" "$XENBUS_PATH/hotplug-status" connected
S
cat >vif <<'S'
#!/bin/sh
[ "$1" = online ] || exit 0
ip link set "$vif" master rent0 up
xenstore-write "$XENBUS_PATH/hotplug-status" connected
S
chmod 755 block vif
card=$(ip -o -4 address show | sed -n 's|^[0-9]*: \([^ ]*\) .*inet @PROVIDER@/24.*|\1|p'); [ -n "$card" ]
ip link add rent0 type bridge; ip link set "$card" master rent0
ip address flush dev "$card"; ip link set rent0 up; ip address add @PROVIDER@/24 dev rent0
disk=/dev/disk/by-id/virtio-inside; [ -e "$disk" ]
losetup /dev/loop7 seed.img
xen=$(sed -n 's|^set xen_args="\(.*\)"|\1|p' /boot/args.cfg | sed 's/com1=[^ ]*//; s/console=[^ ]*//')
uuid=$(blkid -s UUID -o value /dev/vda3)
cat >guest.cfg <<S
name = "@NAME@"
type = "pvh"
pvshim = 1
pvshim_path = "/boot/xen-blanket.gz"
pvshim_cmdline = "console=xen,pv $xen"
kernel = "/boot/vmlinuz"
ramdisk = "/boot/initrd.img"
cmdline = "root=UUID=$uuid rootfstype=ext4 ro rootflags=noatime boot=blanket-slot blanket.slot=a net.ifnames=0 panic=10 quiet clocksource=xen console=hvc0"
memory = @MEMORY@
vcpus = 1
tsc_mode = "native"
on_crash = "destroy"
on_reboot = "destroy"
disk = [ "format=raw, vdev=xvda, access=rw, script=/root/rent/block, target=$disk", "format=raw, vdev=xvdb, access=ro, script=/root/rent/block, target=/dev/loop7" ]
vif = [ "mac=@MAC@, script=/root/rent/vif" ]
S
xl create guest.cfg
(sleep 100000 | setsid xl console -t pv @NAME@ >console.log 2>&1) </dev/null >/dev/null 2>&1 &
)sh";

std::string filled(std::string text, const std::string& name, const std::string& value) {
    for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size())) text.replace(at, name.size(), value);
    return text;
}

}  // namespace

Result<void> make_provider_image(const std::string& image, const std::string& out) {
    BLANKET_CHECK(run({BLANKET_LAB_SOURCE_DIR "/tests/lab/make_provider.sh", image, out}, {.deadline = minutes(5)}));
    return {};
}

Result<void> start_guest(Ssh& provider, const MachineProfile& inside, const std::string& seed) {
    BLANKET_CHECK(provider.run({"mkdir", "-p", "/root/rent"}));
    BLANKET_CHECK(provider.put_file(seed, "/root/rent/seed.img", minutes(2)));
    std::string script = filled(std::string(kRentOut), "@PROVIDER@", provider.address());
    script = filled(filled(filled(script, "@NAME@", inside.name), "@MAC@", inside.mac), "@MEMORY@", std::format("{}", inside.memory_mib));
    BLANKET_CHECK(provider.script(script, minutes(5)));
    return {};
}

}  // namespace blanket::lab
