// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A client of the provider's xenstore: its wire protocol (xen/interface/io/xs_wire.h) over the one shared page. One request at a time; a thread reads the
 * answers and the watch events, a second one runs the watches' callbacks, so that these can ask the store themselves.
 */
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include <xen/interface/io/xs_wire.h>

#include "uplink.h"

#define ANSWER_TIMEOUT (60 * HZ) /* a busy xenstored is slow, not gone */
#define MAX_EVENTS 1024u         /* queued; more are dropped, and said so */

struct event {
	struct list_head link;
	struct xenbus_watch *watch;
	char *path, *token; /* both in body */
	char body[];
};

static struct xenstore_domain_interface *store;
static u32 req_prod, rsp_cons; /* our own two indices: the page gets them and is never asked for them, so nobody moves them */
static int store_irq = -1;
static bool dead;
static DECLARE_WAIT_QUEUE_HEAD(ring_wait);
static struct task_struct *reader, *caller;

static DEFINE_MUTEX(request_lock);
static DEFINE_SPINLOCK(answer_lock);
static DECLARE_WAIT_QUEUE_HEAD(answer_wait);
static struct {
	u32 id, type, len;
	bool waiting, done;
	char *body;
} answer;

static DEFINE_SPINLOCK(watch_lock); /* the two lists */
static LIST_HEAD(watches);
static LIST_HEAD(events);
static unsigned int event_count;
static DECLARE_WAIT_QUEUE_HEAD(event_wait);
static DEFINE_MUTEX(callback_lock); /* held around every callback */

static irqreturn_t fired(int irq, void *unused)
{
	wake_up(&ring_wait);
	xen_irq_lateeoi(irq, 0);
	return IRQ_HANDLED;
}

static void die(const char *why)
{
	if (!xchg(&dead, true))
		pr_err(UPLINK_LOG "the provider's store is lost: %s\n", why);
	wake_up_all(&ring_wait);
	wake_up_all(&answer_wait);
}

/* ---------------------------------------------------------------- the ring: indices of the other side are checked at each look */

static unsigned int space(void)
{
	u32 used = req_prod - READ_ONCE(store->req_cons);

	if (used > XENSTORE_RING_SIZE) {
		die("bad request index");
		return 0;
	}
	return XENSTORE_RING_SIZE - used;
}

static unsigned int waiting_bytes(void)
{
	u32 there = READ_ONCE(store->rsp_prod) - rsp_cons;

	if (there > XENSTORE_RING_SIZE) {
		die("bad answer index");
		return 0;
	}
	return there;
}

static int put_bytes(const void *data, unsigned int len)
{
	while (len) {
		unsigned int at, now;

		if (!wait_event_timeout(ring_wait, dead || space(), ANSWER_TIMEOUT))
			die("it takes no requests");
		if (dead)
			return -EIO;
		at = MASK_XENSTORE_IDX(req_prod);
		now = min3(len, space(), XENSTORE_RING_SIZE - at);
		virt_mb(); /* the room was there before it is written to */
		memcpy(store->req + at, data, now);
		virt_wmb(); /* the bytes before the index */
		req_prod += now;
		WRITE_ONCE(store->req_prod, req_prod);
		notify_remote_via_irq(store_irq);
		data += now;
		len -= now;
	}
	return 0;
}

static int take_bytes(void *data, unsigned int len)
{
	while (len) {
		unsigned int at, now;

		wait_event_interruptible(ring_wait, kthread_should_stop() || dead || waiting_bytes());
		if (kthread_should_stop() || dead)
			return -EIO;
		at = MASK_XENSTORE_IDX(rsp_cons);
		now = min3(len, waiting_bytes(), XENSTORE_RING_SIZE - at);
		virt_rmb(); /* the index before the bytes */
		memcpy(data, store->rsp + at, now);
		virt_mb(); /* the bytes before the room is given back */
		rsp_cons += now;
		WRITE_ONCE(store->rsp_cons, rsp_cons);
		notify_remote_via_irq(store_irq);
		data += now;
		len -= now;
	}
	return 0;
}

/* ---------------------------------------------------------------- answers */

static void queue_event(struct event *event, unsigned int len)
{
	struct xenbus_watch *watch;

	event->body[len] = 0;
	event->path = event->body;
	event->token = event->body + strlen(event->body) + 1;
	if (event->token >= event->body + len)
		goto drop;
	spin_lock(&watch_lock);
	list_for_each_entry(watch, &watches, list) {
		char token[2 * sizeof(void *) + 1];

		snprintf(token, sizeof(token), "%lx", (unsigned long)watch);
		if (strcmp(token, event->token))
			continue;
		if (event_count >= MAX_EVENTS) {
			pr_warn_ratelimited(UPLINK_LOG "watch events of the provider's store are dropped\n");
			break;
		}
		event->watch = watch;
		list_add_tail(&event->link, &events);
		event_count++;
		spin_unlock(&watch_lock);
		wake_up(&event_wait);
		return;
	}
	spin_unlock(&watch_lock);
drop:
	kfree(event);
}

