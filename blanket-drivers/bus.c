// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bus "blanket": one device for each virtual disk and network card that the provider's toolstack gave this machine (device/<type>/<id> in its store),
 * and the handshake of states between frontend and backend. Not the kernel's own xenbus: dom0 has its own store there, and guests of its own.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <asm/xen/page.h>
#include <xen/page.h>

#include "uplink.h"

#define RESET_TRIES 50 /* of 100 ms: how long a backend may take to let go of what an earlier driver left */

/* Compares the bus with the store. Not on the watches' thread: for that one waits who removes a driver, and he holds a device's lock. */
static void look(struct work_struct *work);
static DECLARE_WORK(looking, look);

/* ---------------------------------------------------------------- states */

enum xenbus_state uplink_read_driver_state(const char *path)
{
	return uplink_xs_read_unsigned(path, "state", XenbusStateUnknown);
}
EXPORT_SYMBOL_GPL(uplink_read_driver_state);

int uplink_switch_state(struct xenbus_device *dev, enum xenbus_state state)
{
	int rc;

	if (state == dev->state)
		return 0;
	/* A node that the toolstack has removed is not written again: that would leave it behind for ever. */
	if (!uplink_xs_exists(XBT_NIL, dev->nodename, "state"))
		return 0;
	rc = uplink_xs_printf(XBT_NIL, dev->nodename, "state", "%d", state);
	if (rc) {
		if (state != XenbusStateClosing)
			uplink_dev_fatal(dev, rc, "writing new state");
		return rc;
	}
	dev->state = state;
	return 0;
}
EXPORT_SYMBOL_GPL(uplink_switch_state);

int uplink_frontend_closed(struct xenbus_device *dev)
{
	uplink_switch_state(dev, XenbusStateClosed);
	complete(&dev->down);
	return 0;
}
EXPORT_SYMBOL_GPL(uplink_frontend_closed);

int uplink_dev_is_online(struct xenbus_device *dev)
{
	return !!uplink_xs_read_unsigned(dev->nodename, "online", 0);
}
EXPORT_SYMBOL_GPL(uplink_dev_is_online);

static void tell(struct xenbus_device *dev, int error, const char *fmt, va_list args)
{
	char *text = kvasprintf(GFP_KERNEL, fmt, args), *path;

	if (!text)
		return;
	dev_err(&dev->dev, "%s (%d)\n", text, error);
	path = kasprintf(GFP_KERNEL, "error/%s", dev->nodename);
	if (path)
		uplink_xs_printf(XBT_NIL, path, "error", "%d %s", -error, text);
	kfree(path);
	kfree(text);
}

void uplink_dev_error(struct xenbus_device *dev, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell(dev, error, fmt, args);
	va_end(args);
}
EXPORT_SYMBOL_GPL(uplink_dev_error);

void uplink_dev_fatal(struct xenbus_device *dev, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell(dev, error, fmt, args);
	va_end(args);
	uplink_switch_state(dev, XenbusStateClosing);
}
EXPORT_SYMBOL_GPL(uplink_dev_fatal);

/* ---------------------------------------------------------------- rings */

int uplink_setup_ring(struct xenbus_device *dev, gfp_t flags, void **address, unsigned int pages, grant_ref_t *refs)
{
	const size_t bytes = pages * XEN_PAGE_SIZE;
	grant_ref_t head;
	unsigned int i;
	int rc;

	for (i = 0; i < pages; i++)
		refs[i] = INVALID_GRANT_REF;
	*address = alloc_pages_exact(bytes, flags | __GFP_ZERO);
	if (!*address) {
		rc = -ENOMEM;
		goto fail;
	}
	rc = uplink_gnttab_alloc_grant_references(pages, &head);
	if (rc)
		goto fail;
	for (i = 0; i < pages; i++) {
		refs[i] = uplink_gnttab_claim_grant_reference(&head);
		uplink_gnttab_grant_foreign_access_ref(refs[i], dev->otherend_id, virt_to_gfn(*address + i * XEN_PAGE_SIZE), 0);
	}
	return 0;
fail:
	if (*address)
		free_pages_exact(*address, bytes);
	*address = NULL;
	uplink_dev_fatal(dev, rc, "setting up a ring of %u pages", pages);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_setup_ring);

void uplink_teardown_ring(void **address, unsigned int pages, grant_ref_t *refs)
{
	unsigned int i;

	for (i = 0; i < pages; i++) {
		void *page = *address ? *address + i * XEN_PAGE_SIZE : NULL;

		if (refs[i] != INVALID_GRANT_REF)
			uplink_gnttab_end_foreign_access(refs[i], page ? virt_to_page(page) : NULL); /* takes the page */
		else if (page)
			free_page((unsigned long)page);
		refs[i] = INVALID_GRANT_REF;
	}
	*address = NULL;
}
EXPORT_SYMBOL_GPL(uplink_teardown_ring);

