#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Base layer, in the chroot: the names that grub.cfg uses. The initramfs itself comes with the last layer's drivers (65-drivers.sh).
set -euo pipefail
version=$(basename /usr/lib/modules/*)
ln -sf "vmlinuz-$version" /boot/vmlinuz
ln -sf "initrd.img-$version" /boot/initrd.img
rm -f /vmlinuz* /initrd.img*
