#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: nothing that two hosts could share. Root has no password, keys and ids come at first boot.
set -euo pipefail
rm -f /etc/ssh/ssh_host_*_key* /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
: >/etc/machine-id
echo blanket >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >/etc/hosts
usermod --password '*' root
rm -rf /var/cache/ldconfig /var/log/journal/* /var/lib/cloud /tmp/* /var/tmp/* /root/.ssh /root/.bash_history
# Everything that systemd would update after a change of /usr has been done here.
touch /etc/.updated /var/.updated
passwd -S root | grep -q ' L ' || { echo "root has a password" >&2; exit 1; }