/* ---------------------------------------------------------------- devices and drivers */

static const struct xenbus_device_id *id_of(const struct xenbus_device_id *ids, const struct xenbus_device *dev)
{
	for (; *ids->devicetype; ids++)
		if (!strcmp(ids->devicetype, dev->devicetype))
			return ids;
	return NULL;
}

static int match(struct device *dev, const struct device_driver *driver)
{
	return id_of(to_xenbus_driver(driver)->ids, to_xenbus_device(dev)) != NULL;
}

static int add_uevent(const struct device *dev, struct kobj_uevent_env *env)
{
	return add_uevent_var(env, "MODALIAS=blanket:%s", to_xenbus_device(dev)->devicetype);
}

static void backend_changed(struct xenbus_watch *watch, const char *path, const char *token)
{
	struct xenbus_device *dev = container_of(watch, struct xenbus_device, otherend_watch);
	struct xenbus_driver *driver = to_xenbus_driver(dev->dev.driver);
	enum xenbus_state state;

	if (!dev->otherend || strncmp(dev->otherend, path, strlen(dev->otherend)))
		return;
	state = uplink_read_driver_state(dev->otherend);
	if (driver->otherend_changed)
		driver->otherend_changed(dev, state);
	if (state == XenbusStateInitWait && dev->state == XenbusStateClosed)
		schedule_work(&looking);
}

static void forget_watch(struct xenbus_device *dev)
{
	if (!dev->otherend_watch.node)
		return;
	uplink_xs_unwatch(&dev->otherend_watch);
	kfree(dev->otherend_watch.node);
	dev->otherend_watch.node = NULL;
}

static void forget_backend(struct xenbus_device *dev)
{
	kfree(dev->otherend);
	dev->otherend = NULL;
}

static int find_backend(struct xenbus_device *dev)
{
	int rc = uplink_xs_gather(XBT_NIL, dev->nodename, "backend-id", "%i", &dev->otherend_id, "backend", NULL, &dev->otherend, NULL);

	if (!rc && (!*dev->otherend || !uplink_xs_exists(XBT_NIL, dev->otherend, "")))
		rc = -ENOENT;
	if (!rc && (dev->otherend_id < 0 || dev->otherend_id >= DOMID_FIRST_RESERVED))
		rc = -EINVAL;
	if (rc)
		uplink_dev_error(dev, rc, "no backend");
	return rc;
}

/* An earlier driver (the firmware's, a kernel before, this module before) may have left the handshake anywhere, and a backend that was started again is at
 * its start: back to there. */
static void reset_handshake(const char *nodename)
{
	static const struct { enum xenbus_state mine, theirs; } steps[] = {
		{ XenbusStateClosing, XenbusStateClosing }, { XenbusStateClosed, XenbusStateClosed }, { XenbusStateInitialising, XenbusStateInitWait } };
	char *backend = uplink_xs_read(XBT_NIL, nodename, "backend", NULL);
	unsigned int i, tries;

	if (IS_ERR(backend))
		return;
	for (i = uplink_read_driver_state(backend) == XenbusStateConnected ? 0 : 1; i < ARRAY_SIZE(steps); i++) {
		if (uplink_xs_printf(XBT_NIL, nodename, "state", "%d", steps[i].mine))
			break;
		for (tries = 0; tries < RESET_TRIES && uplink_read_driver_state(backend) != steps[i].theirs; tries++) {
			if (i == 0 && uplink_read_driver_state(backend) == XenbusStateClosed) /* quicker than we look */
				break;
			msleep(100);
		}
	}
	kfree(backend);
}

static int probe(struct device *device)
{
	struct xenbus_device *dev = to_xenbus_device(device);
	struct xenbus_driver *driver = to_xenbus_driver(device->driver);
	int rc = find_backend(dev);

	if (!rc && dev->state != XenbusStateInitialising) {
		reset_handshake(dev->nodename);
		dev->state = uplink_read_driver_state(dev->nodename);
		rc = dev->state == XenbusStateInitialising ? 0 : -EIO;
	}
	if (!rc)
		rc = driver->probe(dev, id_of(driver->ids, dev));
	if (rc)
		goto fail;
	dev->otherend_watch.callback = backend_changed;
	dev->otherend_watch.node = kasprintf(GFP_KERNEL, "%s/state", dev->otherend);
	rc = dev->otherend_watch.node ? uplink_xs_watch(&dev->otherend_watch) : -ENOMEM;
	if (!rc)
		return 0;
	kfree(dev->otherend_watch.node);
	dev->otherend_watch.node = NULL;
	if (driver->remove)
		driver->remove(dev);
fail:
	forget_backend(dev);
	return rc;
}

