// SPDX-License-Identifier: GPL-2.0-or-later
/* uplink-net.ko: the distribution's network frontend, for the provider's networks. */
#include "rename.h"
#include "xen-netfront.c"
#include "uplink.h" /* its prototypes beside the renamed ones of the kernel: where they differ, the build ends here */
MODULE_ALIAS("blanket:vif");
