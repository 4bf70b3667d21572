/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of the Linux kernel as blanket-drivers/xs.c and gnttab.c ask for, in user space: threads are threads, a wait looks again every millisecond, and a
 * second of the kernel's is as long as the test says (sim_hz). Every <linux/...> and <xen/...> header that they include is this file (CMakeLists.txt).
 */
#ifndef UPLINK_KERNEL_H
#define UPLINK_KERNEL_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>

#include "tests/unit/uplink/modules.h"

typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define GFP_KERNEL 0u
#define GFP_ATOMIC 0u
#define __GFP_ZERO 1u
#define __GFP_NOFAIL 0u
#define __GFP_NOWARN 0u
#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ul
#define HZ sim_hz /* jiffies are milliseconds */
#define jiffies sim_now()
#define likely(x) (x)
#define __printf(a, b) __attribute__((format(printf, a, b), nonnull(a)))
#define __scanf(a, b) __attribute__((format(scanf, a, b)))
#define EXPORT_SYMBOL_GPL(name) _Static_assert(1, #name)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(at, type, member) ((type *)((char *)(at) - offsetof(type, member)))
#define struct_size(at, member, count) (sizeof(*(at)) + sizeof((at)->member[0]) * (count))

void sim_log(const char *fmt, ...) __printf(1, 2);
#define pr_err sim_log
#define pr_warn sim_log
#define pr_warn_ratelimited sim_log

