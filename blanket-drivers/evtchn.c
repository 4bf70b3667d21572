// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Event channels of the provider as interrupts of this kernel. The hypervisor forwards a provider's port to a channel of dom0's own whose far end it holds
 * itself; from there on everything is the kernel's own event code. A send on that channel goes to the provider.
 */
#include <linux/completion.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <asm/xen/hypercall.h>
#include <xen/interface/event_channel.h>
#include <xen/xen.h>

#include "uplink.h"

#define ECHO_SECONDS 30 /* it takes microseconds where this machine's processors run */

struct port {
	evtchn_port_t provider, local; /* local: what the hypervisor holds */
	irq_handler_t handler;
	void *data;
	struct completion echo; /* the event that the binding itself causes has come */
	bool ready;
};

static DEFINE_MUTEX(lock);
static DEFINE_XARRAY(by_port); /* the provider's */
static DEFINE_XARRAY(by_irq);

static int bind_port(unsigned int kind, domid_t remote, evtchn_port_t *out)
{
	struct xblanket_evtchn_bind *bind = kzalloc(sizeof(*bind), GFP_KERNEL);
	struct port *port = kzalloc(sizeof(*port), GFP_KERNEL);
	int rc = -ENOMEM;

	if (!bind || !port)
		goto out;
	bind->kind = kind;
	bind->remote = remote;
	rc = uplink_op(XBLANKET_EVTCHN_BIND, bind);
	if (rc)
		goto out;
	port->provider = bind->port;
	port->local = bind->local_port;
	mutex_lock(&lock);
	rc = xa_insert(&by_port, port->provider, port, GFP_KERNEL);
	mutex_unlock(&lock);
	if (rc) {
		struct xblanket_evtchn_port arg = { .port = bind->port };

		uplink_op(XBLANKET_EVTCHN_UNBIND, &arg);
		goto out;
	}
	*out = port->provider;
	port = NULL;
out:
	kfree(port);
	kfree(bind);
	return rc;
}

int uplink_bind_store(evtchn_port_t *port)
{
	return bind_port(XBLANKET_BIND_STORE, 0, port);
}

int uplink_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port)
{
	int rc = bind_port(XBLANKET_BIND_UNBOUND, dev->otherend_id, port);

	if (rc)
		uplink_dev_fatal(dev, rc, "allocating event channel");
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_alloc_evtchn);

int uplink_free_port(evtchn_port_t provider)
{
	struct xblanket_evtchn_port arg = { .port = provider };
	struct port *port;

	mutex_lock(&lock);
	port = xa_erase(&by_port, provider);
	mutex_unlock(&lock);
	if (!port)
		return -ENOENT;
	kfree(port);
	return uplink_op(XBLANKET_EVTCHN_UNBIND, &arg);
}

int uplink_free_evtchn(struct xenbus_device *dev, evtchn_port_t port)
{
	int rc = uplink_free_port(port);

	if (rc)
		uplink_dev_error(dev, rc, "freeing event channel %u", port);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_free_evtchn);

/*
 * Xen marks a channel pending at the moment it is bound, in case something came before. Nothing can have: the provider's side learns of the port
 * only after this. Drivers are not made for such an event (netfront dies of it), so it ends here.
 */
static irqreturn_t deliver(int irq, void *data)
{
	struct port *port = data;

	if (likely(smp_load_acquire(&port->ready)))
		return port->handler(irq, port->data);
	complete(&port->echo);
	xen_irq_lateeoi(irq, 0);
	return IRQ_HANDLED;
}

int uplink_bind_evtchn(evtchn_port_t provider, irq_handler_t handler, unsigned long flags, const char *name, void *data)
{
	struct evtchn_bind_interdomain near = { .remote_dom = DOMID_SELF };
	struct evtchn_close close;
	struct port *port;
	int irq, rc;

	mutex_lock(&lock);
	port = xa_load(&by_port, provider);
	near.remote_port = port ? port->local : 0;
	mutex_unlock(&lock);
	if (!port)
		return -ENOENT;
	rc = HYPERVISOR_event_channel_op(EVTCHNOP_bind_interdomain, &near);
	if (rc)
		return rc;
	port->handler = handler;
	port->data = data;
	port->ready = false;
	init_completion(&port->echo);
	irq = bind_evtchn_to_irqhandler_lateeoi(near.local_port, deliver, flags, name, port);
	if (irq < 0) {
		close.port = near.local_port;
		HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
		return irq;
	}
	mutex_lock(&lock);
	rc = xa_err(xa_store(&by_irq, irq, port, GFP_KERNEL));
	mutex_unlock(&lock);
	if (rc) {
		unbind_from_irqhandler(irq, port); /* closes the near end */
		return rc;
	}
	if (!wait_for_completion_timeout(&port->echo, ECHO_SECONDS * HZ)) {
		/* It could not be told from a real one any more, if it came later. */
		mutex_lock(&lock);
		xa_erase(&by_irq, irq);
		mutex_unlock(&lock);
		unbind_from_irqhandler(irq, port);
		return -ETIMEDOUT;
	}
	smp_store_release(&port->ready, true);
	return irq;
}
EXPORT_SYMBOL_GPL(uplink_bind_evtchn);

void uplink_unbind_irq(unsigned int irq, void *data)
{
	struct port *port;

	mutex_lock(&lock);
	port = xa_erase(&by_irq, irq);
	mutex_unlock(&lock);
	if (WARN_ON(!port || port->data != data))
		return;
	unbind_from_irqhandler(irq, port);
	uplink_free_port(port->provider);
}
EXPORT_SYMBOL_GPL(uplink_unbind_irq);
