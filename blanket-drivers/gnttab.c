// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The provider's grant table, version 1. Its frames lie over pages of this kernel that are given for good (the hypervisor keeps them); a module that is
 * loaded again finds them. A grant that a backend still has mapped is never handed out again before the backend lets go of it.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include <asm/xen/page.h>
#include <xen/interface/grant_table.h>

#include "uplink.h"

#define PER_FRAME ((unsigned int)(PAGE_SIZE / sizeof(struct grant_entry_v1)))
#define RESERVED 8u /* the toolstack's: console, store, ... */
#define LIST_END 0xffffffffu
#define RETRY (HZ / 2)

struct deferred {
	struct list_head link;
	grant_ref_t ref;
	struct page *page;
};

static DEFINE_SPINLOCK(lock);
static struct grant_entry_v1 **frames; /* by frame index; of them `mapped` are there */
static grant_ref_t *next;              /* links the free list, and the lists that are handed out */
static unsigned int mapped, limit, free_count, used;
static atomic_long_t granted[2]; /* pages since the module came: this kernel's own; its guests', whose content was not copied */
static grant_ref_t free_head = LIST_END;
static struct gnttab_free_callback *callbacks;
static LIST_HEAD(deferred);
static DEFINE_MUTEX(growing);

static void run_callbacks(void);
static void grow_for_callbacks(struct work_struct *work);
static DECLARE_WORK(growth, grow_for_callbacks);

static struct grant_entry_v1 *entry_of(grant_ref_t ref)
{
	return &frames[ref / PER_FRAME][ref % PER_FRAME];
}

/* Maps one frame more. May sleep. */
static int grow(void)
{
	struct xblanket_gnttab_map *map;
	unsigned int i, index;
	unsigned long flags;
	struct page *page;
	int rc = -ENOSPC;

	mutex_lock(&growing);
	index = mapped;
	map = kzalloc(sizeof(*map), GFP_KERNEL);
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (index >= limit)
		goto out;
	rc = -ENOMEM;
	if (!map || !page)
		goto out;
	map->first = index;
	map->count = 1;
	map->frame[0] = pfn_to_mfn(page_to_pfn(page));
	rc = uplink_op(XBLANKET_GNTTAB_MAP, map);
	if (rc) {
		if (rc != -EINVAL) { /* the hypervisor may keep the page: it gets no more of them */
			page = NULL;
			limit = index;
		}
		goto out;
	}
	if (map->frame[0] == pfn_to_mfn(page_to_pfn(page)))
		frames[index] = page_address(page);
	else { /* it has been there since an earlier load */
		__free_page(page);
		frames[index] = mfn_to_virt(map->frame[0]);
	}
	page = NULL; /* the table's, for good */
	spin_lock_irqsave(&lock, flags);
	mapped = index + 1;
	for (i = 0; i < PER_FRAME; i++) {
		grant_ref_t ref = index * PER_FRAME + i;

		if (ref < RESERVED || !uplink_gnttab_end_foreign_access_ref(ref)) /* the second: a backend of before still has it */
			continue;
		next[ref] = free_head;
		free_head = ref;
		free_count++;
	}
	run_callbacks();
	spin_unlock_irqrestore(&lock, flags);
out:
	mutex_unlock(&growing);
	if (page)
		__free_page(page);
	kfree(map);
	return rc;
}

/* With the lock held. */
static void put_free(grant_ref_t ref)
{
	next[ref] = free_head;
	free_head = ref;
	free_count++;
	used--;
}

static void run_callbacks(void)
{
	struct gnttab_free_callback *callback, **at = &callbacks;

	while ((callback = *at)) {
		if (free_count < callback->count) {
			at = &callback->next;
			continue;
		}
		*at = callback->next;
		callback->next = NULL;
		callback->fn(callback->arg);
	}
}

static bool somebody_waits(void)
{
	unsigned long flags;
	bool waits;

	spin_lock_irqsave(&lock, flags);
	waits = callbacks;
	spin_unlock_irqrestore(&lock, flags);
	return waits;
}

