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

/* A driver already drives one of this class: to take it away now could take the root file system away. */
static bool driven(unsigned int class, unsigned int mask)
{
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev) {
		if ((dev->class & mask) != class || !dev->driver || dev->vendor == 0x5853)
			continue;
		pr_warn(UPLINK_LOG "%s is driven by %s already: the emulated devices of its kind stay\n", pci_name(dev), dev->driver->name);
		pci_dev_put(dev);
		return true;
	}
	return false;
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

static void unplug_emulated(void)
{
	struct xblanket_unplug *arg = kzalloc(sizeof(*arg), GFP_KERNEL);
	long rc;

	if (!arg)
		return;
	if (has_devices("vbd") && !driven(PCI_BASE_CLASS_STORAGE << 16, 0xff0000))
		arg->mask |= XBLANKET_UNPLUG_DISKS;
	if (has_devices("vif") && !driven(PCI_BASE_CLASS_NETWORK << 16, 0xff0000))
		arg->mask |= XBLANKET_UNPLUG_NICS;
	arg->mask &= ~uplink_provider.unplugged;
	if (arg->mask && unplug) {
		rc = uplink_op(XBLANKET_UNPLUG, arg);
		if (!rc) {
			pr_info(UPLINK_LOG "emulated devices taken away: %s%s\n", arg->mask & XBLANKET_UNPLUG_DISKS ? "disks " : "", arg->mask & XBLANKET_UNPLUG_NICS ? "network cards" : "");
			forget_unplugged();
		} else if (rc != -EOPNOTSUPP) /* that is a machine that never had any */
			pr_warn(UPLINK_LOG "the provider keeps its emulated devices: %ld\n", rc);
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
