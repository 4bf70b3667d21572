#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: which services start, and no identity.
set -euo pipefail
systemctl --quiet enable systemd-networkd nginx
[ ! -x /usr/local/bin/demo-guest ] || systemctl --quiet enable demo-guest
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer \
    systemd-networkd-wait-online.service getty@tty1.service sys-kernel-debug.mount sys-kernel-tracing.mount systemd-pcrphase.service networking.service \
    modprobe@drm.service modprobe@fuse.service sys-fs-fuse-connections.mount grub-common.service
systemctl --quiet set-default multi-user.target
ldconfig; systemd-hwdb update; journalctl --update-catalog; systemd-sysusers
: >/etc/machine-id
echo guest >/etc/hostname
rm -f /etc/resolv.conf; : >/etc/resolv.conf  # mmdebstrap left the build machine's
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
printf 'LABEL=domu-root / ext4 noatime,errors=remount-ro 0 1\n' >/etc/fstab
grep -q '^root:[*!]' /etc/shadow || { echo 'root has a password' >&2; exit 1; }
rm -f /var/lib/systemd/random-seed /var/lib/dbus/machine-id
touch /etc/.updated /var/.updated