/* ---- words that both sides see */
#define READ_ONCE(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define WRITE_ONCE(word, value) __atomic_store_n(&(word), value, __ATOMIC_RELAXED)
#define xchg(word, value) __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST)
#define sync_try_cmpxchg(word, old, value) __atomic_compare_exchange_n(word, old, (u16)(value), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
typedef long atomic_long_t;
#define atomic_long_inc(at) ((void)__atomic_fetch_add(at, 1, __ATOMIC_RELAXED))
#define atomic_long_read(at) __atomic_load_n(at, __ATOMIC_RELAXED)
#define virt_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define virt_rmb virt_mb
#define virt_wmb virt_mb
#define wmb virt_mb
#define min3(a, b, c) sim_min(sim_min(a, b), c)
static inline unsigned long sim_min(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

/* ---- errors in pointers */
#define IS_ERR(at) ((uintptr_t)(at) >= (uintptr_t)-4095)
#define IS_ERR_OR_NULL(at) (!(at) || IS_ERR(at))
#define PTR_ERR(at) ((long)(intptr_t)(at))
#define PTR_ERR_OR_ZERO(at) (IS_ERR(at) ? (int)PTR_ERR(at) : 0)
#define ERR_PTR(rc) ((void *)(intptr_t)(rc))
#define ERR_CAST(at) ((void *)(at))

/* ---- memory. A struct page is the page itself. */
typedef unsigned int gfp_t;
void *sim_alloc(size_t size, gfp_t flags);
#define kmalloc(size, flags) sim_alloc(size, flags)
#define kzalloc(size, flags) sim_alloc(size, __GFP_ZERO)
#define kcalloc(count, size, flags) sim_alloc((count) * (size), __GFP_ZERO)
#define kvmalloc_array(count, size, flags) sim_alloc((count) * (size), flags)
#define kfree(at) free((void *)(at))
#define kvfree kfree
char *kvasprintf(gfp_t flags, const char *fmt, va_list args) __printf(2, 0);
char *kasprintf(gfp_t flags, const char *fmt, ...) __printf(2, 3);
char *kstrdup(const char *text, gfp_t flags);
void *kmemdup(const void *from, size_t size, gfp_t flags);
int kstrtou32(const char *text, unsigned int base, u32 *value);
struct page *alloc_page(gfp_t flags);
void put_page(struct page *page);
#define __free_page put_page
#define page_address(page) ((void *)(page))
#define page_to_pfn(page) ((unsigned long)(page) >> PAGE_SHIFT)
#define pfn_to_mfn(pfn) (pfn)
#define bfn_to_local_pfn(mfn) ((mfn) >> 31 ? -1UL : (mfn)) /* here the frames from 1 << 31 on are guests' */
#define mfn_to_virt(mfn) ((void *)((mfn) << PAGE_SHIFT))
#define MEMREMAP_WB 0
void *memremap(u64 at, size_t size, unsigned long flags);
#define memunmap(at) ((void)(at))

/* ---- locks; irqs are threads */
typedef pthread_mutex_t spinlock_t;
#define DEFINE_MUTEX(name) pthread_mutex_t name = PTHREAD_MUTEX_INITIALIZER
#define DEFINE_SPINLOCK(name) DEFINE_MUTEX(name)
#define mutex_lock(m) pthread_mutex_lock(m)
#define mutex_unlock(m) pthread_mutex_unlock(m)
#define spin_lock mutex_lock
#define spin_unlock mutex_unlock
#define spin_lock_irqsave(l, flags) ((flags) = 0, mutex_lock(l))
#define spin_unlock_irqrestore(l, flags) ((void)(flags), mutex_unlock(l))
#define preemptible() (!sim_atomic)

/* ---- threads and waiting */
struct task_struct;
struct task_struct *sim_run(int (*work)(void *), void *arg);
struct task_struct *sim_current(void);
#define kthread_run(work, arg, name) sim_run(work, arg)
#define current sim_current()
bool kthread_should_stop(void);
int kthread_stop(struct task_struct *task);
void sim_doze(void); /* until somebody wakes, or a millisecond */
#define DECLARE_WAIT_QUEUE_HEAD(name) __attribute__((unused)) int name
#define wake_up(queue) sim_wake()
#define wake_up_all(queue) sim_wake()
#define wait_event_interruptible(queue, what) do { while (!(what)) sim_doze(); } while (0)
#define wait_event_timeout(queue, what, timeout)                                     \
	({                                                                           \
		const unsigned long until_ = sim_now() + (timeout);                  \
		bool there_;                                                         \
		while (!(there_ = (what)) && sim_now() < until_) sim_doze();         \
		there_;                                                              \
	})

struct timer_list { void (*fn)(struct timer_list *); unsigned long at; };
#define DEFINE_TIMER(name, work) struct timer_list name = { .fn = work }
void mod_timer(struct timer_list *timer, unsigned long at); /* the test runs it: sim_run_timer() */
void timer_delete_sync(struct timer_list *timer);
struct work_struct { void (*fn)(struct work_struct *); };
#define DECLARE_WORK(name, work) struct work_struct name = { .fn = work }
void schedule_work(struct work_struct *work); /* the test runs it: sim_run_work() */
void cancel_work_sync(struct work_struct *work);

/* ---- lists */
#define LIST_HEAD(name) struct list_head name = { &name, &name }
static inline void list_add_between(struct list_head *item, struct list_head *before, struct list_head *after)
{
	item->prev = before;
	item->next = after;
	before->next = after->prev = item;
}
static inline void list_add(struct list_head *item, struct list_head *head) { list_add_between(item, head, head->next); }
static inline void list_add_tail(struct list_head *item, struct list_head *head) { list_add_between(item, head->prev, head); }
static inline bool list_empty(const struct list_head *head) { return head->next == head; }
static inline void list_del(struct list_head *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	item->next = item->prev = NULL;
}
static inline void list_move(struct list_head *item, struct list_head *head)
{
	list_del(item);
	list_add(item, head);
}
#define list_entry container_of
#define list_first_entry_or_null(head, type, member) (list_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_for_each_entry(at, head, member)                                                                \
	for (at = list_entry((head)->next, __typeof__(*at), member); &at->member != (head);                  \
	     at = list_entry(at->member.next, __typeof__(*at), member))
#define list_for_each_entry_safe(at, then, head, member)                                                     \
	for (at = list_entry((head)->next, __typeof__(*at), member), then = list_entry(at->member.next, __typeof__(*at), member); &at->member != (head); \
	     at = then, then = list_entry(then->member.next, __typeof__(*then), member))

/* ---- Xen, as Linux says it */
#define IRQ_HANDLED 1
static inline void xen_irq_lateeoi(unsigned int irq, unsigned int flags) { (void)irq, (void)flags; }
struct kvec { void *iov_base; size_t iov_len; };
struct module;
struct xenbus_device;
struct xenbus_driver;
#define XBT_NIL ((struct xenbus_transaction){ 0 })

#endif /* UPLINK_KERNEL_H */
