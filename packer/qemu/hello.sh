#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is it that your scripts run in?
set -euo pipefail
blanket --version
cat /sys/hypervisor/type 2>/dev/null || echo "without Xen"
