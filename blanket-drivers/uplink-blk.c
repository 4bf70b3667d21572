// SPDX-License-Identifier: GPL-2.0-or-later
/* uplink-blk.ko: the distribution's block frontend, for the provider's disks. */
#include "rename.h"
#include "xen-blkfront.c"
MODULE_ALIAS("blanket:vbd");
