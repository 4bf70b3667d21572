#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Base layer, in the chroot: removes caches and what the packages made for one machine only.
set -euo pipefail
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/cache/ldconfig /var/log/*.log /var/log/apt /var/lib/dpkg/*-old
rm -rf /usr/share/cloud-init-examples /boot/System.map-* /boot/config-*.old
rm -f /etc/ssh/ssh_host_*_key* /var/lib/systemd/random-seed /etc/hostname
find / -xdev -name '*.dpkg-old' -delete
