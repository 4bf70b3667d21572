#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Base layer, in the chroot: makes the initramfs and the names that grub.cfg uses.
set -euo pipefail
version=$(basename /usr/lib/modules/*)
mkinitramfs -o "/boot/initrd.img-$version" "$version"
ln -sf "vmlinuz-$version" /boot/vmlinuz
ln -sf "initrd.img-$version" /boot/initrd.img
rm -f /vmlinuz* /initrd.img*
