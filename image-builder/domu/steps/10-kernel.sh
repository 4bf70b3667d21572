#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Base layer, in the chroot: initramfs, names for grub.cfg, and nothing made for one machine only.
set -euo pipefail
version=$(basename /usr/lib/modules/*)
mkinitramfs -o "/boot/initrd.img-$version" "$version"
ln -sf "vmlinuz-$version" /boot/vmlinuz
ln -sf "initrd.img-$version" /boot/initrd.img
rm -rf /vmlinuz* /initrd.img* /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/*.log /var/log/apt