static int read_message(void)
{
	struct xsd_sockmsg header;
	struct event *event;
	bool wanted = false;

	if (take_bytes(&header, sizeof(header)))
		return -EIO;
	if (header.len > XENSTORE_PAYLOAD_MAX) {
		die("an answer without bounds");
		return -EIO;
	}
	event = kmalloc(struct_size(event, body, header.len + 1), GFP_KERNEL | __GFP_NOFAIL);
	if (take_bytes(event->body, header.len)) {
		kfree(event);
		return -EIO;
	}
	if (header.type == XS_WATCH_EVENT) {
		queue_event(event, header.len);
		return 0;
	}
	spin_lock(&answer_lock);
	if (answer.waiting && !answer.done && answer.id == header.req_id) {
		event->body[header.len] = 0;
		answer.body = kmemdup(event->body, header.len + 1, GFP_ATOMIC);
		answer.type = header.type;
		answer.len = header.len;
		answer.done = wanted = true;
	}
	spin_unlock(&answer_lock);
	kfree(event);
	if (wanted)
		wake_up_all(&answer_wait);
	return 0;
}

static int read_messages(void *unused)
{
	while (!kthread_should_stop())
		if (read_message())
			wait_event_interruptible(ring_wait, kthread_should_stop());
	return 0;
}

static int run_callbacks(void *unused)
{
	while (!kthread_should_stop()) {
		struct event *event;

		wait_event_interruptible(event_wait, kthread_should_stop() || !list_empty(&events));
		mutex_lock(&callback_lock);
		spin_lock(&watch_lock);
		event = list_first_entry_or_null(&events, struct event, link);
		if (event) {
			list_del(&event->link);
			event_count--;
		}
		spin_unlock(&watch_lock);
		if (event)
			event->watch->callback(event->watch, event->path, event->token);
		mutex_unlock(&callback_lock);
		kfree(event);
	}
	return 0;
}

static int errno_of(const char *text)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(xsd_errors); i++)
		if (!strcmp(text, xsd_errors[i].errstring))
			return -xsd_errors[i].errnum;
	return -EINVAL;
}

/* One request and its answer, NUL-terminated; the caller frees it. */
static char *ask(u32 tx, enum xsd_sockmsg_type type, const struct kvec *parts, unsigned int count, unsigned int *len)
{
	struct xsd_sockmsg header = { .type = type, .tx_id = tx };
	unsigned int i;
	char *body;
	int rc;

	for (i = 0; i < count; i++)
		header.len += parts[i].iov_len;
	if (header.len > XENSTORE_PAYLOAD_MAX)
		return ERR_PTR(-E2BIG);
	mutex_lock(&request_lock);
	spin_lock(&answer_lock);
	header.req_id = ++answer.id;
	answer.waiting = true;
	answer.done = false;
	answer.body = NULL;
	spin_unlock(&answer_lock);
	rc = dead ? -EIO : put_bytes(&header, sizeof(header));
	for (i = 0; !rc && i < count; i++)
		rc = put_bytes(parts[i].iov_base, parts[i].iov_len);
	if (!rc && !wait_event_timeout(answer_wait, dead || READ_ONCE(answer.done), ANSWER_TIMEOUT))
		rc = -ETIMEDOUT; /* a late answer carries another id than the next request */
	spin_lock(&answer_lock);
	answer.waiting = false;
	body = answer.body;
	if (!answer.done)
		rc = rc ? rc : -EIO;
	else if (!body)
		rc = -ENOMEM;
	else if (answer.type == XS_ERROR)
		rc = errno_of(body);
	else if (answer.type != type)
		rc = -EPROTO;
	if (len)
		*len = answer.len;
	spin_unlock(&answer_lock);
	mutex_unlock(&request_lock);
	if (rc) {
		kfree(body);
		return ERR_PTR(rc);
	}
	return body;
}

static int ask_only(u32 tx, enum xsd_sockmsg_type type, const struct kvec *parts, unsigned int count)
{
	char *body = ask(tx, type, parts, count, NULL);

	if (IS_ERR(body))
		return PTR_ERR(body);
	kfree(body);
	return 0;
}

#define TEXT(s) { .iov_base = (void *)(s), .iov_len = strlen(s) + 1 }

/* ---------------------------------------------------------------- what drivers call */

