// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uplink.ko: the provider's paravirtual disks and network cards for the dom0 of a Xen that runs inside a virtual machine of that provider's Xen.
 * Everywhere else (no such provider, another hypervisor, bare hardware, a DomU) the hypercall says so, and the module stays silent and out of memory.
 */
#include <linux/pci.h>
#include <linux/reboot.h>
#include <linux/slab.h>

#include <asm/xen/hypercall.h>
#include <xen/xen.h>

#include "uplink.h"

static bool unplug = true;
module_param(unplug, bool, 0444);
MODULE_PARM_DESC(unplug, "take the emulated disks and network cards away when the provider has paravirtual ones (default yes)");

static bool selftest;
module_param(selftest, bool, 0444);
MODULE_PARM_DESC(selftest, "try grants, events and the store when the module is loaded, and stay out if one does not work (default no)");

struct xblanket_query uplink_provider;
static struct pci_dev *platform; /* of an old provider: its interrupt line carries the events */
static struct sys_off_handler *power_off;
static bool watching;

long uplink_op(unsigned int cmd, void *arg)
{
	return xen_single_call(XBLANKET_HYPERCALL, cmd, (unsigned long)arg, 0, 0, 0);
}

/* ---------------------------------------------------------------- events by an interrupt line */

static irqreturn_t line_fired(int irq, void *unused)
{
	return uplink_op(XBLANKET_POLL, NULL) > 0 ? IRQ_HANDLED : IRQ_NONE;
}

static int take_line(void)
{
	struct xblanket_intx *line;
	int rc;

	if (uplink_provider.delivery != XBLANKET_DELIVERY_INTX)
		return 0;
	platform = pci_get_device(0x5853, 0x0001, NULL);
	line = kzalloc(sizeof(*line), GFP_KERNEL);
	rc = platform && line ? pci_enable_device(platform) : -ENODEV;
	if (rc)
		goto out;
	rc = request_irq(platform->irq, line_fired, IRQF_SHARED, "uplink", &uplink_provider);
	if (rc) {
		pci_disable_device(platform);
		goto out;
	}
	line->bus = platform->bus->number;
	line->devfn = platform->devfn;
	line->pin = platform->pin - 1;
	rc = uplink_op(XBLANKET_INTX, line);
	if (rc) {
		free_irq(platform->irq, &uplink_provider);
		pci_disable_device(platform);
	}
out:
	if (rc) {
		pci_dev_put(platform);
		platform = NULL;
	}
	kfree(line);
	return rc;
}

static void leave_line(void)
{
	if (!platform)
		return;
	free_irq(platform->irq, &uplink_provider);
	pci_disable_device(platform);
	pci_dev_put(platform);
	platform = NULL;
}

/* ---------------------------------------------------------------- emulated devices */

/* What the store lists is there a second time, as an emulated device, until that is unplugged. */
struct kind {
	const char *type, *name;
	unsigned int class, unplug;
};

static const struct kind kinds[] = {
	{ "vbd", "disks", PCI_BASE_CLASS_STORAGE, XBLANKET_UNPLUG_DISKS },
	{ "vif", "network cards", PCI_BASE_CLASS_NETWORK, XBLANKET_UNPLUG_NICS },
};
static unsigned int stays;  /* XBLANKET_UNPLUG_*: kinds whose emulated devices are still there */
static const char *stays_for[ARRAY_SIZE(kinds)]; /* why: /sys/bus/blanket/left_alone; written before the bus is there, then only read */
static bool emulates;       /* there is, or was, something to unplug */

/* NVMe is not what UNPLUG_DISKS takes, nor what a vbd is twice; 0x5853: the platform device itself. */
static bool is_of(const struct pci_dev *dev, const struct kind *kind)
{
	return dev->class >> 16 == kind->class && dev->class != PCI_CLASS_STORAGE_EXPRESS && dev->vendor != 0x5853;
}

static bool is_there(const struct kind *kind)
{
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev)
		if (is_of(dev, kind)) {
			pci_dev_put(dev);
			return true;
		}
	return false;
}

