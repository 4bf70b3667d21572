#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: the drivers of what providers rent out are among the modules that ship, and those of disks in the initramfs. A kernel that lacks one makes no image.
set -euo pipefail
tree=$(echo /usr/lib/modules/*)
disks=(virtio_pci virtio_blk virtio_scsi nvme xen-blkfront hv_storvsc pci-hyperv vmw_pvscsi mptsas ahci ata_piix sd_mod sr_mod usb-storage uas megaraid_sas mpt3sas uplink uplink-blk)
# EC2: ena, ixgbevf; GCE: gve, idpf; Azure: mana, hv_netvsc, mlx4 and mlx5; vSphere: vmxnet3; Hetzner, OVH and other bare metal: the rest
cards=(virtio_net xen-netfront ena ixgbevf gve idpf mana hv_netvsc mlx4_en mlx5_core vmxnet3 e1000 e1000e igb igbvf ixgbe i40e iavf ice bnxt_en bnx2x tg3 r8169 be2net enic qede uplink-net)
others=(hv_vmbus hv_utils virtio_balloon virtio-rng efivarfs isofs udf vfat 8021q bonding)

names() { sed -E 's|:.*||; s|.*/||; s|\.ko(\.[a-z]+)?$||' | tr - _ | sort -u; }
lacks() { # WHERE FILE NAME...
    local where=$1 file=$2 missing; shift 2
    missing=$(printf '%s\n' "$@" | tr - _ | sort -u | comm -23 - "$file" | paste -sd' ')
    [ -z "$missing" ] || { echo "drivers: $where of $(basename "$tree") lack: $missing" >&2; return 1; }
}
cat "$tree/modules.dep" "$tree/modules.builtin" | names >/tmp/drivers
{ lsinitramfs "/boot/initrd.img-$(basename "$tree")" | grep '\.ko'; cat "$tree/modules.builtin"; } | names >/tmp/initramfs-drivers
bad=0
lacks "the modules" /tmp/drivers "${disks[@]}" "${cards[@]}" "${others[@]}" || bad=1
lacks "the initramfs" /tmp/initramfs-drivers "${disks[@]}" || bad=1
rm /tmp/drivers /tmp/initramfs-drivers
[ $bad = 0 ]