static void remove(struct device *device)
{
	struct xenbus_device *dev = to_xenbus_device(device);
	struct xenbus_driver *driver = to_xenbus_driver(device->driver);

	forget_watch(dev); /* first, so that no callback finds a device that is half gone; a driver that waits for the backend reads its state */
	if (driver->remove)
		driver->remove(dev);
	forget_backend(dev);
	if (!driver->allow_rebind || uplink_read_driver_state(dev->nodename) == XenbusStateClosing)
		uplink_switch_state(dev, XenbusStateClosed);
}

static ssize_t nodename_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_xenbus_device(dev)->nodename);
}
static DEVICE_ATTR_RO(nodename);

static ssize_t devtype_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_xenbus_device(dev)->devicetype);
}
static DEVICE_ATTR_RO(devtype);

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	static const char *const names[] = { "unknown", "initialising", "init-wait", "initialised", "connected", "closing", "closed", "reconfiguring", "reconfigured" };
	unsigned int state = to_xenbus_device(dev)->state;

	return sysfs_emit(buf, "%s\n", state < ARRAY_SIZE(names) ? names[state] : names[0]);
}
static DEVICE_ATTR_RO(state);

static struct attribute *device_attrs[] = { &dev_attr_nodename.attr, &dev_attr_devtype.attr, &dev_attr_state.attr, NULL };
ATTRIBUTE_GROUPS(device);

/* Counters since the machine's start, the two of granted pages since the module's; ports and grants: now. */
#define STAT(name)                                                                                       \
	static ssize_t name##_show(const struct bus_type *bus, char *buf)                                 \
	{                                                                                                 \
		struct xblanket_stats *stats = kzalloc(sizeof(*stats), GFP_KERNEL);                       \
		long rc = stats ? uplink_op(XBLANKET_STATS, stats) : -ENOMEM;                             \
                                                                                                          \
		if (!rc)                                                                                  \
			rc = sysfs_emit(buf, "%llu\n", (unsigned long long)stats->name);                  \
		kfree(stats);                                                                             \
		return rc;                                                                                \
	}                                                                                                 \
	static BUS_ATTR_RO(name)
STAT(upcalls);
STAT(forwarded);
STAT(dropped);
STAT(sends);
STAT(send_failures);
STAT(ports);
STAT(grant_frames);

static ssize_t grants_show(const struct bus_type *bus, char *buf)
{
	return sysfs_emit(buf, "%u\n", uplink_gnttab_used());
}
static BUS_ATTR_RO(grants);

static ssize_t granted_own_show(const struct bus_type *bus, char *buf)
{
	return sysfs_emit(buf, "%lu\n", uplink_gnttab_granted(false));
}
static BUS_ATTR_RO(granted_own);

static ssize_t granted_guests_show(const struct bus_type *bus, char *buf)
{
	return sysfs_emit(buf, "%lu\n", uplink_gnttab_granted(true));
}
static BUS_ATTR_RO(granted_guests);

static ssize_t provider_show(const struct bus_type *bus, char *buf)
{
	return sysfs_emit(buf, "xen %u.%u\n", uplink_provider.provider_version >> 16, uplink_provider.provider_version & 0xffff);
}
static BUS_ATTR_RO(provider);

static ssize_t left_alone_show(const struct bus_type *bus, char *buf)
{
	return uplink_left_alone_kinds(buf);
}
static BUS_ATTR_RO(left_alone);

static struct attribute *bus_attrs[] = { &bus_attr_provider.attr, &bus_attr_upcalls.attr, &bus_attr_forwarded.attr, &bus_attr_dropped.attr, &bus_attr_sends.attr,
	&bus_attr_send_failures.attr, &bus_attr_ports.attr, &bus_attr_grant_frames.attr, &bus_attr_grants.attr, &bus_attr_granted_own.attr, &bus_attr_granted_guests.attr, &bus_attr_left_alone.attr, NULL };
ATTRIBUTE_GROUPS(bus);

static const struct bus_type uplink_bus = {
	.name = "blanket",
	.match = match,
	.uevent = add_uevent,
	.probe = probe,
	.remove = remove,
	.dev_groups = device_groups,
	.bus_groups = bus_groups,
};

int uplink_register_frontend(struct xenbus_driver *driver, struct module *owner, const char *module_name)
{
	driver->driver.name = driver->name ? driver->name : driver->ids[0].devicetype;
	driver->driver.bus = &uplink_bus;
	driver->driver.owner = owner;
	driver->driver.mod_name = module_name;
	return driver_register(&driver->driver);
}
EXPORT_SYMBOL_GPL(uplink_register_frontend);

void uplink_unregister_driver(struct xenbus_driver *driver)
{
	driver_unregister(&driver->driver);
}
EXPORT_SYMBOL_GPL(uplink_unregister_driver);

/* ---------------------------------------------------------------- finding devices */