static char *join(const char *dir, const char *node)
{
	char *path = *node ? kasprintf(GFP_KERNEL, "%s/%s", dir, node) : kstrdup(dir, GFP_KERNEL);

	return path ? path : ERR_PTR(-ENOMEM);
}

static char *ask_path(u32 tx, enum xsd_sockmsg_type type, const char *dir, const char *node, unsigned int *len)
{
	char *path = join(dir, node), *body;
	struct kvec part;

	if (IS_ERR(path))
		return path;
	part = (struct kvec)TEXT(path);
	body = ask(tx, type, &part, 1, len);
	kfree(path);
	return body;
}

void *uplink_xs_read(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *len)
{
	return ask_path(t.id, XS_READ, dir, node, len);
}
EXPORT_SYMBOL_GPL(uplink_xs_read);

int uplink_xs_write(struct xenbus_transaction t, const char *dir, const char *node, const char *text)
{
	char *path = join(dir, node);
	int rc;

	if (IS_ERR(path))
		return PTR_ERR(path);
	{
		const struct kvec parts[] = { TEXT(path), { .iov_base = (void *)text, .iov_len = strlen(text) } };

		rc = ask_only(t.id, XS_WRITE, parts, ARRAY_SIZE(parts));
	}
	kfree(path);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_xs_write);

int uplink_xs_printf(struct xenbus_transaction t, const char *dir, const char *node, const char *fmt, ...)
{
	va_list args;
	char *text;
	int rc;

	va_start(args, fmt);
	text = kvasprintf(GFP_KERNEL, fmt, args);
	va_end(args);
	if (!text)
		return -ENOMEM;
	rc = uplink_xs_write(t, dir, node, text);
	kfree(text);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_xs_printf);

int uplink_xs_scanf(struct xenbus_transaction t, const char *dir, const char *node, const char *fmt, ...)
{
	char *text = uplink_xs_read(t, dir, node, NULL);
	va_list args;
	int rc;

	if (IS_ERR(text))
		return PTR_ERR(text);
	va_start(args, fmt);
	rc = vsscanf(text, fmt, args);
	va_end(args);
	kfree(text);
	return rc ? rc : -ERANGE; /* none of the fields */
}
EXPORT_SYMBOL_GPL(uplink_xs_scanf);

int uplink_xs_gather(struct xenbus_transaction t, const char *dir, ...)
{
	const char *name;
	va_list args;
	int rc = 0;

	va_start(args, dir);
	while (!rc && (name = va_arg(args, char *))) {
		const char *fmt = va_arg(args, char *);
		void *result = va_arg(args, void *);
		char *text = uplink_xs_read(t, dir, name, NULL);

		if (IS_ERR(text)) {
			rc = PTR_ERR(text);
			break;
		}
		if (!fmt)
			*(char **)result = text;
		else {
			if (sscanf(text, fmt, result) == 0)
				rc = -EINVAL;
			kfree(text);
		}
	}
	va_end(args);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_xs_gather);

unsigned int uplink_xs_read_unsigned(const char *dir, const char *node, unsigned int otherwise)
{
	unsigned int value;

	return uplink_xs_scanf(XBT_NIL, dir, node, "%u", &value) == 1 ? value : otherwise;
}
EXPORT_SYMBOL_GPL(uplink_xs_read_unsigned);

char **uplink_xs_directory(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *count)
{
	unsigned int len, i = 0;
	char *body = ask_path(t.id, XS_DIRECTORY, dir, node, &len), **list, *at, *text;

	if (IS_ERR(body))
		return ERR_CAST(body);
	*count = 0;
	for (at = body; at < body + len; at += strlen(at) + 1)
		++*count;
	list = kmalloc(*count * sizeof(*list) + len + 1, GFP_KERNEL);
	if (list) {
		text = memcpy(list + *count, body, len + 1);
		for (at = text; at < text + len; at += strlen(at) + 1)
			list[i++] = at;
	}
	kfree(body);
	return list ? list : ERR_PTR(-ENOMEM);
}
EXPORT_SYMBOL_GPL(uplink_xs_directory);

int uplink_xs_exists(struct xenbus_transaction t, const char *dir, const char *node)
{
	char *body = ask_path(t.id, XS_READ, dir, node, NULL);

	if (IS_ERR(body))
		return 0;
	kfree(body);
	return 1;
}
EXPORT_SYMBOL_GPL(uplink_xs_exists);

int uplink_xs_start(struct xenbus_transaction *t)
{
	const struct kvec part = TEXT("");
	char *body = ask(0, XS_TRANSACTION_START, &part, 1, NULL);
	int rc;

	if (IS_ERR(body))
		return PTR_ERR(body);
	rc = kstrtou32(body, 10, &t->id);
	kfree(body);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_xs_start);

