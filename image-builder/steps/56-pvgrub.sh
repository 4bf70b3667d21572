#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: our pvgrub (with zstd) stands where tools and definitions expect the distro's.
set -euo pipefail
dpkg-divert --quiet --local --rename --divert /usr/lib/grub-xen/grub-x86_64-xen.distrib.bin --add /usr/lib/grub-xen/grub-x86_64-xen.bin
mv /usr/lib/grub-xen/grub-x86_64-xen.bin.new /usr/lib/grub-xen/grub-x86_64-xen.bin
