#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: the uplink modules become known to modprobe, and the initramfs gets them, so that root can lie on a provider's disk.
set -euo pipefail
version=$(basename /usr/lib/modules/*)
depmod "$version"
for module in uplink uplink_blk uplink_net; do modinfo -k "$version" -F depends "$module" >/dev/null; done
mkinitramfs -o "/boot/initrd.img-$version" "$version"
