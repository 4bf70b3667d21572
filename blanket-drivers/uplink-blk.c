// SPDX-License-Identifier: GPL-2.0-or-later
/* uplink-blk.ko: the distribution's block frontend, for the provider's disks. */
#include "rename.h"
#include "xen-blkfront.c"
#include "uplink.h" /* its prototypes beside the renamed ones of the kernel: where they differ, the build ends here */
MODULE_ALIAS("blanket:vbd");
