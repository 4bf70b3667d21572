/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the tests and the modules' own files in user space: what the tests call of xs.c and gnttab.c, and what they give them instead of the rest of the
 * module (the last part: fake_store.cpp, grant_test.cpp). kernel.h gives them the kernel.
 */
#ifndef UPLINK_MODULES_H
#define UPLINK_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>

#include "hypercall-passthrough/abi/xblanket.h"

#ifdef __cplusplus
extern "C" {
#endif

struct page;
struct xenbus_device;
typedef int irqreturn_t;
typedef irqreturn_t (*irq_handler_t)(int irq, void *data);
struct list_head { struct list_head *next, *prev; };
struct xenbus_transaction { uint32_t id; };
struct xenbus_watch {
	struct list_head list;
	const char *node;
	void (*callback)(struct xenbus_watch *watch, const char *path, const char *token);
};
struct gnttab_free_callback {
	struct gnttab_free_callback *next;
	void (*fn)(void *arg);
	void *arg;
	uint16_t count;
};

/* xs.c */
int uplink_xs_init(void);
void uplink_xs_exit(void);
void *uplink_xs_read(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *len);
int uplink_xs_write(struct xenbus_transaction t, const char *dir, const char *node, const char *text);
unsigned int uplink_xs_read_unsigned(const char *dir, const char *node, unsigned int otherwise);
int uplink_xs_exists(struct xenbus_transaction t, const char *dir, const char *node);
char **uplink_xs_directory(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *count);
int uplink_xs_gather(struct xenbus_transaction t, const char *dir, ...);
int uplink_xs_start(struct xenbus_transaction *t);
int uplink_xs_end(struct xenbus_transaction t, int abort);
int uplink_xs_watch(struct xenbus_watch *watch);
void uplink_xs_unwatch(struct xenbus_watch *watch);

/* gnttab.c */
int uplink_gnttab_init(void);
void uplink_gnttab_exit(void);
unsigned int uplink_gnttab_used(void);
unsigned long uplink_gnttab_granted(bool guests);
int uplink_gnttab_alloc_grant_references(uint16_t count, grant_ref_t *head);
void uplink_gnttab_free_grant_references(grant_ref_t head);
void uplink_gnttab_free_grant_reference(grant_ref_t ref);
int uplink_gnttab_claim_grant_reference(grant_ref_t *head);
void uplink_gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long frame, int readonly);
int uplink_gnttab_try_end_foreign_access(grant_ref_t ref);
void uplink_gnttab_end_foreign_access(grant_ref_t ref, struct page *page);
void uplink_gnttab_request_free_callback(struct gnttab_free_callback *callback, void (*fn)(void *), void *arg, uint16_t count);
void uplink_gnttab_cancel_free_callback(struct gnttab_free_callback *callback);

/* xs_in_user_space.c, gnttab_in_user_space.c: variables of theirs */
bool xs_is_dead(void);
unsigned int xs_left(void); /* watches and events that nobody has taken */
void xs_as_loaded(void);    /* as a new load of the module finds them */
void gnttab_as_loaded(void);
unsigned int gnttab_free(void);

/* kernel.c */
extern unsigned long sim_hz; /* milliseconds that a second of the kernel's lasts: 1000; less where a timeout is part of the test */
unsigned long sim_now(void); /* ms */
bool sim_run_timer(void);    /* false: none is set */
bool sim_run_work(void);     /* the same */
extern bool sim_atomic;      /* the caller is where nobody may sleep */
void sim_wake(void);
struct page *alloc_page(unsigned int flags);

/* ---- what the tests give */
extern struct xblanket_query uplink_provider;
long uplink_op(unsigned int cmd, void *arg);
int uplink_bind_store(evtchn_port_t *port);
int uplink_bind_evtchn(evtchn_port_t port, irq_handler_t handler, unsigned long flags, const char *name, void *data);
void uplink_unbind_irq(unsigned int irq, void *data);
int uplink_free_port(evtchn_port_t port);
void notify_remote_via_irq(int irq);
void *memremap(uint64_t at, size_t size, unsigned long flags);

#ifdef __cplusplus
}
#endif
#endif /* UPLINK_MODULES_H */