/* Who asked where nobody may sleep gets what the table could still give, and does not wait for others' grants only. */
static void grow_for_callbacks(struct work_struct *work)
{
	while (somebody_waits() && !grow())
		;
}

int uplink_gnttab_alloc_grant_references(u16 count, grant_ref_t *head)
{
	unsigned long flags;
	grant_ref_t last;
	unsigned int i;
	int rc;

	if (!count)
		return -EINVAL;
	for (;;) {
		spin_lock_irqsave(&lock, flags);
		if (free_count >= count)
			break;
		spin_unlock_irqrestore(&lock, flags);
		if (!preemptible()) /* a driver asks again by a free callback */
			return -ENOSPC;
		rc = grow();
		if (rc)
			return rc;
	}
	*head = last = free_head;
	for (i = 1; i < count; i++)
		last = next[last];
	free_head = next[last];
	next[last] = LIST_END;
	free_count -= count;
	used += count;
	spin_unlock_irqrestore(&lock, flags);
	return 0;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_alloc_grant_references);

void uplink_gnttab_free_grant_references(grant_ref_t head)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	while (head != LIST_END) {
		grant_ref_t after = next[head];

		put_free(head);
		head = after;
	}
	run_callbacks();
	spin_unlock_irqrestore(&lock, flags);
}
EXPORT_SYMBOL_GPL(uplink_gnttab_free_grant_references);

void uplink_gnttab_free_grant_reference(grant_ref_t ref)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	put_free(ref);
	run_callbacks();
	spin_unlock_irqrestore(&lock, flags);
}
EXPORT_SYMBOL_GPL(uplink_gnttab_free_grant_reference);

int uplink_gnttab_empty_grant_references(const grant_ref_t *head)
{
	return *head == LIST_END;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_empty_grant_references);

/* Lists that were handed out belong to one user, who locks them. */
int uplink_gnttab_claim_grant_reference(grant_ref_t *head)
{
	grant_ref_t ref = *head;

	if (ref == LIST_END)
		return -ENOSPC;
	*head = next[ref];
	return ref;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_claim_grant_reference);

void uplink_gnttab_release_grant_reference(grant_ref_t *head, grant_ref_t ref)
{
	next[ref] = *head;
	*head = ref;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_release_grant_reference);

void uplink_gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long frame, int readonly)
{
	struct grant_entry_v1 *entry = entry_of(ref);

	atomic_long_inc(&granted[bfn_to_local_pfn(frame) == -1UL]);
	entry->frame = frame;
	entry->domid = domid;
	wmb(); /* the flags make it valid */
	WRITE_ONCE(entry->flags, GTF_permit_access | (readonly ? GTF_readonly : 0));
}
EXPORT_SYMBOL_GPL(uplink_gnttab_grant_foreign_access_ref);

int uplink_gnttab_grant_foreign_access(domid_t domid, unsigned long frame, int readonly)
{
	grant_ref_t head;
	int rc = uplink_gnttab_alloc_grant_references(1, &head);

	if (rc)
		return rc;
	uplink_gnttab_grant_foreign_access_ref(head, domid, frame, readonly);
	return head;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_grant_foreign_access);

int uplink_gnttab_end_foreign_access_ref(grant_ref_t ref)
{
	u16 *word = &entry_of(ref)->flags;
	u16 flags = READ_ONCE(*word);

	do {
		if (flags & (GTF_reading | GTF_writing))
			return 0;
	} while (!sync_try_cmpxchg(word, &flags, 0));
	return 1;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_end_foreign_access_ref);

int uplink_gnttab_try_end_foreign_access(grant_ref_t ref)
{
	if (!uplink_gnttab_end_foreign_access_ref(ref))
		return 0;
	uplink_gnttab_free_grant_reference(ref);
	return 1;
}
EXPORT_SYMBOL_GPL(uplink_gnttab_try_end_foreign_access);