/* The emulated devices of a kind must stay: one of them has a driver (to take it away now could take the root file system away), or the user says so. NULL: they need not. */
static const char *must_stay(const struct kind *kind)
{
	const char *why;
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev) {
		if (!is_of(dev, kind) || (unplug && !dev->driver))
			continue;
		pr_warn(UPLINK_LOG "emulated %s stay (%s %s%s): the provider's PV %s are left alone\n", kind->name, pci_name(dev),
			dev->driver ? "is driven by " : "is to stay: unplug=0", dev->driver ? dev->driver->name : "", kind->name);
		why = dev->driver ? "driven" : "asked";
		pci_dev_put(dev);
		return why;
	}
	return NULL;
}

ssize_t uplink_left_alone_kinds(char *buf)
{
	ssize_t len = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (stays & kinds[i].unplug)
			len += sysfs_emit_at(buf, len, "%s %s\n", kinds[i].type, stays_for[i]);
	return len;
}

bool uplink_left_alone(const char *type, const char *nodename)
{
	unsigned int i;
	bool cdrom;
	char *what;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(type, kinds[i].type) && (stays & kinds[i].unplug))
			return true;
	if (!emulates || strcmp(type, "vbd"))
		return false;
	what = uplink_xs_read(XBT_NIL, nodename, "device-type", NULL); /* the CD drive is not unplugged with the disks */
	if (IS_ERR(what))
		return false;
	cdrom = !strcmp(what, "cdrom");
	kfree(what);
	return cdrom;
}

static bool has_devices(const char *type)
{
	unsigned int count = 0;
	char **ids = uplink_xs_directory(XBT_NIL, "device", type, &count);

	if (IS_ERR(ids))
		return false;
	kfree(ids);
	return count > 0;
}

/*
 * The kernel looked for PCI devices long before this module came, and nobody tells it that one has gone: a driver would then be bound to what answers no more
 * (e1000 tries it for a minute, and makes a card of it).
 */
static struct pci_dev *next_gone(void)
{
	struct pci_dev *dev = NULL;
	u32 id;

	for_each_pci_dev(dev) {
		u32 class = dev->class >> 16;

		if (dev->driver || (class != PCI_BASE_CLASS_NETWORK && class != PCI_BASE_CLASS_STORAGE))
			continue;
		if (pci_read_config_dword(dev, PCI_VENDOR_ID, &id) || PCI_POSSIBLE_ERROR(id))
			return dev; /* with a reference */
	}
	return NULL;
}

static void forget_unplugged(void)
{
	struct pci_dev *dev;

	while ((dev = next_gone())) {
		pr_info(UPLINK_LOG "%s has gone\n", pci_name(dev));
		pci_stop_and_remove_bus_device_locked(dev);
		pci_dev_put(dev);
	}
}

/* Nothing was unplugged. -EOPNOTSUPP: the provider does not know how, which is right on a machine that never had any, and on no other. */
static void keep_twins_off(u32 mask, long rc)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!(mask & kinds[i].unplug) || (rc == -EOPNOTSUPP && !is_there(&kinds[i])))
			continue;
		pr_warn(UPLINK_LOG "the provider keeps its emulated %s (%ld), and their PV twins are left alone\n", kinds[i].name, rc);
		emulates = true;
		stays |= kinds[i].unplug;
	}
}

static void unplug_emulated(void)
{
	struct xblanket_unplug *arg = kzalloc(sizeof(*arg), GFP_KERNEL);
	unsigned int i;
	long rc;

	if (!arg)
		return;
	emulates = uplink_provider.unplugged;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if ((uplink_provider.unplugged & kinds[i].unplug) || !has_devices(kinds[i].type))
			continue;
		stays_for[i] = must_stay(&kinds[i]);
		if (stays_for[i]) {
			stays |= kinds[i].unplug;
		} else if (unplug) {
			stays_for[i] = "refused"; /* where it is not, nobody asks */
			arg->mask |= kinds[i].unplug;
		}
	}
	emulates |= stays;
	if (arg->mask) {
		rc = uplink_op(XBLANKET_UNPLUG, arg);
		if (!rc) {
			pr_info(UPLINK_LOG "emulated devices taken away: %s%s\n", arg->mask & XBLANKET_UNPLUG_DISKS ? "disks " : "", arg->mask & XBLANKET_UNPLUG_NICS ? "network cards" : "");
			emulates = true;
			forget_unplugged();
		} else {
			keep_twins_off(arg->mask, rc);
		}
	}
	kfree(arg);
}

