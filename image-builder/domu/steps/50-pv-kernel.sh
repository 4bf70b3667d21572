#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: the kernel in the form that pvgrub reads, as the hook does after each later upgrade.
set -euo pipefail
/etc/kernel/postinst.d/zz-pvgrub "$(basename /usr/lib/modules/*)"
