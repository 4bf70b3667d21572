// SPDX-License-Identifier: GPL-2.0-or-later
/* uplink-net.ko: the distribution's network frontend, for the provider's networks; and an end for the card of a backend that lied. */
#include "rename.h"
#include <linux/interrupt.h>
#include <linux/netdevice.h>
#include <linux/percpu.h>

static int poll_to_its_end(struct napi_struct *napi, int budget);
static bool complete_and_note(struct napi_struct *napi, int done);
static void quiet_then_carrier_off(struct net_device *dev);
#define netif_napi_add(dev, napi, poll) netif_napi_add(dev, napi, poll_to_its_end)
#define napi_complete_done complete_and_note
#define netif_carrier_off quiet_then_carrier_off
#undef pr_fmt /* it has its own */
#include "xen-netfront.c"
#undef netif_napi_add
#undef napi_complete_done
#undef netif_carrier_off
#include "uplink.h" /* its prototypes beside the renamed ones of the kernel: where they differ, the build ends here */
MODULE_ALIAS("blanket:vif");

static DEFINE_PER_CPU(bool, completed); /* a poll does not change its processor */

static bool complete_and_note(struct napi_struct *napi, int done)
{
	this_cpu_write(completed, true);
	return napi_complete_done(napi, done);
}

/* The frontend leaves the poll of a card that lied as if it went on, and who takes the card away waits for its end for ever, and the bus with him. */
static int poll_to_its_end(struct napi_struct *napi, int budget)
{
	int done;

	this_cpu_write(completed, false);
	done = xennet_poll(napi, budget);
	if (done < budget && !this_cpu_read(completed))
		napi_complete_done(napi, done);
	return done;
}

/* An event between this and the end of the interrupts is a BUG() of the frontend: it looks for its carrier. */
static void quiet_then_carrier_off(struct net_device *dev)
{
	struct netfront_info *info = netdev_priv(dev);
	unsigned int i;

	for (i = 0; info->queues && i < dev->real_num_tx_queues; i++) {
		if (info->queues[i].tx_irq)
			disable_irq(info->queues[i].tx_irq);
		if (info->queues[i].rx_irq && info->queues[i].rx_irq != info->queues[i].tx_irq)
			disable_irq(info->queues[i].rx_irq);
	}
	netif_carrier_off(dev);
}
