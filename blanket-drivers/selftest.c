// SPDX-License-Identifier: GPL-2.0-or-later
/* What uplink.ko tries when it is loaded with selftest=1, before any device is touched: each of its parts against the provider, and that nothing of it is left. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <asm/xen/page.h>

#include "uplink.h"

#define GRANTS 600u /* more than one frame of the table has */

static int grants(void)
{
	const unsigned int before = uplink_gnttab_used();
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	grant_ref_t head, *refs = kcalloc(GRANTS, sizeof(*refs), GFP_KERNEL);
	unsigned int i, held = 0;
	int rc = page && refs ? uplink_gnttab_alloc_grant_references(GRANTS, &head) : -ENOMEM;

	if (rc)
		goto out;
	for (i = 0; i < GRANTS; i++) {
		refs[i] = uplink_gnttab_claim_grant_reference(&head);
		uplink_gnttab_grant_foreign_access_ref(refs[i], 0, virt_to_gfn(page_address(page)), i % 2);
	}
	for (i = 0; i < GRANTS; i++) {
		held += !uplink_gnttab_end_foreign_access_ref(refs[i]);
		uplink_gnttab_free_grant_reference(refs[i]);
	}
	if (held || uplink_gnttab_used() != before)
		rc = -EBUSY;
out:
	kfree(refs);
	if (page)
		__free_page(page);
	return rc;
}

static irqreturn_t never(int irq, void *unused)
{
	return IRQ_HANDLED;
}

/* A port that waits for a peer, as a device's: taken, bound, given back, twice. That events come in the store has shown before. */
static int events(void)
{
	struct xenbus_device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	int rc = dev ? 0 : -ENOMEM, round;

	if (dev)
		dev->nodename = "device/selftest";
	for (round = 0; !rc && round < 2; round++) {
		evtchn_port_t port;

		rc = uplink_alloc_evtchn(dev, &port);
		if (rc)
			break;
		rc = uplink_bind_evtchn(port, never, 0, "uplink-selftest", dev);
		if (rc < 0) {
			uplink_free_evtchn(dev, port);
			break;
		}
		uplink_unbind_irq(rc, dev);
		rc = 0;
	}
	kfree(dev);
	return rc;
}

/* This machine's folder has a place where it may write. */
static int store(void)
{
	static const char text[] = "written by uplink, read back by uplink";
	char *read;
	int rc = uplink_xs_write(XBT_NIL, "data", "uplink-selftest", text);

	if (rc)
		return rc;
	read = uplink_xs_read(XBT_NIL, "data", "uplink-selftest", NULL);
	if (IS_ERR(read))
		return PTR_ERR(read);
	rc = strcmp(read, text) ? -EIO : 0;
	kfree(read);
	uplink_xs_write(XBT_NIL, "data", "uplink-selftest", "");
	return rc;
}

int uplink_selftest(void)
{
	static const struct {
		const char *name;
		int (*try)(void);
	} parts[] = { { "store", store }, { "grants", grants }, { "events", events } };
	unsigned int i;
	int rc;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		rc = parts[i].try();
		if (rc) {
			pr_err(UPLINK_LOG "self-test: %s: %d\n", parts[i].name, rc);
			return rc;
		}
	}
	pr_info(UPLINK_LOG "self-test passed\n");
	return 0;
}