/* What a backend had not unmapped yet: again and again, and its page is not used for anything else before. */
static void retry(struct timer_list *timer);
static DEFINE_TIMER(retry_timer, retry);

static void retry(struct timer_list *timer)
{
	struct deferred *item, *after;
	unsigned long flags;
	LIST_HEAD(ended);

	spin_lock_irqsave(&lock, flags);
	list_for_each_entry_safe(item, after, &deferred, link) {
		if (!uplink_gnttab_end_foreign_access_ref(item->ref))
			continue;
		put_free(item->ref);
		list_move(&item->link, &ended);
	}
	if (!list_empty(&deferred))
		mod_timer(&retry_timer, jiffies + RETRY);
	run_callbacks();
	spin_unlock_irqrestore(&lock, flags);
	list_for_each_entry_safe(item, after, &ended, link) {
		if (item->page)
			put_page(item->page);
		kfree(item);
	}
}

void uplink_gnttab_end_foreign_access(grant_ref_t ref, struct page *page)
{
	struct deferred *item;
	unsigned long flags;

	if (uplink_gnttab_try_end_foreign_access(ref)) {
		if (page)
			put_page(page);
		return;
	}
	item = kmalloc(sizeof(*item), GFP_ATOMIC | __GFP_NOWARN);
	if (!item) {
		pr_warn(UPLINK_LOG "grant %u and its page are lost: no memory to wait for the backend\n", ref);
		return;
	}
	item->ref = ref;
	item->page = page;
	spin_lock_irqsave(&lock, flags);
	list_add_tail(&item->link, &deferred);
	spin_unlock_irqrestore(&lock, flags);
	mod_timer(&retry_timer, jiffies + RETRY);
}
EXPORT_SYMBOL_GPL(uplink_gnttab_end_foreign_access);

void uplink_gnttab_request_free_callback(struct gnttab_free_callback *callback, void (*fn)(void *), void *arg, u16 count)
{
	struct gnttab_free_callback *queued;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	for (queued = callbacks; queued; queued = queued->next)
		if (queued == callback)
			goto out;
	callback->fn = fn;
	callback->arg = arg;
	callback->count = count;
	callback->next = callbacks;
	callbacks = callback;
	run_callbacks();
	if (callbacks && mapped < limit)
		schedule_work(&growth);
out:
	spin_unlock_irqrestore(&lock, flags);
}
EXPORT_SYMBOL_GPL(uplink_gnttab_request_free_callback);

void uplink_gnttab_cancel_free_callback(struct gnttab_free_callback *callback)
{
	struct gnttab_free_callback **at;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	for (at = &callbacks; *at; at = &(*at)->next) {
		if (*at != callback)
			continue;
		*at = callback->next;
		break;
	}
	spin_unlock_irqrestore(&lock, flags);
}
EXPORT_SYMBOL_GPL(uplink_gnttab_cancel_free_callback);

unsigned long uplink_gnttab_granted(bool guests)
{
	return atomic_long_read(&granted[guests]);
}

unsigned int uplink_gnttab_used(void)
{
	return READ_ONCE(used);
}

int uplink_gnttab_init(void)
{
	int rc;

	limit = uplink_provider.max_grant_frames;
	if (!limit)
		return -EOPNOTSUPP;
	frames = kcalloc(limit, sizeof(*frames), GFP_KERNEL);
	next = kvmalloc_array(limit * PER_FRAME, sizeof(*next), GFP_KERNEL);
	rc = frames && next ? grow() : -ENOMEM;
	if (rc)
		uplink_gnttab_exit();
	return rc;
}

void uplink_gnttab_exit(void)
{
	struct deferred *item, *after;

	cancel_work_sync(&growth);
	timer_delete_sync(&retry_timer);
	list_for_each_entry_safe(item, after, &deferred, link) /* their pages stay lost: a backend may still write there */
		kfree(item);
	kfree(frames);
	kvfree(next);
}
