/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What blanket.c needs, in terms of this Xen and of the provider's hypercalls. The unit tests have another file of this name. All functions may be called
 * from process context; bl_local_notify, bl_read and bl_evtchn_op from interrupt context too.
 */
#ifndef BLANKET_GLUE_H
#define BLANKET_GLUE_H

#include <xen/event.h>
#include <xen/guest_access.h>
#include <xen/hypercall.h>
#include <xen/mm.h>
#include <xen/pv_console.h>
#include <xen/sched.h>
#include <xen/spinlock.h>
#include <xen/xmalloc.h>

#include <asm/guest.h>
#include <asm/guest/blanket.h>
#include <asm/guest/xblanket.h>
#include <asm/io.h>

#include <public/arch-x86/cpuid.h>
#include <public/event_channel.h>
#include <public/grant_table.h>
#include <public/hvm/params.h>
#include <public/memory.h>

#include <xsm/xsm.h>

#define BL_MAX_GRANT_FRAMES 1024u
#define BL_LOCK(name) DEFINE_SPINLOCK(name)
#define bl_lock(lock) spin_lock(lock)
#define bl_unlock(lock) spin_unlock(lock)
#define bl_read(word) read_atomic(&(word))
#define bl_write(word, value) write_atomic(&(word), value)
#define bl_zalloc(size) xzalloc_bytes(size)

typedef XEN_GUEST_HANDLE_PARAM(void) bl_arg_t;
#define bl_copy_in(to, arg, size) copy_from_guest((char *)(to), guest_handle_cast(arg, char), size)
#define bl_copy_out(arg, from, size) copy_to_guest(guest_handle_cast(arg, char), (const char *)(from), size)

static inline long bl_may_call(unsigned int cmd)
{
    if ( !is_hardware_domain(current->domain) )
        return -EPERM;
    return xsm_xblanket_op(XSM_PRIV);
}

static inline bool bl_enabled(void)
{
    return xen_guest && opt_blanket && !pv_shim;
}

/* The provider. Its structures are ours, on this stack: no pointer of dom0 ever reaches it. */
static inline long bl_evtchn_op(unsigned int cmd, void *arg)
{
    return xen_hypercall_event_channel_op(cmd, arg);
}

static inline long bl_gnttab_op(unsigned int cmd, void *arg)
{
    return xen_hypercall_grant_table_op(cmd, arg, 1);
}

static inline long bl_memory_op(unsigned int cmd, void *arg)
{
    return xen_hypercall_memory_op(cmd, arg);
}

static inline long bl_get_param(uint32_t index, uint64_t *value)
{
    return xen_hypercall_hvm_get_param(index, value);
}

static inline long bl_set_param(uint32_t index, uint64_t value)
{
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = index, .value = value };

    return xen_hypercall_hvm_op(HVMOP_set_param, &param);
}

static inline long bl_shutdown(unsigned int reason)
{
    return xen_hypercall_shutdown(reason);
}

static inline uint32_t bl_provider_version(void)
{
    return cpuid_eax(xen_cpuid_base + 1);
}

static inline uint32_t bl_processors(void)
{
    return nr_cpu_ids;
}

static inline bool bl_has_processor(uint32_t processor)
{
    return processor < nr_cpu_ids && cpu_online(processor); /* the area of one that is offline is gone */
}

static inline uint32_t bl_provider_vcpu(uint32_t processor)
{
    return blanket_delivery == XBLANKET_DELIVERY_INTX ? per_cpu(vcpu_id, 0) : per_cpu(vcpu_id, processor); /* a line comes from the first only */
}

static inline uint32_t bl_delivery(void)
{
    return blanket_delivery;
}

static inline long bl_scan(void)
{
    return xen_evtchn_poll();
}

static inline void bl_mask(uint32_t port)
{
    set_bit(port, XEN_shared_info->evtchn_mask);
}

static inline bool bl_owns_console(void)
{
    return pv_console;
}

/* dom0's side: a channel whose near end Xen itself holds, and which dom0 binds to from within. */
static inline int bl_local_alloc(void)
{
    return alloc_unbound_xen_event_channel(hardware_domain, 0, hardware_domain->domain_id, blanket_notified);
}

static inline void bl_local_free(uint32_t port)
{
    free_xen_event_channel(hardware_domain, port);
}

static inline void bl_local_notify(uint32_t port)
{
    notify_via_xen_event_channel(hardware_domain, port);
}

/* One of dom0's own pages, writable memory from now on and until bl_page_release. */
static inline long bl_page_hold(uint64_t frame)
{
    mfn_t mfn = _mfn(frame);

    if ( !mfn_valid(mfn) || frame != mfn_x(mfn) || is_special_page(mfn_to_page(mfn)) ) /* special: Xen's own, that dom0 shares */
        return -EINVAL;
    return get_page_and_type(mfn_to_page(mfn), hardware_domain, PGT_writable_page) ? 0 : -EINVAL;
}

static inline void bl_page_release(uint64_t frame)
{
    put_page_and_type(mfn_to_page(_mfn(frame)));
}

#define bl_inb(port) inb(port)
#define bl_inw(port) inw(port)
#define bl_outw(value, port) outw(value, port)
#define bl_outl(value, port) outl(value, port)

#define blanket_op do_xblanket_op

#endif /* BLANKET_GLUE_H */
