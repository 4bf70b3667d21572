#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: libxl calls our hotplug program instead of Xen's shell scripts, whose seconds are downtime.
set -euo pipefail
ln -sfn xen.service /usr/lib/systemd/system/xenstored.service
[ -x /usr/libexec/blanket/blanket-hotplug ] || exit 0
# The distro's script stays for disks that are files; the diversion survives upgrades of xen-utils-common.
dpkg-divert --quiet --local --rename --divert /etc/xen/scripts/block.distrib --add /etc/xen/scripts/block
ln -sfn /usr/libexec/blanket/blanket-hotplug /etc/xen/scripts/block
for name in vif-blanket vif-bridge; do ln -sfn blanket-hotplug "/usr/libexec/blanket/$name"; done
dpkg-divert --quiet --local --rename --divert /etc/xen/scripts/vif-bridge.distrib --add /etc/xen/scripts/vif-bridge
ln -sfn /usr/libexec/blanket/blanket-hotplug /etc/xen/scripts/vif-bridge
ln -sfn /usr/libexec/blanket/blanket-hotplug /etc/xen/scripts/vif-blanket
