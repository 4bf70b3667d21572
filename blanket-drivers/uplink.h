/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of uplink.ko offer each other and the frontend modules. The frontends are the distribution's own files, compiled against rename.h, which
 * gives the names that they know (xenbus_*, gnttab_*, bind_evtchn_*) these functions; so the signatures are the kernel's, in <xen/xenbus.h>,
 * <xen/grant_table.h> and <xen/events.h>. All but the notifying and the granting ones may sleep.
 */
#ifndef UPLINK_H
#define UPLINK_H

#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/types.h>

#include <xen/events.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>

#include "xblanket.h"

#define UPLINK_LOG "uplink: "

/* core.c */
long uplink_op(unsigned int cmd, void *arg); /* the hypercall; arg in the kernel's linear map or on a mapped stack */
extern struct xblanket_query uplink_provider;
bool uplink_left_alone(const char *type, const char *nodename); /* it is there as an emulated device: two drivers for one disk would ruin it */
ssize_t uplink_left_alone_kinds(char *buf); /* for sysfs: a line "TYPE REASON" for each kind that is; the reason is "driven", "asked" (unplug=0) or "refused" (by the provider) */

/* evtchn.c */
int uplink_evtchn_init(void);
int uplink_bind_store(evtchn_port_t *port);
int uplink_alloc_evtchn(struct xenbus_device *dev, evtchn_port_t *port);
int uplink_free_evtchn(struct xenbus_device *dev, evtchn_port_t port);
int uplink_free_port(evtchn_port_t port); /* one that no interrupt was bound to */
int uplink_bind_evtchn(evtchn_port_t port, irq_handler_t handler, unsigned long flags, const char *name, void *data);
void uplink_unbind_irq(unsigned int irq, void *data);

/* gnttab.c */
int uplink_gnttab_init(void);
void uplink_gnttab_exit(void);
unsigned int uplink_gnttab_used(void);
unsigned long uplink_gnttab_granted(bool guests); /* pages so far: this kernel's own, or its guests' */
int uplink_gnttab_alloc_grant_references(u16 count, grant_ref_t *head);
void uplink_gnttab_free_grant_references(grant_ref_t head);
void uplink_gnttab_free_grant_reference(grant_ref_t ref);
int uplink_gnttab_empty_grant_references(const grant_ref_t *head);
int uplink_gnttab_claim_grant_reference(grant_ref_t *head);
void uplink_gnttab_release_grant_reference(grant_ref_t *head, grant_ref_t ref);
int uplink_gnttab_grant_foreign_access(domid_t domid, unsigned long frame, int readonly);
void uplink_gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long frame, int readonly);
int uplink_gnttab_end_foreign_access_ref(grant_ref_t ref);
int uplink_gnttab_try_end_foreign_access(grant_ref_t ref);
void uplink_gnttab_end_foreign_access(grant_ref_t ref, struct page *page);
void uplink_gnttab_request_free_callback(struct gnttab_free_callback *callback, void (*fn)(void *), void *arg, u16 count);
void uplink_gnttab_cancel_free_callback(struct gnttab_free_callback *callback);

/* xs.c: the provider's store. Paths without a leading '/' are below this machine's own folder there. */
int uplink_xs_init(void);
void uplink_xs_exit(void);
void *uplink_xs_read(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *len);
int uplink_xs_write(struct xenbus_transaction t, const char *dir, const char *node, const char *text);
int uplink_xs_printf(struct xenbus_transaction t, const char *dir, const char *node, const char *fmt, ...) __printf(4, 5);
int uplink_xs_scanf(struct xenbus_transaction t, const char *dir, const char *node, const char *fmt, ...) __scanf(4, 5);
int uplink_xs_gather(struct xenbus_transaction t, const char *dir, ...);
unsigned int uplink_xs_read_unsigned(const char *dir, const char *node, unsigned int otherwise);
int uplink_xs_exists(struct xenbus_transaction t, const char *dir, const char *node);
char **uplink_xs_directory(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *count); /* one kfree() frees all */
int uplink_xs_start(struct xenbus_transaction *t);
int uplink_xs_end(struct xenbus_transaction t, int abort);
int uplink_xs_watch(struct xenbus_watch *watch);
void uplink_xs_unwatch(struct xenbus_watch *watch); /* afterwards its callback neither runs nor will; from the callback itself: will not */

/* selftest.c: 0, or what did not work; in the log, too */
int uplink_selftest(void);

/* bus.c */
int uplink_bus_init(void);
void uplink_bus_exit(void);
int uplink_register_frontend(struct xenbus_driver *driver, struct module *owner, const char *module_name);
void uplink_unregister_driver(struct xenbus_driver *driver);
enum xenbus_state uplink_read_driver_state(const char *path);
int uplink_switch_state(struct xenbus_device *dev, enum xenbus_state state);
int uplink_frontend_closed(struct xenbus_device *dev);
int uplink_dev_is_online(struct xenbus_device *dev);
void uplink_dev_error(struct xenbus_device *dev, int error, const char *fmt, ...) __printf(3, 4);
void uplink_dev_fatal(struct xenbus_device *dev, int error, const char *fmt, ...) __printf(3, 4);
int uplink_setup_ring(struct xenbus_device *dev, gfp_t flags, void **address, unsigned int pages, grant_ref_t *refs);
void uplink_teardown_ring(void **address, unsigned int pages, grant_ref_t *refs);

#endif /* UPLINK_H */