int uplink_xs_end(struct xenbus_transaction t, int abort)
{
	const struct kvec part = TEXT(abort ? "F" : "T");

	return ask_only(t.id, XS_TRANSACTION_END, &part, 1);
}
EXPORT_SYMBOL_GPL(uplink_xs_end);

static int ask_watch(enum xsd_sockmsg_type type, struct xenbus_watch *watch)
{
	char token[2 * sizeof(void *) + 1];

	snprintf(token, sizeof(token), "%lx", (unsigned long)watch);
	{
		const struct kvec parts[] = { TEXT(watch->node), TEXT(token) };

		return ask_only(0, type, parts, ARRAY_SIZE(parts));
	}
}

/* The watch is nobody's any more: its events neither, and a callback that runs right now ends first. */
static void forget(struct xenbus_watch *watch)
{
	struct event *event, *after;

	spin_lock(&watch_lock);
	list_del(&watch->list);
	list_for_each_entry_safe(event, after, &events, link) {
		if (event->watch != watch)
			continue;
		list_del(&event->link);
		event_count--;
		kfree(event);
	}
	spin_unlock(&watch_lock);
	if (current != caller) {
		mutex_lock(&callback_lock);
		mutex_unlock(&callback_lock);
	}
}

int uplink_xs_watch(struct xenbus_watch *watch)
{
	int rc;

	spin_lock(&watch_lock);
	list_add(&watch->list, &watches);
	spin_unlock(&watch_lock);
	rc = ask_watch(XS_WATCH, watch);
	if (rc) /* the store may have sent events of it all the same */
		forget(watch);
	return rc;
}
EXPORT_SYMBOL_GPL(uplink_xs_watch);

void uplink_xs_unwatch(struct xenbus_watch *watch)
{
	int rc = ask_watch(XS_UNWATCH, watch);

	if (rc && !dead)
		pr_warn(UPLINK_LOG "watch on %s cannot be taken back: %d\n", watch->node, rc);
	forget(watch);
}
EXPORT_SYMBOL_GPL(uplink_xs_unwatch);

/* ---------------------------------------------------------------- coming and going */

static int start_threads(void)
{
	reader = kthread_run(read_messages, NULL, "uplink-store");
	if (IS_ERR(reader))
		return PTR_ERR(reader);
	caller = kthread_run(run_callbacks, NULL, "uplink-watch");
	return PTR_ERR_OR_ZERO(caller);
}

int uplink_xs_init(void)
{
	struct xblanket_param *param = kzalloc(sizeof(*param), GFP_KERNEL);
	evtchn_port_t port;
	int rc = -ENOMEM;

	if (!param)
		return rc;
	param->index = XBLANKET_PARAM_STORE_PFN;
	rc = uplink_op(XBLANKET_GET_PARAM, param);
	if (rc)
		goto out;
	rc = -ENODEV;
	if (!param->value)
		goto out;
	/* Not this machine's memory, but the provider's page at that place: cacheable, as the hypervisor lets dom0 have it (mmio-relax=1). */
	store = memremap(param->value << PAGE_SHIFT, PAGE_SIZE, MEMREMAP_WB);
	rc = -ENOMEM;
	if (!store)
		goto out;
	rc = uplink_bind_store(&port);
	if (rc)
		goto out;
	store_irq = rc = uplink_bind_evtchn(port, fired, 0, "uplink-store", NULL);
	if (rc < 0) {
		uplink_free_port(port);
		goto out;
	}
	/* What came for somebody before us (a module of before, the firmware) is read by nobody: whole messages only lie there when it was quiet. */
	req_prod = READ_ONCE(store->req_prod);
	rsp_cons = READ_ONCE(store->rsp_prod);
	WRITE_ONCE(store->rsp_cons, rsp_cons);
	answer.id = jiffies & 0xffff; /* so that an answer that is still to come for a module of before is none of ours */
	rc = start_threads();
	if (!rc) {
		const struct kvec part = TEXT("");

		ask_only(0, XS_RESET_WATCHES, &part, 1); /* old stores do not know it, and need it less */
	}
out:
	kfree(param);
	if (rc)
		uplink_xs_exit();
	return rc;
}

void uplink_xs_exit(void)
{
	if (!IS_ERR_OR_NULL(caller))
		kthread_stop(caller);
	if (!IS_ERR_OR_NULL(reader))
		kthread_stop(reader);
	reader = caller = NULL;
	if (store_irq >= 0)
		uplink_unbind_irq(store_irq, NULL);
	store_irq = -1;
	if (store)
		memunmap(store);
	store = NULL;
}
