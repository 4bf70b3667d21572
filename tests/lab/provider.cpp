// SPDX-License-Identifier: GPL-2.0-or-later
// See provider.hpp.
#include "tests/lab/provider.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;

constexpr std::string_view kHotplug = R"sh(set -eu
mkdir -p @FOLDER@; cd @FOLDER@
cat >block <<'S'
#!/bin/sh
[ "$1" = add ] || exit 0
disk=$(xenstore-read "$XENBUS_PATH/params")
xenstore-write "$XENBUS_PATH/physical-device" "$(stat -L -c '%t:%T' "$disk")" "$XENBUS_PATH/physical-device-path" "$disk" "$XENBUS_PATH/hotplug-status" connected
S
cat >vif <<'S'
#!/bin/sh
case "$1" in
online) ip link set "$vif" master @BRIDGE@ up; xenstore-write "$XENBUS_PATH/hotplug-status" connected;;
add) ip link set "$INTERFACE" master @BRIDGE@ up;;
esac
S
chmod 755 block vif
)sh";

// What an appliance runs and a provider does not need is stopped; one of it that is missing is no failure.
constexpr std::string_view kPrepare = R"sh(set -eu
systemctl stop blanketd blanket-etcd libvirtd openvswitch-switch systemd-networkd systemd-networkd.socket 2>/dev/null || true
cd /root/rent
card=$(ip -o -4 address show | sed -n 's|^[0-9]*: \([^ ]*\) .*inet @PROVIDER@/24.*|\1|p'); [ -n "$card" ]
ip link add rent0 type bridge; ip link set "$card" master rent0
ip address flush dev "$card"; ip link set rent0 up; ip address add @PROVIDER@/24 dev rent0
disk=/dev/disk/by-id/virtio-inside; [ -e "$disk" ]
losetup /dev/loop7 seed.img
cat >guest.cfg <<S
name = "@NAME@"
memory = @MEMORY@
vcpus = 1
tsc_mode = "native"
on_crash = "destroy"
S
)sh";

// No firmware and no device model. It boots the same kernel and initramfs, from the provider's own /boot, with the arguments that the appliance's GRUB would give, but for the consoles.
constexpr std::string_view kPvh = R"sh(
xen=$(sed -n 's|^set xen_args="\(.*\)"|\1|p' /boot/args.cfg | sed 's/com1=[^ ]*//; s/console=[^ ]*//')
uuid=$(blkid -s UUID -o value /dev/vda3)
cat >>guest.cfg <<S
type = "pvh"
pvshim = 1
pvshim_path = "/boot/xen-blanket.gz"
pvshim_cmdline = "console=xen,pv $xen"
kernel = "/boot/vmlinuz"
ramdisk = "/boot/initrd.img"
cmdline = "root=UUID=$uuid rootfstype=ext4 ro rootflags=noatime boot=blanket-slot blanket.slot=a net.ifnames=0 panic=10 quiet clocksource=xen console=hvc0"
on_reboot = "destroy"
disk = [ "format=raw, vdev=xvda, access=rw, script=/root/rent/block, target=$disk", "format=raw, vdev=xvdb, access=ro, script=/root/rent/block, target=/dev/loop7" ]
vif = [ "mac=@MAC@, script=/root/rent/vif" ]
S
)sh";

// A PC: BIOS, emulated disks and an emulated card, which are the provider's paravirtual ones as well. The disk boots by its own GRUB. AHCI, as SeaBIOS reads IDE word by word: 55 KiB/s
// here. Neither screen nor serial port: each character would cost the emulated processor milliseconds.
constexpr std::string_view kHvm = R"sh(
cat >>guest.cfg <<S
@MODEL@
hdtype = "ahci"
on_reboot = "restart"
disk = [ "format=raw, vdev=hda, access=rw, script=/root/rent/block, target=$disk", "format=raw, vdev=hdb, access=rw, script=/root/rent/block, target=/dev/loop7" ]
vif = [ "mac=@MAC@, model=e1000, script=/root/rent/vif" ]
S
)sh";

constexpr std::string_view kModel = R"sh(set -eu
mkdir -p /root/model /var/log/xen; mount -t squashfs -o ro /dev/disk/by-id/virtio-model /root/model
cat >/root/device-model <<'S'
#!/bin/sh
m=/root/model
exec $m/usr/lib64/ld-linux-x86-64.so.2 --library-path $m/usr/lib/x86_64-linux-gnu $m/usr/libexec/xen-qemu-system-i386 -L $m/usr/share/qemu -L $m/usr/share/seabios "$@"
S
chmod 755 /root/device-model
)sh";

constexpr std::string_view kStart = R"sh(
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

Result<void> put_hotplug_scripts(Ssh& provider, const std::string& folder, const std::string& bridge) {
    BLANKET_CHECK(provider.script(filled(filled(std::string(kHotplug), "@FOLDER@", folder), "@BRIDGE@", bridge)));
    return {};
}

Result<void> mount_device_model(Ssh& provider) {
    BLANKET_CHECK(provider.script(kModel, minutes(2)));
    return {};
}

std::string device_model_lines() {
    return "type = \"hvm\"\nfirmware_override = \"/root/model/usr/lib/xen-4.20/boot/hvmloader\"\nbios = \"seabios\"\n"
           "bios_path_override = \"/root/model/usr/share/seabios/bios-256k.bin\"\ndevice_model_version = \"qemu-xen\"\n"
           "device_model_override = \"/root/device-model\"\nvga = \"none\"\nvnc = 0\n";
}

Result<void> start_guest(Ssh& provider, const MachineProfile& inside, const std::string& seed) {
    BLANKET_CHECK(put_hotplug_scripts(provider, "/root/rent", "rent0"));
    BLANKET_CHECK(provider.put_file(seed, "/root/rent/seed.img", minutes(2)));
    if (inside.provider == Provider::kXenHvm) BLANKET_CHECK(mount_device_model(provider));
    std::string script{kPrepare};
    script += inside.provider == Provider::kXenHvm ? kHvm : kPvh;
    script = filled(filled(script.append(kStart), "@MODEL@", device_model_lines()), "@PROVIDER@", provider.address());
    script = filled(filled(filled(script, "@NAME@", inside.name), "@MAC@", inside.mac), "@MEMORY@", std::format("{}", inside.memory_mib));
    BLANKET_CHECK(provider.script(script, minutes(5)));
    return {};
}

}  // namespace blanket::lab
