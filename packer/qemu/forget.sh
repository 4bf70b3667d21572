#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last of all: what a second machine of this image must not have. What may be left is what image-builder/tree-check lets through; packer/test holds the variant against it.
set -euo pipefail
systemctl stop blanketd blanket-etcd openvswitch-switch ovs-vswitchd ovsdb-server 2>/dev/null || true

# The pool goes with its group, whose ids two machines would share: its partition too, which the first start makes anew.
disk=/dev/$(lsblk -no PKNAME "$(findmnt -vno SOURCE /)" | head -1)
for _ in 1 2 3; do
    # A device goes when nothing is on it any more; those that remain come at the next turn.
    dmsetup ls | awk '$2 ~ /^\(/ { print $1 }' | while read -r device; do dmsetup remove --retry "$device" 2>/dev/null || true; done
done
if vgs blanket >/dev/null 2>&1; then
    mapfile -t devices < <(vgs --noheadings -o pv_name blanket | tr -d ' ')
    vgremove -qq -ff -y blanket || { dmsetup ls --tree >&2; exit 1; }
    for device in "${devices[@]}"; do
        pvremove -qq -ff -y "$device"
        wipefs -qa "$device"
        blkdiscard -q "$device" || true   # what was in it takes no room in the variant
    done
fi
sfdisk -q --list -o Device,Name "$disk" | awk '$2 == "blanket-pool" { print $1 }' | while read -r part; do
    sfdisk -q --no-reread --no-tell-kernel --delete "$disk" "${part##*[!0-9]}"
done

# What is written while the machine goes down: the journal, and the random generator's seed.
journalctl --relinquish-var
mkdir -p /run/systemd/system/systemd-random-seed.service.d
printf '[Service]\nExecStop=\n' >/run/systemd/system/systemd-random-seed.service.d/forget.conf
systemctl daemon-reload

# packer/test's copy of the tree loses these bits, so it is looked at here.
more=$(find / -xdev -type f -perm /6000 ! -path '*/usr/lib/dbus-1.0/dbus-daemon-launch-helper')
[ -z "$more" ] || { echo "these run with the rights of others: $more" >&2; exit 1; }

cloud-init clean --logs --configs all || true
rm -rf /var/lib/blanket/* /var/lib/cloud /etc/blanket/join-token /etc/blanket/federation /etc/ssh/ssh_host_*_key* /root/.ssh /root/.bash_history /var/log/journal/* \
    /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/dbus/machine-id /etc/openvswitch/system-id.conf /var/lib/openvswitch/conf.db \
    /etc/lvm/{backup,archive}/* /var/lib/lvm/{backup,archive}/* /etc/systemd/network/*cloud-init*
/usr/libexec/blanket/boot-tries 0
echo blanket >/etc/hostname
: >/etc/machine-id
fstrim / || true
sync
