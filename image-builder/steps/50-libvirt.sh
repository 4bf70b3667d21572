#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: libvirt with the Xen driver only.
set -euo pipefail
/usr/libexec/blanket/libvirt-cpu-map