/* ---------------------------------------------------------------- the provider's wishes, and ours */

static void shutdown_asked(struct xenbus_watch *watch, const char *path, const char *token)
{
	char *what = uplink_xs_read(XBT_NIL, "control", "shutdown", NULL);

	if (IS_ERR(what))
		return;
	if (!strcmp(what, "poweroff") || !strcmp(what, "halt") || !strcmp(what, "reboot")) {
		pr_info(UPLINK_LOG "the provider asks: %s\n", what);
		uplink_xs_write(XBT_NIL, "control", "shutdown", "");
		if (!strcmp(what, "reboot"))
			orderly_reboot();
		else
			orderly_poweroff(false);
	} else if (*what)
		pr_warn(UPLINK_LOG "the provider asks for '%s': not with virtual machines of our own inside\n", what);
	kfree(what);
}

static struct xenbus_watch shutdown_watch = { .node = "control/shutdown", .callback = shutdown_asked };

static int power_off_now(struct sys_off_data *data)
{
	struct xblanket_shutdown *arg = data->cb_data;

	arg->reason = XBLANKET_SHUTDOWN_POWEROFF;
	uplink_op(XBLANKET_SHUTDOWN, arg);
	return NOTIFY_DONE;
}

static struct xblanket_shutdown shutdown_arg;

/* ---------------------------------------------------------------- coming and going */

static int ask_provider(void)
{
	struct xblanket_query *query = kzalloc(sizeof(*query), GFP_KERNEL);
	long rc = query ? uplink_op(XBLANKET_QUERY, query) : -ENOMEM;

	if (!rc) {
		uplink_provider = *query;
		if (query->provider != XBLANKET_PROVIDER_XEN || query->abi_major != XBLANKET_ABI_MAJOR)
			rc = -ENODEV;
	}
	kfree(query);
	return rc;
}

static int __init uplink_init(void)
{
	int rc;

	if (!xen_pv_domain() || !xen_initial_domain() || ask_provider())
		return -ENODEV;
	uplink_op(XBLANKET_RESET, NULL); /* what a module or kernel before this one left */
	rc = take_line();
	if (rc)
		return rc;
	rc = uplink_gnttab_init();
	if (rc)
		goto line;
	rc = uplink_xs_init();
	if (rc)
		goto grants;
	rc = selftest ? uplink_selftest() : 0;
	if (rc)
		goto store;
	unplug_emulated();
	rc = uplink_bus_init();
	if (rc)
		goto store;
	watching = !uplink_xs_watch(&shutdown_watch);
	if (!watching)
		pr_warn(UPLINK_LOG "the provider's wish to shut down will not be heard\n");
	power_off = register_sys_off_handler(SYS_OFF_MODE_POWER_OFF, SYS_OFF_PRIO_LOW, power_off_now, &shutdown_arg);
	pr_info(UPLINK_LOG "inside Xen %u.%u\n", uplink_provider.provider_version >> 16, uplink_provider.provider_version & 0xffff);
	return 0;
store:
	uplink_xs_exit();
grants:
	uplink_gnttab_exit();
line:
	leave_line();
	return rc;
}

static void __exit uplink_exit(void)
{
	if (!IS_ERR_OR_NULL(power_off))
		unregister_sys_off_handler(power_off);
	if (watching)
		uplink_xs_unwatch(&shutdown_watch);
	uplink_bus_exit();
	uplink_xs_exit();
	uplink_gnttab_exit();
	leave_line();
}

module_init(uplink_init);
module_exit(uplink_exit);
MODULE_DESCRIPTION("Paravirtual devices of the Xen around this Xen");
MODULE_LICENSE("GPL");
