#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: users and directories, and which units start.
set -euo pipefail
systemd-sysusers
ldconfig
systemd-hwdb update
journalctl --update-catalog
enable=(systemd-networkd systemd-resolved systemd-timesyncd ssh xen libvirtd openvswitch-switch
        blanket-firstboot blanket-sshkey blanket-join blanket-confirm blanket-trial blanket-rescue blanket-userdata blanketd cloud-init-main cloud-init-local cloud-init-network cloud-config cloud-final)
for unit in "${enable[@]}"; do
    [ -e "/usr/lib/systemd/system/$unit.service" ] || { echo "no unit $unit.service: a package changed" >&2; exit 1; }
    systemctl --quiet enable "$unit.service"
done
# A VM starts and stops as its record says: nothing else saves, restores or starts guests.
mask=(libvirt-guests.service xendomains.service drbd.service lvm2-monitor.service lvm2-lvmpolld.socket lvm2-lvmpolld.service blk-availability.service
      dm-event.service dm-event.socket etcd.service ovs-record-hostname.service
      apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer man-db.timer
      getty@tty1.service console-getty.service systemd-repart.service systemd-growfs-root.service systemd-pcrphase.service
      libvirtd-tcp.socket libvirtd-tls.socket libvirtd-admin.socket virtlogd-admin.socket polkit.service networking.service
      cloud-init-hotplugd.socket cloud-init-hotplugd.service dhcpcd.service systemd-binfmt.service sys-kernel-debug.mount sys-kernel-tracing.mount dev-mqueue.mount
      user@.service grub-common.service modprobe@drm.service modprobe@fuse.service sys-fs-fuse-connections.mount
      keyboard-setup.service console-setup.service sshd-unix-local.socket sshd-keygen.service)
systemctl --quiet mask "${mask[@]}"
systemctl --quiet set-default multi-user.target
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
