/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Included before anything else of the distribution's xen-blkfront.c and xen-netfront.c: what they ask of the kernel's own Xen goes to uplink.ko, to the
 * provider's Xen. The headers' prototypes are renamed along, so a signature that changes in a kernel to come is an error at build time.
 */
#ifndef UPLINK_RENAME_H
#define UPLINK_RENAME_H

#define __xenbus_register_frontend uplink_register_frontend
#define xenbus_unregister_driver uplink_unregister_driver
#define xenbus_read_driver_state uplink_read_driver_state
#define xenbus_switch_state uplink_switch_state
#define xenbus_frontend_closed uplink_frontend_closed
#define xenbus_dev_is_online uplink_dev_is_online
#define xenbus_dev_error uplink_dev_error
#define xenbus_dev_fatal uplink_dev_fatal
#define xenbus_setup_ring uplink_setup_ring
#define xenbus_teardown_ring uplink_teardown_ring

#define xenbus_read uplink_xs_read
#define xenbus_write uplink_xs_write
#define xenbus_printf uplink_xs_printf
#define xenbus_scanf uplink_xs_scanf
#define xenbus_gather uplink_xs_gather
#define xenbus_read_unsigned uplink_xs_read_unsigned
#define xenbus_exists uplink_xs_exists
#define xenbus_directory uplink_xs_directory
#define xenbus_transaction_start uplink_xs_start
#define xenbus_transaction_end uplink_xs_end
#define register_xenbus_watch uplink_xs_watch
#define unregister_xenbus_watch uplink_xs_unwatch

#define xenbus_alloc_evtchn uplink_alloc_evtchn
#define xenbus_free_evtchn uplink_free_evtchn
#define bind_evtchn_to_irqhandler uplink_bind_evtchn
#define bind_evtchn_to_irqhandler_lateeoi uplink_bind_evtchn
#define unbind_from_irqhandler uplink_unbind_irq

#define gnttab_alloc_grant_references uplink_gnttab_alloc_grant_references
#define gnttab_free_grant_references uplink_gnttab_free_grant_references
#define gnttab_free_grant_reference uplink_gnttab_free_grant_reference
#define gnttab_empty_grant_references uplink_gnttab_empty_grant_references
#define gnttab_claim_grant_reference uplink_gnttab_claim_grant_reference
#define gnttab_release_grant_reference uplink_gnttab_release_grant_reference
#define gnttab_grant_foreign_access uplink_gnttab_grant_foreign_access
#define gnttab_grant_foreign_access_ref uplink_gnttab_grant_foreign_access_ref
#define gnttab_end_foreign_access uplink_gnttab_end_foreign_access
#define gnttab_end_foreign_access_ref uplink_gnttab_end_foreign_access_ref
#define gnttab_try_end_foreign_access uplink_gnttab_try_end_foreign_access
#define gnttab_request_free_callback uplink_gnttab_request_free_callback
#define gnttab_cancel_free_callback uplink_gnttab_cancel_free_callback

#endif /* UPLINK_RENAME_H */