static void free_device(struct device *device)
{
	kfree(to_xenbus_device(device));
}

static int same_node(struct device *device, const void *nodename)
{
	return !strcmp(to_xenbus_device(device)->nodename, nodename);
}

static void add_device(const char *type, const char *nodename)
{
	const size_t len = strlen(nodename) + 1;
	struct xenbus_device *dev;
	int state = uplink_read_driver_state(nodename);

	if (state == XenbusStateUnknown)
		return;
	dev = kzalloc(sizeof(*dev) + len + strlen(type) + 1, GFP_KERNEL);
	if (!dev)
		return;
	dev->state = state;
	dev->nodename = memcpy(dev + 1, nodename, len);
	dev->devicetype = strcpy((char *)(dev + 1) + len, type);
	init_completion(&dev->down);
	dev->dev.bus = &uplink_bus;
	dev->dev.release = free_device;
	dev_set_name(&dev->dev, "%s-%s", type, strrchr(nodename, '/') + 1);
	if (device_register(&dev->dev))
		put_device(&dev->dev);
}

/*
 * A backend went and is there again: the frontends' drivers have closed, and take no notice. Or the node was removed and made anew between two looks.
 * With the device's lock.
 */
static bool wants_restart(const struct xenbus_device *dev)
{
	if (dev->state == XenbusStateClosed && dev->otherend && uplink_read_driver_state(dev->otherend) == XenbusStateInitWait)
		return true;
	return dev->dev.driver && dev->state != XenbusStateInitialising && uplink_read_driver_state(dev->nodename) == XenbusStateInitialising;
}

static void restart(struct device *device)
{
	bool wants;

	device_lock(device);
	wants = wants_restart(to_xenbus_device(device));
	device_unlock(device);
	if (!wants)
		return;
	dev_info(device, "its backend is there again\n");
	device_release_driver(device);
	if (device_attach(device) != 1)
		dev_warn(device, "does not come up with it\n");
}

static int look_at_known(struct device *device, void *unused)
{
	char *there = uplink_xs_read(XBT_NIL, to_xenbus_device(device)->nodename, "", NULL);

	if (PTR_ERR_OR_ZERO(there) == -ENOENT) /* no other error: a disk does not go because the store has */
		device_unregister(device);
	else if (!IS_ERR(there))
		restart(device);
	if (!IS_ERR(there))
		kfree(there);
	return 0;
}

/* Of what the provider calls kinds and devices: they end up in names that user space reads. */
static bool plain(const char *name)
{
	const size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");

	return len && len <= 16 && !name[len];
}

static void look_for(const char *type, const char *id)
{
	char *nodename = plain(type) && plain(id) ? kasprintf(GFP_KERNEL, "device/%s/%s", type, id) : NULL;
	struct device *known;

	if (!nodename)
		return;
	known = bus_find_device(&uplink_bus, NULL, nodename, same_node);
	if (!known && !uplink_left_alone(type, nodename))
		add_device(type, nodename);
	put_device(known);
	kfree(nodename);
}

static void look(struct work_struct *work)
{
	unsigned int i, j, types, count;
	char **type = uplink_xs_directory(XBT_NIL, "device", "", &types);

	bus_for_each_dev(&uplink_bus, NULL, NULL, look_at_known);
	if (IS_ERR(type))
		return;
	for (i = 0; i < types; i++) {
		char **id = uplink_xs_directory(XBT_NIL, "device", type[i], &count);

		if (IS_ERR(id))
			continue;
		for (j = 0; j < count; j++)
			look_for(type[i], id[j]);
		kfree(id);
	}
	kfree(type);
}

/* path: "device" (the watch's first event), "device/vbd", "device/vbd/51712" or below. Not all that a handshake writes there is worth a look. */
static void devices_changed(struct xenbus_watch *watch, const char *path, const char *token)
{
	const char *last = strrchr(path, '/');
	unsigned int depth = 0, i;

	for (i = 0; path[i]; i++)
		depth += path[i] == '/';
	if (depth < 3 || (depth == 3 && (!strcmp(last, "/state") || !strcmp(last, "/backend"))))
		schedule_work(&looking);
}

static struct xenbus_watch device_watch = { .node = "device", .callback = devices_changed };

int uplink_bus_init(void)
{
	int rc = bus_register(&uplink_bus);

	if (rc)
		return rc;
	rc = uplink_xs_watch(&device_watch);
	if (rc) {
		disable_work_sync(&looking);
		bus_unregister(&uplink_bus);
	}
	return rc;
}

static int drop(struct device *device, void *unused)
{
	device_unregister(device);
	return 0;
}

void uplink_bus_exit(void)
{
	uplink_xs_unwatch(&device_watch);
	disable_work_sync(&looking);
	bus_for_each_dev(&uplink_bus, NULL, NULL, drop);
	bus_unregister(&uplink_bus);
}
